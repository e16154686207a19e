"""What runs on the workers: the processes of a fit."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import torch.distributed as dist
from distributed import get_worker
from distributed.comm import get_address_host
from scipy import sparse
from sklearn.base import clone

from skae._warnings import collected
from skae.data import HOLDERS
from skae.training import connected, device_of

_stores: dict[str, Any] = {}  # of the fits whose process of rank 0 is in this worker


def open_store(name: str, timeout: float) -> tuple[str, int]:
    """Open the store of a fit in this worker; return its address."""
    host = get_address_host(get_worker().address)
    limit = timedelta(seconds=timeout)
    store = dist.TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=limit)
    _stores[name] = store
    return host, store.port


def close_store(name: str) -> None:
    """Close the store of a fit."""
    _stores.pop(name, None)


def run_rank(
    estimator: Any,
    parts: list[tuple[Any, Any]],
    rank: int,
    size: int,
    address: tuple[str, int],
    timeout: float,
) -> tuple[Any, list[Any]] | None:
    """Fit to the parts in this worker, together with the others.

    Returns
    -------
    result : (estimator, list of (str, type)) or None
        From rank 0, the fitted estimator and the warnings; otherwise None.
    """
    model = clone(estimator)
    X, weight = joined([x for x, _ in parts]), joined([weight for _, weight in parts])
    with collected() as messages:
        if size == 1:
            model.fit(X, sample_weight=weight)
        else:
            limit = timedelta(seconds=timeout)
            store = dist.TCPStore(*address, is_master=False, timeout=limit)
            device = device_of(getattr(model, "device", "auto"))
            group = connected(store, rank, size, device, timeout)
            token = HOLDERS.set(group)
            try:
                model.fit(X, sample_weight=weight)
            except BaseException as error:
                if isinstance(error, ValueError):
                    where = f" (on worker {get_worker().address}, whose rows are counted there)"
                    error.args = (f"{error}{where}",)
                group.leave(error)
                raise
            finally:
                HOLDERS.reset(token)
            group.leave(None)
    return (model, messages) if rank == 0 else None


def joined(parts: list[Any]) -> Any:
    """Return the rows of several parts; None of parts that are None."""
    if parts[0] is None or len(parts) == 1:
        return parts[0]
    if sparse.issparse(parts[0]):
        return sparse.vstack(parts)
    if isinstance(parts[0], (pd.DataFrame, pd.Series)):
        return pd.concat(parts)
    return np.concatenate(parts)

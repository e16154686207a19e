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
from skae.exceptions import ProcessError
from skae.training import by_itself, connected, device_of

_stores: dict[str, Any] = {}  # of the fits whose process of rank 0 is in this worker
_groups: dict[tuple[str, str], Any] = {}  # by fit and worker, of which a process may have several


def open_store(name: str, timeout: float, dask_worker: Any) -> tuple[str, int]:
    """Open the store of a fit in this worker; return its address."""
    host = get_address_host(dask_worker.address)
    limit = timedelta(seconds=timeout)
    store = dist.TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=limit)
    _stores[name] = store
    return host, store.port


def end(name: str, dask_worker: Any) -> None:
    """End the part of a worker in a fit, if it is still running, and close the store."""
    if (group := _groups.pop((name, dask_worker.address), None)) is not None:
        group.leave(None)
    _stores.pop(name, None)


def run_rank(
    estimator: Any,
    parts: list[tuple[Any, Any]],
    rank: int,
    size: int,
    name: str,
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
            with by_itself():
                model.fit(X, sample_weight=weight)
        else:
            device = device_of(getattr(model, "device", "auto"))
            group = connected(_store_at(address, timeout), rank, size, device, timeout)
            token = HOLDERS.set(group)
            _groups[name, get_worker().address] = group
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
                _groups.pop((name, get_worker().address), None)
            group.leave(None)
    return (model, messages) if rank == 0 else None


def _store_at(address: tuple[str, int], timeout: float) -> Any:
    """Return the store that the worker of rank 0 has opened."""
    try:
        return dist.TCPStore(*address, is_master=False, timeout=timedelta(seconds=timeout))
    except RuntimeError as error:
        raise ProcessError(
            f"The worker {get_worker().address} found no connection to port {address[1]} of "
            f"{address[0]} within {timeout:g} s; check that workers may connect to each other."
        ) from error


def joined(parts: list[Any]) -> Any:
    """Return the rows of several parts; None of parts that are None."""
    if parts[0] is None or len(parts) == 1:
        return parts[0]
    if sparse.issparse(parts[0]):
        return sparse.vstack(parts)
    if isinstance(parts[0], (pd.DataFrame, pd.Series)):
        return pd.concat(parts)
    return np.concatenate(parts)

"""Fits on the workers of a dask cluster, one process of training for each."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from distributed import Client, Future, MultiLock, default_client, fire_and_forget, wait
from sklearn.base import clone

from skae._warnings import warn
from skae.base import BaseAutoencoder
from skae.dask._collections import as_rows, parts_of
from skae.dask._ranks import close_store, open_store, run_rank
from skae.exceptions import ProcessError
from skae.outlier import AutoencoderOutlierDetector

POLL = 1.0  # seconds between two looks at the workers
GRACE = 30.0  # seconds that other processes have to end after one has failed


def fit(
    estimator: Any,
    X: Any,
    *,
    client: Client | None = None,
    sample_weight: Any = None,
    timeout: float = 600.0,
) -> Any:
    """Fit an estimator to a dask collection; its rows stay on the workers that hold them.

    Each worker that holds rows is a process of the training and computes the part of each batch
    that it holds, so that the result is that of the rows of all workers in one process, but for
    rounding. Nothing else is sent but sums, gradients and weights, and for a detector up to 65,536
    rows.

    Parameters
    ----------
    estimator : object
        An autoencoder or an `AutoencoderOutlierDetector`, which is not changed.
    X : dask array or DataFrame of shape (n_samples, n_features)
        Training samples. NaN marks a missing value.
    client : distributed.Client, default=None
        The client of the cluster. If None, the current one.
    sample_weight : dask array or Series, or array-like, of shape (n_samples,), default=None
        Per-sample weights.
    timeout : float, default=600
        Seconds that a process waits for the others before the fit fails.

    Returns
    -------
    fitted : object
        A fitted copy of the estimator, in this process.

    Raises
    ------
    TypeError
        If the estimator is not one of these, or X is not a dask collection.
    ValueError
        If there is no client, or the estimator cannot be fitted to the samples.
    ProcessError
        If a worker leaves, or does not answer in time.

    Notes
    -----
    Fits that have a worker in common run one after the other.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> from sklearn.datasets import load_iris
    >>> from skae import LinearAutoencoder
    >>> from skae.dask import fit
    >>> X = da.from_array(load_iris().data, chunks=(75, 4))
    >>> options = {"processes": False, "dashboard_address": None}  # two threads, for this example
    >>> with Client(n_workers=2, threads_per_worker=1, **options) as client:
    ...     model = fit(LinearAutoencoder(2), X)
    >>> model.n_components_
    2
    """
    _check_estimator(estimator)
    X = as_rows(X)
    client = _client(client)
    parts = client.compute(parts_of(X, sample_weight))
    wait(parts)
    for part in parts:
        if part.status != "finished":
            raise part.exception()
    held: dict[str, list[Future]] = defaultdict(list)
    holders = client.who_has(parts)
    for part in parts:
        held[min(holders[part.key])].append(part)
    lock = MultiLock([f"skae-{worker}" for worker in sorted(held)], client=client)
    if not lock.acquire(timeout=timeout):
        raise ProcessError(
            f"Another fit was still running on these workers after {timeout:g} s; wait for it, or "
            "raise timeout."
        )
    try:
        fitted, messages = _fit_on(client, estimator, dict(held), timeout)
    finally:
        lock.release()
    for message, category in messages:
        warn(message, category)
    return fitted


def _check_estimator(estimator: Any) -> None:
    if not isinstance(estimator, (BaseAutoencoder, AutoencoderOutlierDetector)):
        raise TypeError(
            "skae.dask fits autoencoders and AutoencoderOutlierDetector; got a "
            f"{type(estimator).__name__}. Fit a pipeline step by step."
        )
    if estimator.get_params().get("checkpoint") is not None:
        raise ValueError("skae.dask writes no checkpoints; set checkpoint=None.")


def _client(client: Client | None) -> Client:
    try:
        return default_client() if client is None else client
    except ValueError as error:
        raise ValueError(
            "skae.dask.fit needs a client of a dask cluster; create one by distributed.Client()."
        ) from error


def _fit_on(
    client: Client, estimator: Any, held: dict[str, list[Future]], timeout: float
) -> tuple[Any, list[Any]]:
    """Fit in one process on each worker, to the parts that it holds."""
    name, workers = f"skae-fit-{uuid4().hex}", list(held)

    def on(rank: int, function: Any, *args: Any) -> Future:
        return client.submit(
            function, *args, workers=[workers[rank]], allow_other_workers=False, pure=False
        )

    runs: list[Future] = []
    try:
        address = on(0, open_store, name, timeout).result(timeout=timeout)
        runs = [
            on(rank, run_rank, clone(estimator), held[w], rank, len(workers), address, timeout)
            for rank, w in enumerate(workers)
        ]
        _wait(client, runs, workers)
        return runs[0].result()
    finally:
        client.cancel(runs, force=True)
        if workers[0] in client.nthreads():
            fire_and_forget(on(0, close_store, name))


def _wait(client: Client, runs: Sequence[Future], workers: Sequence[str]) -> None:
    """Wait until all processes have ended; raise the error of the one that failed first."""
    failed_at: float | None = None
    while True:
        left = sorted(set(workers) - client.nthreads().keys())
        if left:
            raise ProcessError(
                f"The worker {left[0]} left during the fit, with the samples that it held; start "
                "the fit again."
            )
        errors = [run.exception() for run in runs if run.status == "error"]
        known = [error for error in errors if not isinstance(error, ProcessError)]
        ended = all(run.done() for run in runs)
        if errors:
            failed_at = failed_at or time.monotonic()
            if known or ended or time.monotonic() > failed_at + GRACE:
                raise (known or errors)[0]
        if ended:
            return
        pending = [run for run in runs if not run.done()]
        try:
            wait(pending, timeout=POLL, return_when="FIRST_COMPLETED")
        except TimeoutError:
            continue

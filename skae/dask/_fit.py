"""Fits on the workers of a dask cluster, one process of training for each."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import uuid4

import numpy as np
from distributed import (
    Client,
    Future,
    Lock,
    default_client,
    get_worker,
    wait,
    worker_client,
)
from sklearn.base import clone

from skae._warnings import warn
from skae.base import BaseAutoencoder
from skae.dask._collections import as_rows, parts_of
from skae.dask._ranks import end, open_store, run_rank
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
    that it holds, so that the result is that of the rows of all workers in one process, those of
    one worker after those of another, but for rounding. Nothing else is sent but sums, gradients
    and weights, and up to 65,536 rows for a detector and for what some autoencoders determine by
    evenly spaced samples.

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
    >>> options = {"processes": False, "dashboard_address": ":0"}  # two threads, for this example
    >>> with Client(n_workers=2, threads_per_worker=1, **options) as client:
    ...     model = fit(LinearAutoencoder(2), X)
    >>> model.n_components_
    2
    """
    _check_estimator(estimator)
    X = as_rows(X)
    with _client_of(client) as client:
        parts, sizes = parts_of(client, X, sample_weight)
        held = _held_by(client, parts, sizes)
        with _locked(client, held, timeout):
            fitted, messages = _fit_on(client, estimator, held, parts, timeout)
    for message, category in messages:
        warn(message, category)
    if hasattr(fitted, "support_"):  # in the order of the samples in X, not on the workers
        numbers = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
        order = np.concatenate([numbers[i] for own in held.values() for i in own])
        fitted.support_ = fitted.support_[np.argsort(order)]
    return fitted


def _check_estimator(estimator: Any) -> None:
    if not isinstance(estimator, (BaseAutoencoder, AutoencoderOutlierDetector)):
        raise TypeError(
            "skae.dask fits autoencoders and AutoencoderOutlierDetector; got a "
            f"{type(estimator).__name__}. Fit a pipeline step by step."
        )
    if estimator.get_params().get("checkpoint") is not None:
        raise ValueError("skae.dask writes no checkpoints; set checkpoint=None.")


@contextmanager
def _client_of(client: Client | None) -> Iterator[Client]:
    """Context with the client of a fit; in a task, others can use its thread meanwhile."""
    with ExitStack() as stack:
        try:
            get_worker()
        except ValueError:
            own = None
        else:
            own = stack.enter_context(worker_client())
        yield _checked_client(own if client is None else client)


def _checked_client(client: Client | None) -> Client:
    try:
        client = default_client() if client is None else client
    except ValueError as error:
        raise ValueError(
            "skae.dask.fit needs a client of a dask cluster; create one by distributed.Client()."
        ) from error
    if client.asynchronous:
        raise ValueError(
            "skae.dask.fit waits for its result, which an asynchronous client does not; pass one "
            "with asynchronous=False."
        )
    return client


def _held_by(client: Client, parts: Sequence[Future], sizes: Sequence[int]) -> dict[str, list[int]]:
    """Return the numbers of the parts that each worker holds, without those that have no rows."""
    holders, held = client.who_has(parts), defaultdict(list)
    for i, part in enumerate(parts):
        if sizes[i] or not any(sizes):
            if not holders[part.key]:
                raise ProcessError("A worker left, with samples that it held; start the fit again.")
            held[min(holders[part.key])].append(i)
    return dict(held)


@contextmanager
def _locked(client: Client, workers: Iterable[str], timeout: float) -> Iterator[None]:
    """Context in which no other fit has one of the workers.

    The locks of a client that leaves, or that is interrupted while it waits, end by themselves.
    """
    end = time.monotonic() + timeout
    with ExitStack() as stack:
        for worker in sorted(workers):  # in one order, so that no two fits wait for each other
            lock = Lock(f"skae-{worker}", scheduler_rpc=client.scheduler, loop=client.loop)
            if not lock.acquire(timeout=max(end - time.monotonic(), 0.0)):
                raise ProcessError(
                    f"Another fit was still running on these workers after {timeout:g} s; wait for "
                    "it, or raise timeout."
                )
            stack.callback(lock.release)
        yield


def _fit_on(
    client: Client,
    estimator: Any,
    held: Mapping[str, Sequence[int]],
    parts: Sequence[Future],
    timeout: float,
) -> tuple[Any, list[Any]]:
    """Fit in one process on each worker, to the parts that it holds."""
    name, workers = f"skae-fit-{uuid4().hex}", list(held)
    runs: list[Future] = []
    try:
        # In the event loop of the worker, whose threads may be busy.
        address = client.run(open_store, name, timeout, workers=workers[:1])[workers[0]]
        for rank, worker in enumerate(workers):
            own = [parts[i] for i in held[worker]]
            runs.append(
                client.submit(
                    *(run_rank, clone(estimator), own, rank, len(workers), name, address, timeout),
                    workers=[worker],
                    allow_other_workers=False,
                    pure=False,
                )
            )
        _wait(client, runs, workers)
        return runs[0].result()
    finally:
        client.cancel(runs, force=True)
        if present := [worker for worker in workers if worker in client.nthreads()]:
            client.run(end, name, workers=present, on_error="ignore")


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
        if any(run.cancelled() for run in runs):
            raise ProcessError("The fit was cancelled on its workers; start it again.")
        if ended:
            return
        pending = [run for run in runs if not run.done()]
        try:
            wait(pending, timeout=POLL, return_when="FIRST_COMPLETED")
        except TimeoutError:
            continue

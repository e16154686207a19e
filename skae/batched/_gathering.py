"""Functions that train models, run side by side, so that their models are trained together."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from sklearn import config_context, get_config
from threadpoolctl import ThreadpoolController

from skae.batched._together import train_together
from skae.training import RUNNER, Job, TrainingResult

T = TypeVar("T")
MAX_THREADS = 256  # functions that are run side by side


class Abandoned(BaseException):
    """Ends a function whose result is no longer needed."""


class _Warnings:
    """The filters of warnings, which belong to the process, of one of several threads."""

    NAMES = ("filters", "showwarning", "_showwarnmsg_impl")

    def __init__(self) -> None:
        self.values = {name: getattr(warnings, name) for name in self.NAMES}

    def restore(self) -> None:
        """Set the filters to those that were in force."""
        for name, value in self.values.items():
            setattr(warnings, name, value)
        with warnings.catch_warnings():  # which makes Python notice the change
            pass


class _OpenMP:
    """The OpenMP runtimes that are loaded, each of which has a pool of threads for every thread.

    To start a pool for each of many threads takes milliseconds, and idle pools slow down others:
    where there are more threads than processors, they sleep instead of waiting actively.
    """

    HARD = 2  # omp_pause_hard of the OpenMP 5.0 specification

    def __init__(self) -> None:
        found = ThreadpoolController().select(user_api="openmp").lib_controllers
        self._runtimes = [runtime.dynlib for runtime in found]

    def use_one_thread(self) -> None:
        """Compute what this thread calls without a pool."""
        torch.get_num_threads()  # sets the number of this thread at its first call
        for runtime in self._runtimes:
            runtime.omp_set_num_threads(1)

    def end_pool(self) -> None:
        """End the pool of this thread, which MKL has if `torch.set_num_threads` was called."""
        for runtime in self._runtimes:
            if hasattr(runtime, "omp_pause_resource_all"):
                runtime.omp_pause_resource_all(self.HARD)


class _Worker:
    """A function in a thread of its own, which runs only while it is resumed."""

    def __init__(self, function: Callable[[], Any], openmp: _OpenMP):
        self.function = function
        self.openmp = openmp
        self.job: Job | None = None
        self.outcome: Any = None
        self.result: Any = None
        self.error: BaseException | None = None
        self.is_done = False
        self._go, self._paused = threading.Semaphore(0), threading.Semaphore(0)
        self._warnings = _Warnings()
        self._config = get_config()
        self._thread = threading.Thread(target=self._main, daemon=True)

    def resume(self, outcome: Any = None) -> None:
        """Run the function to the next job, or to its end."""
        self.outcome, self.job = outcome, None
        outer = _Warnings()
        self._warnings.restore()
        if not self._thread.is_alive():
            self._thread.start()
        try:
            self._go.release()
            self._paused.acquire()
        finally:
            self._warnings = _Warnings()
            outer.restore()

    def _main(self) -> None:
        self._go.acquire()
        RUNNER.set(self._wait)
        self.openmp.use_one_thread()
        try:
            with config_context(**self._config):
                self.result = self.function()
        except BaseException as error:
            self.error = error
        self.is_done = True
        self._paused.release()

    def _wait(self, job: Job) -> TrainingResult:
        """Pause until a job is done."""
        self.job = job
        self.openmp.end_pool()
        self._paused.release()
        self._go.acquire()
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


def outcomes_together(
    functions: Sequence[Callable[[], T]], *, n_jobs: int | None = None
) -> list[T | BaseException]:
    """Call functions side by side; models that they train at the same time are trained together.

    Each function has a thread, of which one runs at a time, until it trains a model. When all wait,
    the models are trained.

    Parameters
    ----------
    functions : sequence of callable
    n_jobs : int, default=None
        Number of processes for models that cannot be trained together; None is one.

    Returns
    -------
    results : list
        What each function returns, or the error that it raises.
    """
    if RUNNER.get() is not Job.run:  # within such a function already
        return [_called(function) for function in functions]
    results: list[Any] = []
    openmp = _OpenMP()
    for start in range(0, len(functions), MAX_THREADS):
        workers = [_Worker(f, openmp) for f in functions[start : start + MAX_THREADS]]
        _run(workers, n_jobs)
        results += [w.result if w.error is None else w.error for w in workers]
    return results


def call_together(functions: Sequence[Callable[[], T]]) -> list[T]:
    """Return what functions return that are called side by side; raise the first error of one."""
    results = []
    for outcome in outcomes_together(functions):
        if isinstance(outcome, BaseException):
            raise outcome
        results.append(outcome)
    return results


def _called(function: Callable[[], T]) -> T | BaseException:
    try:
        return function()
    except Exception as error:
        return error


def _run(workers: list[_Worker], n_jobs: int | None) -> None:
    """Run all workers to their end."""
    active = list(workers)
    outcomes: list[Any] = [None] * len(active)
    try:
        while active:
            for worker, outcome in zip(active, outcomes, strict=True):
                worker.resume(outcome)
            active = [worker for worker in active if not worker.is_done]
            jobs = [worker.job for worker in active if worker.job is not None]
            outcomes = train_together(jobs, n_jobs=n_jobs)
    except BaseException:
        for worker in active:
            if worker.job is not None:
                worker.resume(Abandoned())
        raise

"""A backend of joblib whose tasks are run side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from joblib import parallel_config
from joblib.parallel import ParallelBackendBase, SequentialBackend

from skae.batched import outcomes_together

MAX_TASKS = 1024  # that are dispatched at once


class SideBySide(ParallelBackendBase):
    """Run tasks of joblib side by side in this process, with their models trained together.

    Tasks are collected until the first result is asked for.

    Parameters
    ----------
    n_jobs : int or None
        Number of processes for models that cannot be trained together.
    """

    supports_sharedmem = True
    uses_threads = True

    def __init__(self, n_jobs: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.n_jobs = n_jobs
        self.waiting: list[tuple[_Task, Callable[[Any], None] | None]] = []

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return the number of tasks that are run side by side."""
        return MAX_TASKS

    def get_nested_backend(self) -> tuple[ParallelBackendBase, None]:
        """Return the backend for calls of joblib within tasks."""
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None

    def submit(self, func: Callable[[], Any], callback: Callable | None = None) -> _Task:
        """Add a task."""
        task = _Task(func)
        self.waiting.append((task, callback))
        return task

    def retrieve_result(self, out: _Task, timeout: float | None = None) -> Any:
        """Return the result of a task, for which all that wait are run."""
        while not out.is_done:
            tasks, self.waiting = self.waiting, []
            results = outcomes_together([task.function for task, _ in tasks], n_jobs=self.n_jobs)
            for (task, callback), result in zip(tasks, results, strict=True):
                task.result, task.is_done = result, True
                if callback is not None:
                    callback(result)
        if isinstance(out.result, BaseException):
            raise out.result
        return out.result


class _Task:
    """A task and its result."""

    def __init__(self, function: Callable[[], Any]):
        self.function = function
        self.result: Any = None
        self.is_done = False


def side_by_side(n_jobs: int | None) -> Any:
    """Return a context in which tasks of joblib are run side by side."""
    return parallel_config(backend=SideBySide(n_jobs))

"""Base of the estimators that train several models: callbacks and messages per step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from skae._sklearn_types import CallbackSupportMixin
from skae.hyperparameters import hyperparameters, param


@hyperparameters
class Composite(CallbackSupportMixin):
    """Base of the estimators whose ``fit`` is a sequence of steps.

    Parameters
    ----------
    {parameters}
    """

    verbose: int = param(
        "verbose",
        default=0,
        doc="""
        1 prints a line per step of the fit; higher levels, less 1, are passed to the inner
        estimators, which print a line per epoch.""",
    )

    @contextmanager
    def _steps(self, n_steps: int, **data: Any) -> Iterator[None]:
        """Call the callbacks at the begin and end of a fit of `n_steps` steps."""
        begin = time.perf_counter()
        context = self._init_callback_context(max_subtasks=n_steps)
        context.call_on_fit_task_begin(estimator=self, **data)
        yield
        context.call_on_fit_task_end(estimator=self, reconstruction_attributes={}, **data)
        self._print(f"fitted in {time.perf_counter() - begin:.1f} s")

    @contextmanager
    def _step(
        self, name: str, model: Any = None, n_tasks: int | None = 0
    ) -> Iterator[Callable[[str], None]]:
        """Call the callbacks at the begin and end of a step, and propagate them to its model.

        Yields a function of a name that reports one of the `n_tasks` tasks of the step as done.
        """
        task = self._callback_fit_ctx.subcontext(task_name=name, max_subtasks=n_tasks)
        self._print(f"step {task.task_id + 1} of {self._callback_fit_ctx.max_subtasks}: {name}")
        with ExitStack() as stack:
            if hasattr(model, "set_callbacks"):
                stack.enter_context(task.propagate_callback_context(model))
            if self.verbose > 1 and "verbose" in getattr(model, "get_params", dict)():
                model.set_params(verbose=self.verbose - 1)
            task.call_on_fit_task_begin(estimator=self)
            yield partial(self._tick, task)
            task.call_on_fit_task_end(estimator=self)

    def _tick(self, task: Any, name: str) -> None:
        """Call the callbacks for a task of a step that is done."""
        part = task.subcontext(task_name=name)
        part.call_on_fit_task_begin(estimator=self)
        part.call_on_fit_task_end(estimator=self)
        if self.verbose > 1:
            self._print(f"{task.task_name}, {name} {part.task_id + 1}")

    def _print(self, text: str) -> None:
        if self.verbose:
            print(f"{type(self).__name__}: {text}", flush=True)

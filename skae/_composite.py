"""Base of the estimators that train several models: callbacks and messages per step."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing

from skae._sklearn import _raise_for_params, _routing_enabled
from skae._sklearn_types import BaseEstimator, CallbackSupportMixin, clone
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


class AutoencoderComposite(Composite, BaseEstimator):
    """Base of the estimators that fit one autoencoder to the samples they are given."""

    random_state: Any

    @abstractmethod
    def _estimator(self) -> Any:
        """Return the autoencoder to fit, unfitted."""

    def _seeded(self, estimator: Any, random_state: np.random.RandomState) -> Any:
        """Return a clone of an autoencoder, with a seed of its own if ``random_state`` is set."""
        model = clone(estimator)
        if self.random_state is not None:
            model.set_params(random_state=random_state.randint(np.iinfo(np.int32).max))
        return model

    def _routed(self, sample_weight: ArrayLike | None, params: dict[str, Any]) -> dict[str, Any]:
        """Return the metadata for the autoencoder's fit."""
        given = {} if sample_weight is None else {"sample_weight": sample_weight}
        if not _routing_enabled():
            _raise_for_params(params, self, "fit")
            return given
        return dict(process_routing(self, "fit", **given, **params).estimator.fit)

    def get_metadata_routing(self) -> MetadataRouter:
        """Return which metadata goes where.

        Returns
        -------
        routing : MetadataRouter
            ``fit`` takes ``sample_weight`` itself, and gives the autoencoder what it requests.
        """
        mapping = MethodMapping().add(caller="fit", callee="fit")
        router = MetadataRouter(owner=self).add_self_request(self)
        return router.add(estimator=self._estimator(), method_mapping=mapping)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        return tags

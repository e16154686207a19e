"""The bridge from skorch's callbacks to those that scikit-learn's ``set_callbacks`` sets."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from skae._hooks import Hooks
from skae.data import RowDataset
from skae.training import EpochCallback, TrainingResult


class CallbackBridge(EpochCallback):
    """Notify the callbacks of an estimator of each epoch.

    Parameters
    ----------
    estimator : Hooks
    data : dict
        X, y and metadata, which are passed to the callbacks.
    """

    def __init__(self, estimator: Hooks, **data: Any):
        self.estimator = estimator
        self.data = data
        self.context: Any = None

    @property
    def has_callbacks(self) -> bool:
        """Whether the estimator has callbacks."""
        return bool(getattr(self.estimator, "_skl_callbacks", ()))

    def begin(
        self,
        max_epochs: int,
        rows: RowDataset,
        fitted_attributes: Callable[[TrainingResult], dict[str, Any]],
    ) -> None:
        """Announce the fit, of at most so many epochs.

        `fitted_attributes` returns the fitted attributes, except the module, for a result.
        """
        self.rows = rows
        self.fitted_attributes = fitted_attributes
        self.context = self.estimator._init_callback_context(max_subtasks=max_epochs)
        self.context.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def on_epoch_begin(self, net: Any, **_: Any) -> None:
        """Announce an epoch."""
        self.epoch = self.context.subcontext(task_name="epoch")
        self.epoch.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        """Announce the end of an epoch, and stop if a callback asks for it."""
        net.stop_ = net.stop_ or self.epoch.call_on_fit_task_end(
            estimator=self.estimator,
            reconstruction_attributes=partial(self._attributes, net),
            **self.data,
        )

    def end(self) -> None:
        """Announce the end of the fit, if it was begun: the estimator has all its attributes."""
        if self.context is None:
            return
        self.context.call_on_fit_task_end(
            estimator=self.estimator, reconstruction_attributes={}, **self.data
        )
        del self.data, self.rows, self.fitted_attributes

    def _attributes(self, net: Any) -> dict[str, Any]:
        """Return the fitted attributes, as if training had ended with this epoch."""
        module = copy.deepcopy(net.module_).cpu().eval()
        before = vars(self.estimator)
        fitted: Hooks = object.__new__(type(self.estimator))
        own = self.fitted_attributes(net.result())
        fitted.__dict__ = before | own | {"module_": module}
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the fit is not over
            fitted._after_fit(module, self.rows)
        return {k: v for k, v in vars(fitted).items() if k not in before or v is not before[k]}

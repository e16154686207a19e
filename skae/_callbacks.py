"""scikit-learn's callbacks, told of each epoch by skorch's."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from skorch.callbacks import Callback

if TYPE_CHECKING:
    from skae.base import BaseAutoencoder
    from skae.data._dataset import RowDataset


class CallbackBridge(Callback):
    """Bridge from a net to the callbacks set by ``set_callbacks`` on an estimator.

    Parameters
    ----------
    estimator : BaseAutoencoder
    data : dict
        X, y and metadata, as callbacks are given them.
    """

    def __init__(self, estimator: BaseAutoencoder, **data: Any):
        self.estimator = estimator
        self.data = data

    def begin(
        self, n_epochs: int, rows: RowDataset, so_far: Callable[[Any], dict[str, Any]]
    ) -> None:
        """Announce the fit, of so many epochs at most.

        `so_far` tells the fitted attributes, but for the module, of a net after an epoch.
        """
        self.rows = rows
        self.so_far = so_far
        self.context = self.estimator._init_callback_context(max_subtasks=n_epochs)
        self.context.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def on_epoch_begin(self, net: Any, **_: Any) -> None:
        """Announce an epoch."""
        self.epoch = self.context.subcontext(task_name="epoch")
        self.epoch.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        """Tell that an epoch is over, and stop if a callback says so."""
        net.stop_ = net.stop_ or self.epoch.call_on_fit_task_end(
            estimator=self.estimator,
            reconstruction_attributes=partial(self._with_fit_params, net),
            **self.data,
        )

    def end(self) -> None:
        """Tell that the fit is over: the estimator has all its attributes."""
        self.context.call_on_fit_task_end(
            estimator=self.estimator, reconstruction_attributes={}, **self.data
        )
        del self.data, self.rows, self.so_far

    def _with_fit_params(self, net: Any) -> dict[str, Any]:
        """Return the fitted attributes, as if training had ended now."""
        module = net.module_
        objective, module.objective = module.objective, None
        try:
            copied = copy.deepcopy(module).cpu().eval()
        finally:
            module.objective = objective
        before = vars(self.estimator)
        fitted = object.__new__(type(self.estimator))
        fitted.__dict__ = before | self.so_far(net) | {"module_": copied}
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is amiss now need not be at the end
            fitted._after_fit(copied, self.rows)
        return {k: v for k, v in vars(fitted).items() if k not in before or v is not before[k]}

"""scikit-learn's callbacks, told of each epoch by skorch's."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from skorch.callbacks import Callback

if TYPE_CHECKING:
    from skae.base import BaseAutoencoder
    from skae.training._module import AutoencoderModule


class Monitor(Callback):
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

    def begin(self, n_epochs: int, module: AutoencoderModule, fitted: dict[str, Any]) -> None:
        """Announce the fit, of so many epochs at most."""
        self.module = module
        self.fitted = fitted
        self.context = self.estimator._init_callback_context(max_subtasks=n_epochs)
        self.context.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def on_epoch_begin(self, net: Any, **_: Any) -> None:
        """Announce an epoch."""
        self.epoch = self.context.subcontext(task_name="epoch")
        self.epoch.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        """Tell that an epoch is over, and stop if a callback says so."""
        net.stop_ = net.stop_ or self.epoch.call_on_fit_task_end(
            estimator=self.estimator, reconstruction_attributes=self._as_fitted, **self.data
        )

    def end(self) -> None:
        """Tell that the fit is over."""
        self.context.call_on_fit_task_end(
            estimator=self.estimator, reconstruction_attributes=self._as_fitted, **self.data
        )
        del self.data, self.module

    def _as_fitted(self) -> dict[str, Any]:
        """Return the fitted attributes, as if training had ended now."""
        objective, self.module.objective = self.module.objective, None
        try:
            module = copy.deepcopy(self.module).eval()
        finally:
            self.module.objective = objective
        return {**self.fitted, "module_": module}

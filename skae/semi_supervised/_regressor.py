"""Regression from few targets by any autoencoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags

from skae import _schema as schema
from skae._sklearn_types import RegressorMixin
from skae._validation import check_array
from skae.hyperparameters import hyperparameters
from skae.semi_supervised._base import SemiSupervised
from skae.semi_supervised._heads import LinearHead
from skae.semi_supervised._tasks import Regression
from skae.semi_supervised._teacher import Labels


@schema.persistent
@hyperparameters
class AutoencoderRegressor(RegressorMixin, SemiSupervised):
    r"""Regression by an autoencoder of all samples and the targets of some.

    DOC

    Parameters
    ----------
    {parameters}
    """

    _task = Regression
    _fitted_schema: ClassVar[dict[str, schema.Check]] = {"_is_one_target": schema.boolean}

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        super()._check_state(state)
        if state.get("_is_one_target") and len(state["intercept_"]) != 1:
            raise ValueError("its outputs are more than its one target")

    def _read_labels(self, y: NDArray, weight: NDArray) -> Labels:
        y = check_array(
            y,
            ensure_2d=False,
            dtype=np.float64,
            ensure_all_finite="allow-nan",
            input_name="y",
            estimator=self,
        )
        self._is_one_target = y.ndim == 1
        targets = y.reshape(len(y), -1)
        index = np.flatnonzero(~np.isnan(targets).any(axis=1) & (weight > 0))
        if len(index) < 2:
            raise ValueError(
                f"y has {len(index)} labelled samples, without NaN and with a weight above 0, "
                f"while a minimum of 2 is required by {type(self).__name__}; label more samples."
            )
        targets, weight = targets[index], weight[index]
        self._y_mean = np.average(targets, axis=0, weights=weight)
        std = np.sqrt(np.average((targets - self._y_mean) ** 2, axis=0, weights=weight))
        self._y_scale = np.where(std > 0, std, 1.0)
        targets = (targets - self._y_mean) / self._y_scale
        return Labels(index, targets, weight, np.zeros(len(index), dtype=int))

    def _in_units(self, head: LinearHead) -> tuple[NDArray, NDArray]:
        mean, scale = vars(self).pop("_y_mean"), vars(self).pop("_y_scale")
        return head.coef * scale[:, None], head.intercept * scale + mean

    def predict(self, X: ArrayLike) -> NDArray:
        """Predict the target of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.

        Returns
        -------
        targets : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predicted targets.
        """
        outputs = self._outputs(X)
        return outputs[:, 0] if self._is_one_target else outputs

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

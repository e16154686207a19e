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

    The autoencoder is fitted to all samples, labelled or not. From its codes and the labels,
    predictions come from

    1. ridge regression of the code;
    2. the encoder with this linear model as output layer, fine-tuned on the labelled samples, with
       learning rates that decay from the output layer to the first one (Clark et al. 2020);
    3. targets, spread over the graph of nearest codes or of nearest samples (Zhou et al. 2004),

       .. math:: F = (1 - \alpha) (I - \alpha D^{-1/2} W D^{-1/2})^{-1} Y, \qquad
                 w_{ij} = \exp(-4 d_{ij}^2 / r_i^2),

       with :math:`d_{ij}` the distance of two codes or samples (their leading 50 principal
       components, if they are wider), :math:`r_i` that of i to the last of its neighbours, W made
       symmetric, D its sums, :math:`\alpha = 0.99` and Y the targets.

    With ``fine_tune="auto"``, they are averaged with weights that cross-validation over the
    labelled samples chooses; a simpler average is preferred to one that is better by less than a
    standard error. Then the encoder with its output layer is trained on all samples to predict this
    average, or the given targets (distillation, Hinton et al. 2015). This starts at the
    first or the second, and the epoch that predicts held-out samples best is kept. The result is
    one network, which predicts new samples without the training data.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {encoders}
    coef_ : ndarray of shape (n_outputs, n_components)
        Coefficients of the output layer, for the codes of ``fine_tuned_``.
    intercept_ : ndarray of shape (n_outputs,)
        Intercepts of the output layer.
    teacher_weights_ : tuple of float or None
        Weights of the linear model, of the fine-tuned encoder, and of targets that are spread over
        nearest codes and over nearest samples, in the average that the encoder was trained to
        predict, with ``fine_tune="auto"``; else None.
    {fit}

    Warns
    -----
    AutoencoderWarning
        If the autoencoder or the fine-tuning diverges; what it started from is then used.

    See Also
    --------
    AutoencoderClassifier : The same for classes as targets.

    Notes
    -----
    Features are not scaled: scale them first if their units differ, as in
    ``make_pipeline(StandardScaler(), AutoencoderRegressor())``. For the linear model, codes are
    centred and divided by one number, so that components keep their relative size.

    At most 100,000 unlabelled samples, drawn at random, are used beside the labelled ones once the
    autoencoder is fitted. Samples with weight 0 or without an observed value are ignored.
    Samples of which any target is NaN are unlabelled.

    References
    ----------
    {references}

    Examples
    --------
    >>> import numpy as np
    >>> from skae import Autoencoder, AutoencoderRegressor
    >>> t = np.random.default_rng(0).uniform(-1, 1, size=(400, 2))
    >>> X = np.column_stack([t, t**2, t[:, 0] * t[:, 1], np.sin(2 * t)])
    >>> few = np.where(np.arange(400) < 40, t[:, 0], np.nan)  # NaN: no target
    >>> model = AutoencoderRegressor(Autoencoder(4, max_iter=30), max_iter=20, random_state=0)
    >>> model = model.fit(X[:300], few[:300])
    >>> model.score(X[300:], t[300:, 0]) > 0.95
    True
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

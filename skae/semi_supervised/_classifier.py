"""Classification from few labels by any autoencoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from skae import _schema as schema
from skae._sklearn_types import ClassifierMixin
from skae.hyperparameters import hyperparameters, one_of, param
from skae.semi_supervised._base import SemiSupervised
from skae.semi_supervised._heads import softmax
from skae.semi_supervised._tasks import Classification
from skae.semi_supervised._teacher import Labels


@schema.persistent
@hyperparameters
class AutoencoderClassifier(ClassifierMixin, SemiSupervised):
    r"""Classification by an autoencoder of all samples and the labels of some.

    The autoencoder is fitted to all samples, labelled or not. From its codes and the labels,
    predictions come from

    1. logistic regression of the code;
    2. the encoder with this linear model as output layer, fine-tuned on the labelled samples, with
       learning rates that decay from the output layer to the first one (Clark et al. 2020);
    3. labels, spread over the graph of nearest codes or of nearest samples (Zhou et al. 2004),

       .. math:: F = (1 - \alpha) (I - \alpha D^{-1/2} W D^{-1/2})^{-1} Y, \qquad
                 w_{ij} = \exp(-4 d_{ij}^2 / r_i^2),

       with :math:`d_{ij}` the distance of two codes or samples (their leading 50 principal
       components, if they are wider), :math:`r_i` that of i to the last of its neighbours, W made
       symmetric, D its sums, :math:`\alpha = 0.99` and Y the labels.

    With ``fine_tune="auto"``, they are averaged with weights that cross-validation over the
    labelled samples chooses; a simpler average is preferred to one that is better by less than a
    standard error. Then the encoder with its output layer is trained on all samples to predict this
    average, or the given labels (distillation, Hinton et al. 2015). This starts at the
    first or the second, and the epoch that predicts held-out samples best is kept. The result is
    one network, which predicts new samples without the training data.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {encoders}
    coef_ : ndarray of shape (n_classes, n_components)
        Coefficients of the output layer, for the codes of ``fine_tuned_``.
    intercept_ : ndarray of shape (n_classes,)
        Intercepts of the output layer.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    teacher_weights_ : tuple of float or None
        Weights of the linear model, of the fine-tuned encoder, and of labels that are spread over
        nearest codes and over nearest samples, in the average that the encoder was trained to
        predict, with ``fine_tune="auto"``; else None.
    {fit}

    Warns
    -----
    AutoencoderWarning
        If the autoencoder or the fine-tuning diverges; what it started from is then used.

    See Also
    --------
    AutoencoderRegressor : The same for numbers as targets.
    sklearn.semi_supervised.SelfTrainingClassifier : Predictions of any classifier as labels.
    sklearn.semi_supervised.LabelSpreading : Spreads labels over the neighbours of samples.

    Notes
    -----
    Features are not scaled: scale them first if their units differ, as in
    ``make_pipeline(StandardScaler(), AutoencoderClassifier())``. For the linear model, codes are
    centred and divided by one number, so that components keep their relative size.

    At most 100,000 unlabelled samples, drawn at random, are used beside the labelled ones once the
    autoencoder is fitted. Samples with weight 0 or without an observed value are ignored.

    References
    ----------
    {references}

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderClassifier, DenoisingAutoencoder
    >>> X, y = load_digits(return_X_y=True)
    >>> few = np.where(np.arange(len(y)) < 100, y, -1)  # -1: no label
    >>> autoencoder = DenoisingAutoencoder(max_iter=5, early_stopping=False)
    >>> model = AutoencoderClassifier(autoencoder, max_iter=8, random_state=0)
    >>> model = model.fit(X[:1300], few[:1300])
    >>> model.score(X[1300:], y[1300:]) > 0.85
    True
    """

    unlabeled: Any = param(
        int,
        float,
        str,
        None,
        default=-1,
        doc="""
        The label in y of samples without one, such as -1 or ''. None and np.nan are the same.""",
    )
    class_weight: Mapping[Any, float] | str | None = param(
        dict,
        one_of("balanced"),
        None,
        default=None,
        doc="""
        Weights of the classes, by which those of labelled samples are multiplied; 'balanced'
        gives all classes the same total weight.""",
    )

    _task = Classification
    _fitted_schema: ClassVar[dict[str, schema.Check]] = {
        "classes_": schema.array("biufOU", None),
    }

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        super()._check_state(state)
        if "classes_" in state and not 2 <= len(state["classes_"]) == len(state["intercept_"]):
            raise ValueError("'classes_' are not as many as its outputs, or fewer than two")

    def _read_labels(self, y: NDArray, weight: NDArray) -> Labels:
        y = column_or_1d(y, warn=True)
        index = np.flatnonzero(~is_unlabeled(y, self.unlabeled) & (weight > 0))
        if not len(index):
            raise ValueError(
                f"y has no labelled sample: all are {self.unlabeled!r}, which is what unlabeled "
                "stands for, or have no weight; label some samples of at least two classes."
            )
        labels = of_one_kind(y[index])
        check_classification_targets(labels)
        self.classes_, encoded = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"The labelled samples are all of one class, {self.classes_.tolist()[0]!r}, but "
                f"{type(self).__name__} needs samples of at least two classes."
            )
        by_class = compute_sample_weight(self.class_weight, labels)
        targets = np.eye(len(self.classes_))[encoded]
        return Labels(index, targets, weight[index] * by_class, encoded)

    def decision_function(self, X: ArrayLike) -> NDArray:
        """Return the logits of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Logits, up to a number for each sample; of two classes, the logit of the second one
            minus that of the first.
        """
        outputs = self._outputs(X)
        return outputs[:, 1] - outputs[:, 0] if len(self.classes_) == 2 else outputs

    def predict_proba(self, X: ArrayLike) -> NDArray:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        return softmax(self._outputs(X))

    def predict(self, X: ArrayLike) -> NDArray:
        """Predict the class of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Most probable class of each sample.
        """
        outputs = self._outputs(X)
        return self.classes_[outputs.argmax(axis=1)]


def is_unlabeled(y: NDArray, unlabeled: Any) -> NDArray:
    """Return a mask of the labels that stand for none; None and NaN are the same."""
    if pd.isna(unlabeled):
        return pd.isna(y)
    if y.dtype.kind in "US" and not isinstance(unlabeled, str):
        return np.zeros(len(y), dtype=bool)
    return np.array([type(label) is not bool and label == unlabeled for label in y.tolist()])


def of_one_kind(labels: NDArray) -> NDArray:
    """Return labels that are not all strings as an array of numbers or booleans."""
    if labels.dtype != object or all(isinstance(label, str) for label in labels):
        return labels
    numbers = np.array(labels.tolist())
    if numbers.dtype.kind not in "biuf":
        raise ValueError(
            "The labels in y must be all strings or all numbers, beside those that unlabeled "
            "stands for; convert them to one type."
        )
    return numbers

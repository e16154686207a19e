"""Classification from few labels by any autoencoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
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

    DOC

    Parameters
    ----------
    {parameters}
    """

    unlabeled: Any = param(
        int,
        float,
        str,
        None,
        default=-1,
        doc="The label in y of samples without one, such as -1, '' or np.nan.",
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
        labels = y[index]
        if labels.dtype == object and not all(isinstance(label, str) for label in labels):
            labels = np.array(labels.tolist())  # for example integers beside None
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
    """Return a mask of the labels that stand for none; NaN and None are equal to themselves."""
    if isinstance(unlabeled, float) and np.isnan(unlabeled):
        return np.array([isinstance(label, float) and np.isnan(label) for label in y.tolist()])
    if y.dtype.kind in "US" and not isinstance(unlabeled, str):
        return np.zeros(len(y), dtype=bool)
    return np.array([type(label) is not bool and label == unlabeled for label in y.tolist()])

"""Base of the classifier and the regressor: an autoencoder, fine-tuned on labelled samples."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skae import _schema as schema
from skae._composite import AutoencoderComposite
from skae._dataframes import to_pandas
from skae._sklearn import Interval, _fit_context, _routing_enabled
from skae._sklearn_types import BaseEstimator, clone, with_callbacks
from skae._validation import check_sample_weight, random_state_of, unchanged_on_error
from skae.autoencoders import Autoencoder
from skae.base import CALLBACK_STATE, BaseAutoencoder
from skae.data import DataSource, read_source, usable_weight
from skae.hyperparameters import (
    NON_NEGATIVE,
    POSITIVE,
    POSITIVE_INT,
    hyperparameters,
    one_of,
    param,
)
from skae.semi_supervised._heads import LinearHead
from skae.semi_supervised._learning import Learning, encode
from skae.semi_supervised._tasks import Task
from skae.semi_supervised._teacher import Labels
from skae.training import TrainingPlan, budget, device_of

# Parts that the docstrings of the classifier and of the regressor share.
ENCODERS = """
estimator_ : autoencoder
    The autoencoder, fitted to all samples.
fine_tuned_ : autoencoder
    The same with the fine-tuned encoder; its decoder is not fine-tuned. With
    ``fine_tune="head"``, it is ``estimator_``.
""".strip()
FIT = """
n_iter_ : int
    Number of epochs of the last training; 1 with ``fine_tune="head"``.
n_features_in_ : int
    Number of features seen during ``fit``.
feature_names_in_ : ndarray of shape (`n_features_in_`,)
    Names of the features, if they were all strings.
""".strip()
REFERENCES = """
Zhou, D., Bousquet, O., Lal, T. N., Weston, J. and Schölkopf, B. (2004). "Learning with local
and global consistency". Advances in Neural Information Processing Systems 16, 321-328.

Iscen, A., Tolias, G., Avrithis, Y. and Chum, O. (2019). "Label propagation for deep
semi-supervised learning". Conference on Computer Vision and Pattern Recognition, 5070-5079.

Clark, K., Luong, M.-T., Le, Q. V. and Manning, C. D. (2020). "ELECTRA: pre-training text
encoders as discriminators rather than generators". International Conference on Learning
Representations.

Hinton, G., Vinyals, O. and Dean, J. (2015). "Distilling the knowledge in a neural network".
arXiv:1503.02531.
""".strip()

MAX_UNLABELED = 100_000  # unlabelled samples that labels are spread to


@hyperparameters
class SemiSupervised(AutoencoderComposite, BaseEstimator):
    """Base of the estimators that learn from few labels.

    Parameters
    ----------
    {parameters}
    """

    _doc_parts = {"encoders": ENCODERS, "fit": FIT, "references": REFERENCES}  # noqa: RUF012

    estimator: Any = param(
        BaseAutoencoder,
        None,
        default=None,
        kw_only=False,
        doc="""
        The autoencoder. If None, ``Autoencoder(0.95)``: as many components as explain 95 % of the
        variance.""",
    )
    fine_tune: str = param(
        one_of("auto", "head", "all"),
        default="auto",
        doc="""
        What is trained by the labels: 'head' is a linear model of the code; 'all' starts there, and
        then trains the encoder, too; 'auto' trains the encoder on all samples, labelled or not,
        with the average prediction of both, and of labels that are spread to neighbours, as
        targets.""",
    )
    n_neighbors: int | None = param(
        POSITIVE_INT,
        None,
        default=10,
        doc="""
        Number of nearest codes or samples that a label is spread to, for ``fine_tune='auto'``. If
        None, labels are not spread.""",
    )
    layer_decay: float = param(
        Interval(Real, 0, 1, closed="right"),
        default=0.7,
        doc="Factor of the learning rate from each layer of the encoder to the one below it.",
    )
    prefit: bool = param(
        "boolean",
        default=False,
        doc="""
        Whether ``estimator`` is fitted already. It is then used as it is, and ``fit`` may be given
        other samples, or the labelled ones only.""",
    )
    max_iter: int | str = param(
        POSITIVE_INT,
        one_of("auto"),
        default="auto",
        doc="""
        Number of epochs of fine-tuning. 'auto' makes about 500 gradient steps on the labelled
        samples, in at least 5 epochs, and about 2,000 on all samples.""",
    )
    batch_size: int | str = param(
        POSITIVE_INT,
        one_of("auto"),
        default="auto",
        doc="""
        Number of samples per gradient step of fine-tuning. 'auto' is a sixteenth of the samples, at
        least 16 and at most 128.""",
    )
    learning_rate: float = param(
        POSITIVE, default=1e-3, doc="Initial learning rate of the output layer (Adam)."
    )
    weight_decay: float = param(
        NON_NEGATIVE, default=0.01, doc="Decoupled weight decay coefficient of fine-tuning (AdamW)."
    )
    random_state: Any = param(
        "random_state",
        default=None,
        doc="""
        Seed of the autoencoder, of cross-validation and of fine-tuning. If None, the
        ``random_state`` of ``estimator`` is left unchanged.""",
    )

    _task: ClassVar[type[Task]]
    _fitted_schema: ClassVar[dict[str, schema.Check]] = {
        "n_features_in_": schema.integer(1),
        "feature_names_in_": schema.optional(schema.names("n_features_in_")),
        "estimator_": schema.instance(BaseAutoencoder),
        "fine_tuned_": schema.instance(BaseAutoencoder),
        "coef_": schema.array("f", None, None, finite=True),
        "intercept_": schema.array("f", None, finite=True),
        "teacher_weights_": schema.either(
            schema.instance(None), schema.sequence(schema.number, tuple)
        ),
        "n_iter_": schema.integer(1),
    }

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        if "estimator_" not in state:
            return
        for name in ("estimator_", "fine_tuned_"):
            if not hasattr(state[name], "module_"):
                raise ValueError(f"{name!r} is not fitted")
            if state[name].n_features_in_ != state["n_features_in_"]:
                raise ValueError(f"{name!r} is not fitted to as many features")
        shape = len(state["intercept_"]), state["fine_tuned_"].n_components_
        if state["coef_"].shape != shape or not shape[0]:
            raise ValueError("'coef_' is not of the shape of its outputs and codes")

    # -------------------------------------------------------------------------------- fitting

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, **params: Any
    ) -> Self:
        """Fit the autoencoder to all samples, and fine-tune it on the labelled ones.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training samples, labelled or not. NaN marks a missing value.
        y : array-like of shape (n_samples,) or, of a regressor, (n_samples, n_outputs)
            Labels or targets; those of unlabelled samples are ``unlabeled``, or NaN for a
            regressor.
        sample_weight : array-like of shape (n_samples,), default=None
            Per-sample weights. Samples with weight 0 are ignored. If None, all samples are weighted
            equally.
        **params : dict
            Further metadata for the autoencoder's ``fit``, where metadata routing is enabled.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If too few samples are labelled, if X cannot be fitted by an autoencoder, or if
            ``prefit`` is True and ``estimator`` is not fitted, or fitted to other features.
        """
        n_steps = {"head": 1, "all": 2, "auto": 4}[self.fine_tune] + (not self.prefit)
        with (
            unchanged_on_error(self, but=CALLBACK_STATE),
            np.errstate(over="ignore", invalid="ignore"),  # results that overflow are refused
            self._steps(n_steps, X=X, y=y),
        ):
            return self._fit(X, y, sample_weight, self._routed(sample_weight, params))

    def _fit(
        self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None, params: dict[str, Any]
    ) -> Self:
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        source = read_source(self, X, reset=True, at_least=1 if self.prefit else 2)
        y = as_numpy(y)
        check_consistent_length(source.X, y)
        weight = usable_weight(source, check_sample_weight(sample_weight, len(source)))
        labels = self._read_labels(y, weight)
        random_state = random_state_of(self.random_state)
        self.estimator_ = self._pretrained(source, params, random_state)
        index, labels = used_samples(labels, weight, random_state)
        learned = Learning(
            self._task,
            self.estimator_,
            source.take(index),
            weight[index],
            labels,
            plan=partial(self._plan, random_state),
            step=self._step,
            layer_decay=self.layer_decay,
            random_state=random_state,
        ).learn(self.fine_tune, self.n_neighbors)
        self.fine_tuned_, self.n_iter_ = learned.encoder, learned.n_iter
        choice = learned.choice
        self.teacher_weights_ = (
            None if choice is None else (choice.linear, choice.tuned, *choice.by_graph)
        )
        self.coef_, self.intercept_ = self._in_units(learned.head)
        return self

    def _pretrained(
        self, source: DataSource, params: dict[str, Any], random_state: np.random.RandomState
    ) -> BaseAutoencoder:
        """Return the fitted autoencoder."""
        seed = random_state.randint(np.iinfo(np.int32).max)
        if self.prefit:
            if not hasattr(self.estimator, "module_"):
                raise ValueError(
                    "prefit=True needs an estimator that is a fitted autoencoder; fit it first, "
                    "or set prefit=False."
                )
            read_source(self.estimator, source.X, reset=False)
            return self.estimator
        model = clone(self._estimator())
        if self.random_state is not None:
            model.set_params(random_state=seed)
        with self._step("autoencoder", model):
            return model._fit_or_start(source.X, **params)

    def _plan(
        self, random_state: np.random.RandomState, n_rows: int, n_steps: int, min_epochs: int
    ) -> TrainingPlan:
        """Return the plan of fine-tuning on so many samples."""
        batch_size = min(budget.resolve_auto(self.batch_size, budget.batch_size(n_rows)), n_rows)
        epochs = max(round(n_steps / -(-n_rows // batch_size)), min_epochs)
        seed, order_seed = (int(s) for s in random_state.randint(2**31 - 1, size=2))
        return TrainingPlan(
            max_epochs=budget.resolve_auto(self.max_iter, epochs),
            batch_size=batch_size,
            learning_rate=self.learning_rate,
            schedule="warm_up_cosine",
            weight_decay=self.weight_decay,
            seed=seed,
            order_seed=order_seed,
            precision=self.estimator_.precision,
            device=str(device_of(self.estimator_.device)),
            verbose=max(0, self.verbose - 1),
        )

    def _estimator(self) -> BaseAutoencoder:
        if self.estimator is not None:
            return self.estimator
        new = Autoencoder(0.95)
        return new.set_fit_request(sample_weight=True) if _routing_enabled() else new

    @abstractmethod
    def _read_labels(self, y: NDArray, weight: NDArray) -> Labels:
        """Return the labelled samples with a positive weight; set what describes targets."""

    def _in_units(self, head: LinearHead) -> tuple[NDArray, NDArray]:
        """Return coefficients and intercepts in the units of y."""
        return head.coef, head.intercept

    def _outputs(self, X: ArrayLike) -> NDArray:
        """Return the linear outputs for samples, (n, n_outputs)."""
        check_is_fitted(self)
        codes = encode(self.fine_tuned_, read_source(self, X, reset=False))
        return LinearHead(self.coef_, self.intercept_).outputs(codes)


def as_numpy(y: Any) -> NDArray:
    """Return targets as an array, without a copy if they are one."""
    return np.asarray(to_pandas(y))


def used_samples(
    labels: Labels, weight: NDArray, random_state: np.random.RandomState
) -> tuple[NDArray, Labels]:
    """Return the indices of the samples to learn from, and the labels of these."""
    index = np.flatnonzero(weight > 0)
    unlabeled = np.setdiff1d(index, labels.index)
    if len(unlabeled) > MAX_UNLABELED:
        unlabeled = random_state.permutation(unlabeled)[:MAX_UNLABELED]
        index = np.sort(np.concatenate([unlabeled, labels.index]))
    return index, replace(labels, index=np.searchsorted(index, labels.index))

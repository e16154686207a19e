"""Outlier detection by any autoencoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skae import _schema as schema
from skae._composite import AutoencoderComposite
from skae._sklearn import Interval, _fit_context, _routing_enabled
from skae._sklearn_types import BaseEstimator, OutlierMixin, with_callbacks
from skae._validation import (
    check_finite_result,
    check_sample_weight,
    random_state_of,
    unchanged_on_error,
)
from skae.autoencoders import VariationalAutoencoder
from skae.base import CALLBACK_STATE, BaseAutoencoder
from skae.data import (
    HOLDERS,
    DataSource,
    check_n_samples,
    usable_weight,
)
from skae.hyperparameters import POSITIVE_INT, hyperparameters, one_of, param
from skae.outlier._conformal import ConformalMixin
from skae.outlier._criteria import CRITERIA, make_criterion, resolve_method
from skae.outlier._criterion import Criterion
from skae.outlier._denoiser import default_denoiser
from skae.outlier._divided import fit_divided
from skae.outlier._scorer import fit_scorer
from skae.outlier._threshold import OUTSIDE, RankedScores
from skae.outlier._trimming import can_be_fitted, probable_outliers
from skae.outlier._variables import Variables, check_encoder, encoder_for
from skae.tables import TableEncoder
from skae.training import budget

MIN_OUTLIERS = 0.01  # share of the training data that contamination="auto" predicts as outliers


@schema.persistent
@hyperparameters
class AutoencoderOutlierDetector(AutoencoderComposite, ConformalMixin, OutlierMixin, BaseEstimator):
    r"""Outlier detection by any autoencoder.

    The autoencoder is trained on the data. Samples are scored by how much they deviate from the
    training data, using one or more of the following criteria:

    * ``"reconstruction"``: the mean loss between a sample and its reconstruction, in X's units
      (squared for the squared error);
    * ``"standardized"``: the same, with the loss of each feature divided by its mean in training;
    * ``"denoising"``: the sample is corrupted by Gaussian noise of five levels, by four fixed
      draws each, and reconstructed. Half of the loss of each feature is divided by the mean
      training loss of the level, and half by that of the feature at the level. Levels are those of
      the `DenoisingAutoencoder`, or 0.1 to 1 standard deviations of each feature for any other;
    * ``"tails"``: :math:`-\log p_j`, averaged over the features, with :math:`p_j` the two-sided
      p-value of the value among the training values of its feature, interpolated linearly, or the
      share of the training samples whose category is at most as frequent;
    * ``"mahalanobis"``: the squared Mahalanobis distance of the code from the training codes, per
      component;
    * ``"neighbors"``: the mean distance of the code to its ``n_neighbors`` nearest training codes;
    * ``"likelihood"``: minus the bound on log p(x) in nats, of a `VariationalAutoencoder`.

    Several criteria are combined as :math:`-\text{score} = \frac1M \sum_m s_m(x) / \bar s_m`,
    each divided by its mean over the training data, so that the score of a sample does not depend
    on the other samples of the call. ``"auto"`` is ``("denoising", "tails", "neighbors")``.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    estimator_ : autoencoder
        The fitted autoencoder.
    offset_ : float
        ``decision_function`` is ``score_samples`` minus this. It is the middle between the scores
        of the training samples around the threshold, at most 1 % below it, so that rounding does
        not change predictions.
    support_ : ndarray of shape (n_samples,) of bool
        The training samples that the autoencoder and the criteria were fitted to: those with a
        positive weight that were neither trimmed (``trim``) nor held out
        (``calibration_fraction``).
    calibration_scores_ : ndarray of shape (n_held_out,)
        Scores of the held-out samples, in ascending order.
    n_iter_ : int
        Epochs that the autoencoder was trained for.
    n_features_in_ : int
        Number of features seen during ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if they were all strings.

    See Also
    --------
    DenoisingAutoencoder : The default autoencoder.

    Notes
    -----
    Features are not scaled: scale them first if their units differ, as in
    ``make_pipeline(StandardScaler(), AutoencoderOutlierDetector())``. A DataFrame with columns of
    booleans, text or categories is encoded by a `TableEncoder`, which standardises its numbers.
    Features are its columns: their losses are sums over the columns that encode them. A category
    that was not in ``fit`` is scored as one of the rarest.

    A sample is an outlier if a feature that was constant in training has another value, with
    "auto", "standardized" and "denoising"; other methods do not guarantee it.

    Missing values (NaN) are ignored: criteria are means over the observed features of a sample. A
    sample without any observed feature has the score 0, which no other sample exceeds except with
    "likelihood".

    References
    ----------
    Tukey, J. W. (1977). "Exploratory data analysis". Addison-Wesley.

    Vincent, P., Larochelle, H., Lajoie, I., Bengio, Y. and Manzagol, P.-A. (2010). "Stacked
    denoising autoencoders". Journal of Machine Learning Research 11, 3371-3408.

    Sugiyama, M. and Borgwardt, K. (2013). "Rapid distance-based outlier detection via sampling".
    Advances in Neural Information Processing Systems 26.

    Campello, R. J. G. B., Moulavi, D. and Sander, J. (2013). "Density-based clustering based on
    hierarchical density estimates". Advances in Knowledge Discovery and Data Mining.

    Livernoche, V., Jain, V., Hezaveh, Y. and Ravanbakhsh, S. (2024). "On diffusion modeling for
    anomaly detection". International Conference on Learning Representations.

    Bates, S., Candès, E., Lei, L., Romano, Y. and Sesia, M. (2023). "Testing for outliers with
    conformal p-values". Annals of Statistics 51, 149-178.

    Examples
    --------
    >>> import numpy as np
    >>> from skae import AutoencoderOutlierDetector
    >>> X = np.random.default_rng(0).normal(size=(300, 4))
    >>> X[:, 3] = X[:, 0] + X[:, 1]
    >>> detector = AutoencoderOutlierDetector(max_iter=50, random_state=0).fit(X)
    >>> detector.predict([[1, 1, 0, 2], [1, 1, 0, -2]])
    array([ 1, -1])
    """

    estimator: Any = param(
        BaseAutoencoder,
        None,
        default=None,
        kw_only=False,
        doc="""
        The autoencoder. If None, ``DenoisingAutoencoder(noise_level=(0.1, 1.0),
        early_stopping=False)`` with a learning rate of 5e-3 from 1,333 training samples on, up to
        1.6e-2 for fewer, or ``VariationalAutoencoder()`` for ``method="likelihood"``, with
        ``max_iter`` epochs.""",
    )
    method: str | Sequence[str] = param(
        one_of("auto", *CRITERIA),
        "array-like",
        default="auto",
        doc="The criterion, or several: see the list above.",
    )
    contamination: str | float = param(
        one_of("auto"),
        Interval(Real, 0, 0.5, closed="right"),
        default="auto",
        doc="""
        Fraction of the training samples that ``predict`` labels as outliers. If 'auto', samples
        whose outlier score exceeds the upper quartile of the training data by more than 1.5
        interquartile ranges (of logarithms, except for "likelihood"), and at least the 1 % with the
        highest scores. Equal scores get the same label: samples that tie with the upper quartile
        are inliers, and a fraction is met as nearly as ties allow. It is that of 65,536 evenly
        spaced training samples if there are more.""",
    )
    novelty: bool = param(
        "boolean",
        default=False,
        doc="""
        Whether all training samples are known to be normal, and only new samples may be outliers.
        `trim` and `n_neighbors` depend on it if they are 'auto'. Scores are worse if it is True and
        some training samples are outliers, above all if these are similar to each other.""",
    )
    trim: str | float = param(
        one_of("auto"),
        Interval(Real, 0, 0.5, closed="left"),
        default="auto",
        doc="""
        Fraction of the training samples to exclude because they are probably outliers: those that
        are most remote from the others. Remoteness is the distance to the nearest of four samples
        that are drawn at random, the median of 100 draws. If 'auto', samples whose
        remoteness exceeds the upper quartile by more than 3 interquartile ranges (of logarithms),
        those of the most remote fifth that have near neighbors, and small groups, wherever they
        are, that are 2.25 times as far from all other samples as their members are linked at:
        the network would learn to reconstruct them. None is excluded with ``novelty=True``, from
        fewer than eight samples, or if the others do not vary.""",
    )
    n_neighbors: int | str = param(
        POSITIVE_INT,
        one_of("auto"),
        default="auto",
        doc="""
        Number of nearest codes, for the criterion "neighbors". If 'auto', 5, or 1 with
        ``novelty=True``.""",
    )
    calibration_fraction: float = param(
        Interval(Real, 0, 1, closed="left"),
        default=0.0,
        doc="Fraction of the training samples to hold out for ``p_values``.",
    )
    max_iter: int | str = param(
        POSITIVE_INT,
        one_of("auto"),
        default="auto",
        doc="""
        Epochs of the default autoencoder; ignored if ``estimator`` is given. If 'auto', as many as
        make about 1.5 gradient steps per training sample, at least 200 and at most 2,000, but not
        fewer than 3 epochs; for ``method="likelihood"``, as `VariationalAutoencoder` chooses
        them.""",
    )
    random_state: Any = param(
        "random_state",
        default=None,
        doc="""
        Seed of the held-out samples and of the autoencoder. If None, the ``random_state`` of
        ``estimator`` is left unchanged.""",
    )

    _fitted_schema: ClassVar[dict[str, schema.Check]] = {
        "n_features_in_": schema.integer(1),
        "feature_names_in_": schema.optional(schema.names("n_features_in_")),
        "estimator_": schema.instance(BaseAutoencoder),
        "offset_": schema.number,
        "support_": schema.array("b", None),
        "calibration_scores_": schema.array("f", None),
        "_criteria": schema.sequence(schema.instance(Criterion), tuple),
        "_weights": schema.array("f", None, finite=True),
        "_floor": schema.number,
        "_encoder": schema.instance(TableEncoder, None),
    }

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        if "estimator_" not in state:
            return
        estimator, criteria = state["estimator_"], state["_criteria"]
        if not hasattr(estimator, "module_"):
            raise ValueError("its autoencoder is not fitted")
        check_encoder(state["_encoder"], state["n_features_in_"], estimator.n_features_in_)
        names = {getattr(type(criterion), "name", None) for criterion in criteria}
        if not 0 < len(names) == len(criteria) == len(state["_weights"]):
            raise ValueError("its weights are not of as many different criteria")
        sizes = {
            "n_features_in_": estimator.n_features_in_,
            "n_components_": estimator.n_components_,
        }
        if any(vars(c).get(name) != size for c in criteria for name, size in sizes.items()):
            raise ValueError("its criteria are not fitted to its autoencoder")
        if "likelihood" in names and not isinstance(estimator, VariationalAutoencoder):
            raise ValueError("its autoencoder has no likelihood")

    # -------------------------------------------------------------------------------- fitting

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None, **params: Any
    ) -> Self:
        """Train the autoencoder and fit the criteria.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
            Training data, with or without outliers. NaN marks a missing value. Columns of a
            DataFrame may be numbers, booleans, categories or text.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Per-sample weights. Samples with weight 0 are ignored. If None, all samples are
            weighted equally.
        **params : dict
            Further metadata for the autoencoder's ``fit``, where metadata routing is enabled.

        Returns
        -------
        self : object
            The fitted detector.

        Raises
        ------
        ValueError
            If X cannot be fitted by an autoencoder (fewer than two samples, constant, infinite
            values), if no sample is left for calibration, or if ``method`` needs another
            autoencoder.
        """
        # Results that overflow are refused, without numpy's warnings.
        with (
            unchanged_on_error(self, but=CALLBACK_STATE),
            np.errstate(over="ignore", invalid="ignore"),
            self._steps(1, X=X, y=y),
        ):
            return self._fit(X, sample_weight, self._routed(sample_weight, params))

    def _fit(self, X: ArrayLike, sample_weight: ArrayLike | None, params: dict[str, Any]) -> Self:
        if HOLDERS.get().size > 1:
            return fit_divided(self, X, sample_weight, params)
        self._encoder = encoder_for(X, sample_weight)
        source = self._read(X, reset=True, at_least=2)
        weight = usable_weight(source, check_sample_weight(sample_weight, len(source)))
        check_n_samples(int((weight > 0).sum()))
        weight_of_model = check_sample_weight(params.pop("sample_weight", None), len(source))
        random_state = random_state_of(self.random_state)
        held_out = self._held_out(weight, random_state)
        used = (weight > 0) & ~np.isin(np.arange(len(source)), held_out)
        if self._encoder is not None and len(held_out):  # they must not affect the scores
            self._encoder = encoder_for(X, weight * used)
            source = self._read(X)
        index = np.flatnonzero(used)
        training = source if used.all() else source.take(index)
        model = self._seeded(self._estimator(len(index)), random_state)

        kept = used
        trim = (0.0 if self.novelty else "auto") if self.trim == "auto" else self.trim
        if trim:
            remaining = used.copy()
            remaining[index] = ~probable_outliers(training, weight[index], trim)
            if can_be_fitted(training, (weight_of_model * remaining)[index]):
                kept = remaining
        with self._step("fit", model):
            model._fit_or_start(source.X, sample_weight=weight_of_model * kept, **params)
        self.support_ = kept
        self._learn(model, training, weight, kept, index)
        self.calibration_scores_ = np.sort(-self._outlier_scores(source.take(held_out)))
        return self

    def _learn(
        self,
        model: BaseAutoencoder,
        training: DataSource,
        weight: NDArray,
        kept: NDArray,
        index: NDArray,
    ) -> None:
        """Fit the criteria with a fitted autoencoder, and the threshold; `index` is of training."""
        n_neighbors = budget.resolve_auto(self.n_neighbors, 1 if self.novelty else 5)
        criteria = [make_criterion(c, n_neighbors) for c in resolve_method(self.method)]
        variables = Variables.of(self._encoder, training.shape[1])
        scorer, scored, scores = fit_scorer(
            model, criteria, training, (weight * kept)[index], variables
        )
        scores = _check_finite_rows(scores, index[scored])
        self.estimator_ = scorer.model
        self._criteria, self._weights, self._floor = scorer.criteria, scorer.weights, scorer.floor
        self.offset_ = -self._limit(scores, weight[index[scored]])

    def _held_out(self, weight: NDArray, random_state: np.random.RandomState) -> NDArray:
        """Return the indices of the samples held out for calibration."""
        index = np.flatnonzero(weight > 0)
        n = int(self.calibration_fraction * len(index))
        if self.calibration_fraction and not n:
            raise ValueError(
                f"calibration_fraction={self.calibration_fraction} of {len(index)} samples is "
                "none; raise it, or set it to 0."
            )
        return np.sort(random_state.permutation(index)[:n])

    def _limit(self, scores: NDArray, weight: NDArray) -> float:
        """Return the score above which samples are outliers."""
        ranked = RankedScores(scores, weight)
        if not isinstance(self.contamination, str):
            return ranked.separating(ranked.exceeded_by(self.contamination))
        fence = ranked.fence(OUTSIDE, logarithmic="likelihood" not in resolve_method(self.method))
        return ranked.separating(min(fence, ranked.quantile(1 - MIN_OUTLIERS)))

    def _estimator(self, n_samples: int = 1) -> BaseAutoencoder:
        """Return the autoencoder to fit to so many samples."""
        likelihood = "likelihood" in resolve_method(self.method)
        if self.estimator is None:
            new: Any = VariationalAutoencoder(max_iter=self.max_iter)
            if not likelihood:
                new = default_denoiser(n_samples, self.max_iter)
            return new.set_fit_request(sample_weight=True) if _routing_enabled() else new
        if likelihood and not isinstance(self.estimator, VariationalAutoencoder):
            raise ValueError(
                "method='likelihood' needs a VariationalAutoencoder, but estimator is a "
                f"{type(self.estimator).__name__}; change one of them."
            )
        return self.estimator


def _check_finite_rows(scores: NDArray, index: NDArray) -> NDArray:
    """Raise ValueError with the row number in X where the score of a training sample overflows."""
    of_all = np.zeros(index[-1] + 1)
    of_all[index] = scores
    return check_finite_result(of_all, "X")[index]

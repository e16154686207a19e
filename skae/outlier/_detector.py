from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import check_is_fitted

from skae import _schema as schema
from skae._composite import Composite
from skae._sklearn import Interval, _fit_context, _raise_for_params, _routing_enabled
from skae._sklearn_types import BaseEstimator, OutlierMixin, clone, with_callbacks
from skae._validation import (
    check_finite_result,
    check_sample_weight,
    random_state_of,
    unchanged_on_error,
)
from skae.autoencoders import DenoisingAutoencoder, VariationalAutoencoder
from skae.base import CALLBACK_STATE, BaseAutoencoder
from skae.data import (
    DataSource,
    Moments,
    check_n_samples,
    concatenate_chunks,
    drop_empty_rows,
    read_source,
)
from skae.hyperparameters import POSITIVE_INT, hyperparameters, one_of, param
from skae.outlier._conformal import ConformalMixin
from skae.outlier._criteria import LEVELS, MEASURES, TINY
from skae.outlier._threshold import RankedScores
from skae.training import _budget as budget

AUTO = ("denoising", "tails", "neighbors")
STEPS = 2000  # of the default autoencoder's training, about
EPOCHS = (10, 250)  # of it, at least and at most
OUTSIDE, FAR_OUT = 1.5, 3.0  # interquartile ranges beyond the upper quartile (Tukey 1977)
AT_LEAST = 0.01  # share of the training rows that are called outliers


@schema.persistent
@hyperparameters
class AutoencoderOutlierDetector(Composite, ConformalMixin, OutlierMixin, BaseEstimator):
    r"""Outlier detection by any autoencoder.

    The autoencoder learns the training rows; a row is an outlier as far as it is unlike them,
    which is measured by one or several of

    * ``"reconstruction"``: the mean loss between the row and its reconstruction, in X's units (for
      a squared error, squared);
    * ``"standardized"``: the same, each cell's loss divided by its column's mean in training;
    * ``"denoising"``: the row is spoilt by gaussian noise of five levels, four fixed draws each,
      and reconstructed. Each cell's mean loss is divided half by the mean in training of its level
      and half by that of its column and level. Levels are those of the `DenoisingAutoencoder`, or
      0.1 to 1 standard deviations of each column for any other;
    * ``"tails"``: :math:`-\log p_j`, the mean over the columns, with :math:`p_j` the two-sided
      p-value of the cell among the training values of its column, linear between these values;
    * ``"mahalanobis"``: the squared Mahalanobis distance of the code from the training codes, per
      component;
    * ``"neighbors"``: the mean distance of the code to its ``n_neighbors`` nearest training codes;
    * ``"likelihood"``: minus the bound on log p(x) in nats, of a `VariationalAutoencoder`.

    Several are combined as :math:`-\text{score} = \frac1M \sum_m s_m(x) / \bar s_m`, each divided
    by its mean over the training rows, so that a row's score does not depend on the rows it is
    scored with. ``"auto"`` is ``("denoising", "tails", "neighbors")``.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    estimator_ : autoencoder
        The fitted autoencoder.
    offset_ : float
        ``decision_function`` is ``score_samples`` minus this. It lies between the scores of the
        training rows on both sides of the limit, at most a hundredth below the limit, so that
        rounding changes no verdict.
    support_ : ndarray of shape (n_samples,) of bool
        The training rows that the autoencoder and the measures were fitted to: those that have a
        weight and are neither left out (``trim``) nor held out (``calibration_fraction``).
    calibration_scores_ : ndarray of shape (n_held_out,)
        Scores of the rows held out, in rising order.
    n_features_in_ : int
        Number of columns of the training rows.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if they were all strings.

    Raises
    ------
    ValueError
        By ``fit``, if the table is not fit for an autoencoder (fewer than two rows, nothing that
        varies, infinity), if no row is left to calibrate by, or if ``method`` needs another
        autoencoder.

    See Also
    --------
    DenoisingAutoencoder : What it trains by default.

    Notes
    -----
    Columns count as they are: scale them first where their units differ, as in
    ``make_pipeline(StandardScaler(), AutoencoderOutlierDetector())``. A column that is constant in
    training and varies later makes an outlier, by "auto", "standardized" and "denoising"; other
    methods do not promise it.

    Missing values (NaN) count for nothing: measures are means over the observed cells of a row,
    and a row with nothing observed scores 0, which no other row exceeds except by likelihood.

    References
    ----------
    Tukey, J. W. (1977). "Exploratory data analysis". Addison-Wesley.

    Vincent, P., Larochelle, H., Lajoie, I., Bengio, Y. and Manzagol, P.-A. (2010). "Stacked
    denoising autoencoders". Journal of Machine Learning Research 11, 3371-3408.

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
    >>> detector = AutoencoderOutlierDetector(random_state=0).fit(X)
    >>> detector.predict([[1, 1, 0, 2], [1, 1, 0, -2]])
    array([ 1, -1])
    """

    estimator: Any = param(
        BaseAutoencoder,
        None,
        default=None,
        kw_only=False,
        doc="""
        The autoencoder. None is ``DenoisingAutoencoder(noise_level=(0.1, 1.0), max_iter=...,
        learning_rate=5e-3, early_stopping=False)``, with as many epochs as make about 2,000
        gradient steps, but at least 10 and at most 250; and ``VariationalAutoencoder()`` for
        ``method="likelihood"``.""",
    )
    method: str | Sequence[str] = param(
        one_of("auto", *MEASURES),
        "array-like",
        default="auto",
        doc="What outliers are measured by: one of the list above, or several.",
    )
    contamination: str | float = param(
        one_of("auto"),
        Interval(Real, 0, 0.5, closed="right"),
        default="auto",
        doc="""
        Share of the training rows that ``predict`` calls outliers. 'auto' calls those that stand
        out: whose measure, in logarithms (but for "likelihood"), is more than 1.5 interquartile
        ranges above the upper quartile of the training rows; at least the worst hundredth. Equal
        scores are never divided: rows that tie with the upper quartile are inliers, and a share is
        met as nearly as ties allow.""",
    )
    trim: str | float = param(
        one_of("auto"),
        Interval(Real, 0, 0.5, closed="left"),
        default="auto",
        doc="""
        Share of the training rows to leave out because they are probably outliers themselves: the
        worst by a first, short fit of one epoch. 'auto' leaves out those that stand out by more
        than 3 interquartile ranges, unless the others do not vary. 0 trains on all, which is better
        where all are normal.""",
    )
    n_neighbors: int = param(
        POSITIVE_INT, default=5, doc="How many of the nearest codes count, for 'neighbors'."
    )
    calibration_fraction: float = param(
        Interval(Real, 0, 1, closed="left"),
        default=0.0,
        doc="Share of the training rows to hold out for ``p_values``.",
    )
    random_state: Any = param(
        "random_state",
        default=None,
        doc="""
        Seed of the rows held out and of the autoencoder; None leaves the autoencoder the one it
        has.""",
    )

    _fitted_schema: ClassVar[dict[str, schema.Check]] = {
        "n_features_in_": schema.integer(1),
        "feature_names_in_": schema.optional(schema.names("n_features_in_")),
        "estimator_": schema.instance(BaseAutoencoder),
        "offset_": schema.number,
        "support_": schema.array("b", None),
        "calibration_scores_": schema.array("f", None),
        "_measures": schema.sequence(lambda value, _: isinstance(value, str) and value in MEASURES),
        "_states": schema.sequence(schema.mapping(schema.anything)),
        "_shares": schema.array("f", None, finite=True),
        "_floor": schema.number,
    }

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        if "estimator_" not in state:
            return
        names, states, estimator = state["_measures"], state["_states"], state["estimator_"]
        n_features = state["n_features_in_"]
        if vars(estimator).get("n_features_in_") != n_features or not hasattr(estimator, "module_"):
            raise ValueError("its autoencoder is not fitted to as many features")
        if not 0 < len(names) == len(set(names)) == len(states) == len(state["_shares"]):
            raise ValueError("its measures are not as many as their states")
        if "likelihood" in names and not isinstance(estimator, VariationalAutoencoder):
            raise ValueError("its autoencoder has no likelihood")
        for name, learned in zip(names, states, strict=True):
            MEASURES[name].check(
                learned, n_features=n_features, n_components=estimator.n_components_
            )

    # -------------------------------------------------------------------------------- fitting

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None, **params: Any
    ) -> Self:
        """Train the autoencoder and learn what is usual.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training rows, with or without outliers among them. NaN is a value that is missing.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows; a row of weight 0 is as good as absent. None is 1 for all.
        **params : dict
            Further metadata for the autoencoder's ``fit``, where metadata routing is enabled.

        Returns
        -------
        self : object
            The fitted detector.
        """
        # Results that overflow are refused; nothing else may say so.
        with (
            unchanged_on_error(self, but=CALLBACK_STATE),
            np.errstate(over="ignore", invalid="ignore"),
            self._steps(2 if self.trim else 1, X=X, y=y),
        ):
            return self._fit(X, sample_weight, self._routed(sample_weight, params))

    def _fit(self, X: ArrayLike, sample_weight: ArrayLike | None, params: dict[str, Any]) -> Self:
        table = read_source(self, X, reset=True, at_least=2)
        weight = check_sample_weight(sample_weight, len(table)) * ~table.empty_rows()
        # Beside the largest, less than this is nothing in the precision of training.
        weight[weight <= np.finfo(np.float32).tiny * weight.max()] = 0
        check_n_samples(int((weight > 0).sum()))
        inner = check_sample_weight(params.pop("sample_weight", None), len(table))
        random_state = random_state_of(self.random_state)
        held_out = self._held_out(weight, random_state)
        weight[held_out] = 0
        known = np.flatnonzero(weight > 0)
        rows, weight = table if len(known) == len(table) else table.take(known), weight[known]
        model = clone(self._estimator(len(known)))
        if self.random_state is not None:
            model.set_params(random_state=random_state.randint(np.iinfo(np.int32).max))

        def learn(name: str, model: BaseAutoencoder, used: NDArray) -> NDArray:
            present, unlike = np.zeros((2, len(table)))
            present[known] = used > 0
            with self._step(name, model):
                self.estimator_ = model._fit_or_start(
                    table.X, sample_weight=inner * present, **params
                )
            unlike[known] = self._learn(rows, used)
            return check_finite_result(unlike, "X")[known]

        used = weight
        if self.trim:
            # One epoch tells the worst rows, before they are learned by heart.
            short = clone(model).set_params(max_iter=1, early_stopping=False, checkpoint=None)
            unlike = learn("short fit", short, weight)
            kept = np.where(unlike > self._limit(unlike, weight, self.trim, FAR_OUT), 0, weight)
            if _can_be_fitted(rows, inner[known] * (kept > 0)):
                used = kept
        unlike = learn("fit", model, used)
        self.support_ = np.zeros(len(table), dtype=bool)
        self.support_[known] = used > 0
        self.offset_ = -self._limit(unlike, weight, self.contamination, OUTSIDE, AT_LEAST)
        self.calibration_scores_ = np.sort(-self._measure(table.take(held_out)))
        return self

    def _learn(self, rows: DataSource, weight: NDArray) -> NDArray:
        """Learn the measures from rows by their weights; return how unlike them each row is."""
        self._measures, model = self._names(), self.estimator_
        measures = [MEASURES[name] for name in self._measures]
        self._states = [m.fit(model, rows, weight, self.n_neighbors) for m in measures]
        floors = [m.floor(model, state) for m, state in zip(measures, self._states, strict=True)]
        parts = self._parts(rows)
        self._shares = np.ones(1)
        if len(parts) > 1:
            # A measure that is zero in training, but for rounding, would count without bounds.
            usual = np.maximum(parts @ (weight / weight.sum()), floors)
            self._shares = 1 / len(parts) / np.maximum(usual, TINY)
        self._floor = float(self._shares @ floors)
        return np.maximum(self._shares @ parts, self._floor)

    def _held_out(self, weight: NDArray, random_state: np.random.RandomState) -> NDArray:
        """Return which rows are held out to calibrate by."""
        known = np.flatnonzero(weight > 0)
        n = int(self.calibration_fraction * len(known))
        if self.calibration_fraction and not n:
            raise ValueError(
                f"calibration_fraction={self.calibration_fraction} of {len(known)} rows is none; "
                "raise it, or set it to 0."
            )
        return np.sort(random_state.permutation(known)[:n])

    def _limit(
        self,
        unlike: NDArray,
        weight: NDArray,
        share: Any,
        whisker: float,
        at_least: float = 0.0,
    ) -> float:
        """Return the measure beyond which a share of the rows is, or those that stand out."""
        ranked = RankedScores(unlike, weight)
        if share != "auto":
            return ranked.separating(ranked.exceeded_by(share))
        fence = ranked.fence(whisker, logarithmic="likelihood" not in self._names())
        return ranked.separating(min(fence, ranked.quantile(1 - at_least)))

    def _names(self) -> tuple[str, ...]:
        """Return the measures that make up the score."""
        if isinstance(self.method, str) and self.method == "auto":
            return AUTO
        names = (self.method,) if isinstance(self.method, str) else tuple(self.method)
        unknown = [name for name in names if name not in MEASURES]
        if not names or unknown or len(set(names)) < len(names):
            raise ValueError(
                f"method must be 'auto', one of {sorted(MEASURES)}, or several different of these; "
                f"got {self.method!r}."
            )
        if "likelihood" in names and len(names) > 1:
            raise ValueError(
                "method='likelihood' is a logarithm, which does not combine with other measures; "
                f"use it alone; got {self.method!r}."
            )
        return names

    def _estimator(self, n_rows: int = 1) -> BaseAutoencoder:
        """Return the autoencoder that is asked for, unfitted."""
        likelihood = "likelihood" in self._names()
        if self.estimator is None:
            new: Any = VariationalAutoencoder()
            if not likelihood:
                steps_per_epoch = max(1, round(n_rows / budget.batch_size(n_rows)))
                new = DenoisingAutoencoder(
                    noise_level=LEVELS,
                    max_iter=int(np.clip(round(STEPS / steps_per_epoch), *EPOCHS)),
                    learning_rate=5e-3,
                    early_stopping=False,
                )
            return new.set_fit_request(sample_weight=True) if _routing_enabled() else new
        if likelihood and not isinstance(self.estimator, VariationalAutoencoder):
            raise ValueError(
                "method='likelihood' needs a VariationalAutoencoder, but estimator is a "
                f"{type(self.estimator).__name__}; change one of them."
            )
        return self.estimator

    # -------------------------------------------------------------------------------- scoring

    def score_samples(self, X: ArrayLike) -> NDArray:
        """Score rows; lower is more unlike the training rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; NaN is a value that is missing.

        Returns
        -------
        scores : ndarray of shape (n_samples,), float64
            Minus the measure; -1 is the training rows' mean where several are combined. 0 for a
            row with nothing observed.
        """
        return -self._measure(self._read(X))

    def decision_function(self, X: ArrayLike) -> NDArray:
        """Score rows relative to the threshold; negative is an outlier.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; NaN is a value that is missing.

        Returns
        -------
        scores : ndarray of shape (n_samples,), float64
            ``score_samples(X) - offset_``.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray:
        """Tell outliers from inliers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; NaN is a value that is missing.

        Returns
        -------
        is_inlier : ndarray of shape (n_samples,), int
            -1 for outliers, 1 for inliers.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def feature_contributions(self, X: ArrayLike) -> NDArray:
        """Return what each value adds to how unlike the training rows its row is.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; NaN is a value that is missing.

        Returns
        -------
        contributions : ndarray of shape (n_samples, n_features), float64
            Larger is more unusual; 0 for a missing value. Rows sum to ``-score_samples(X)`` for
            "reconstruction", "standardized", "denoising", "tails" and combinations of these. The
            share of "neighbors" (a third of "auto") and of "mahalanobis" in a combination
            belongs to no column, and is left out.

        Raises
        ------
        ValueError
            If the method has no part that is a sum over columns.
        """
        table = self._read(X)
        additive = [i for i, name in enumerate(self._measures) if MEASURES[name].additive]
        if not additive:
            raise ValueError(
                f"method={self._measures} is no sum over columns; feature_contributions needs "
                "'auto', 'reconstruction', 'standardized', 'denoising' or 'tails'."
            )
        total = np.zeros(table.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            for chunk in table.gen_chunks():
                for i in additive:
                    measure, state = MEASURES[self._measures[i]], self._states[i]
                    cells = measure.cells(self.estimator_, table[chunk], state)
                    total[chunk] += cells * self._shares[i]
        return check_finite_result(total, "X")

    def _read(self, X: ArrayLike) -> DataSource:
        check_is_fitted(self)
        return read_source(self, X, reset=False)

    def _measure(self, table: DataSource) -> NDArray:
        """Return how unlike the training rows each row is."""
        if not len(table):
            return np.empty(0)
        with np.errstate(over="ignore", invalid="ignore"):
            return check_finite_result(self._shares @ self._parts(table), "X")

    def _parts(self, table: DataSource) -> NDArray:
        """Return each measure of each row, (M, n); what overflows is not finite."""

        def parts(chunk: slice) -> NDArray:
            X = table[chunk]
            measures = [
                MEASURES[name].rows(self.estimator_, X, state)
                for name, state in zip(self._measures, self._states, strict=True)
            ]
            return np.where(np.isnan(X).all(1), 0, measures).T

        return concatenate_chunks(len(table), map(parts, table.gen_chunks())).T

    # ------------------------------------------------------------------------- bookkeeping

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


def _can_be_fitted(table: DataSource, weight: NDArray) -> bool:
    """Tell whether rows with a weight leave an autoencoder something to learn."""
    try:
        Moments.of(*drop_empty_rows(table, weight)).check_magnitude(table.dtype, None)
    except ValueError:
        return False
    return True

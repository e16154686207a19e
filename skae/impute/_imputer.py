from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from numbers import Real
from typing import Any, ClassVar, Self, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.impute import MissingIndicator
from sklearn.utils import Tags, check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from skae import _schema as schema
from skae._composite import Composite
from skae._dataframes import in_library_of
from skae._numeric_input import as_table, check_names, check_restorable
from skae._sklearn import MissingValues, _check_feature_names_in, _fit_context, _get_output_config
from skae._sklearn_types import BaseEstimator, TransformerMixin, clone, with_callbacks
from skae._validation import (
    check_count,
    check_sample_weight,
    column_name,
    random_state_of,
    rescale_weights,
    unchanged_on_error,
)
from skae.autoencoders import VariationalAutoencoder
from skae.base import CALLBACK_STATE, BaseAutoencoder
from skae.data import DataSource, read_source, subsample_evenly
from skae.exceptions import AutoencoderWarning
from skae.hyperparameters import POSITIVE_INT, hyperparameters, one_of, param
from skae.impute._conditional_gaussian import Gaussian, fit_shrunk, probabilities
from skae.impute._evaluation import OverImputeMixin
from skae.impute._nearest_rows import Neighbors
from skae.impute._network import ImputationNetwork
from skae.impute._plausible_range import plausible
from skae.impute._residuals import LEVELS, conditional_std, draw, errors, picked, tensors
from skae.impute._table_encoder import Columns, is_mixed
from skae.training import budget

ENOUGH_ROWS = 32  # for a network to be trained
MAX_CELLS = 2**19  # of the rows that the Gaussian is fitted to
MAX_ROWS = (1000, 20_000)  # that these are, at least and at most, if there are so many
MAX_JUDGES = 500  # rows held out that its ridge is chosen by
FOLDS = 4  # of the rows, where none are held out
ROUNDS = 5  # of filling by the reconstruction of filled rows, of other autoencoders
DETERMINED = 0.05  # standard deviations of error, from which on a value is kept in range
FAR = 1e12  # standard deviations, beyond which sums of squares overflow


@schema.persistent
@hyperparameters
class AutoencoderImputer(Composite, OverImputeMixin, TransformerMixin, BaseEstimator):
    r"""Imputation by an autoencoder that learns to fill hidden cells.

    With columns centred and divided by their standard deviation, a hole is filled by

    .. math:: \hat x_h = E[x_h | x_o] + r_h(x_o, o), \qquad
              E[x_h | x_o] = \mu_h + \Sigma_{ho} \Sigma_{oo}^{-1} (x_o - \mu_o),

    the conditional mean of a Gaussian given what is observed in the row, o, and what a network
    adds to it. The Gaussian is fitted to the incomplete rows by EM, with
    a ridge that is chosen by cells hidden in rows held out. The network sees this mean,
    the mask and where each observed value is among the quantiles of its column; it learns to fill
    cells that training hides at random from those that are observed, a share of 5 to 60 % of each
    row. It starts at zero, and if it does no better on rows held out, the Gaussian is what
    remains.

    This is then moved toward what rows alike hold, :math:`s_j`, the mean of column j over the
    training rows that know it, weighed by a power of their distance to the filled row:

    .. math:: \hat x_j + \frac{v_j}{v_j + \tau_j} (s_j - \hat x_j), \qquad
              s_j \propto \sum_i w_i \Bigl(\epsilon_j + \sum_{c \ne j} m_{jc} (\hat x_c -
              x_{ic})^2\Bigr)^{-\nu_j} x_{ij},

    where the metric m, the power and the reach are learned for each column by predicting known
    cells of other rows (in at most 32 other columns, the most correlated ones), v is the Gaussian's
    conditional variance, and :math:`\tau` is what fills best the cells hidden in rows held out. So
    cells that others determine stay as they are.

    Rows that were not trained on are filled by what was learned; observed cells come back as they
    are.

    A DataFrame may also have columns of integers, booleans, categories and text, with NaN, None or
    NA for what is missing. It comes back as a DataFrame with the same dtypes, columns and index. A
    hole among integers is filled by an integer, a hole among categories, which booleans and texts
    are too, by the most likely one: the Gaussian and the network see a column of 0 and 1 for each
    category, and training minimises twice the cross-entropy.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    estimator_ : autoencoder or None
        The fitted autoencoder of the standardised columns; None where there was too little to
        learn from: fewer than 32 rows or two columns that vary. Holes are then filled by the
        Gaussian.
    mean_, scale_ : ndarray of shape (n_features_in_,)
        Means and standard deviations of the observed cells of each column, NaN for a column
        without any and for categories; 1 is the scale of a column that does not vary.
    data_min_, data_max_ : ndarray of shape (n_features_in_,)
        Least and largest observed value of each column, but for wild ones (see Notes), NaN where
        the mean is.
    n_iter_ : int
        Epochs that the autoencoder was trained for, 1 where there is none.
    indicator_ : MissingIndicator or None
        Of the columns that had missing values in ``fit``, if ``add_indicator``.
    n_features_in_ : int
        Number of columns of the training rows.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if they were all strings.

    See Also
    --------
    sklearn.impute.IterativeImputer : A model for each column, in rounds.
    skae.make_missing : Holes by known mechanisms, to try it on.

    Notes
    -----
    A column without any value in ``fit`` is dropped, or filled with 0 if ``keep_empty_features``;
    one of categories, none of which is known, then stays as it is. Columns complete in ``fit`` may
    have holes later. A row entirely missing gets the Gaussian's mean, and the most frequent
    categories.

    A DataFrame is treated as an array if the dtypes of all its columns are numpy's numbers;
    integers that float64 cannot represent are then refused. DataFrames of other libraries, such as
    polars, come back as such unless all their columns are floats.

    Otherwise, the 50 most frequent categories of a column are distinguished and filled; a category
    that ``fit`` did not see is refused unless the column's dtype declares it. The order of an
    ordered category is not used. A column that does not come with the kind of dtype that it had in
    ``fit``, such as one of None alone, is given that of ``fit``.

    Columns are standardised, so that an inner autoencoder sees numbers of either sign: one whose
    loss or likelihood needs counts or chances is refused. Integers are rounded and bounded numbers
    clipped after the fact; categories are learned by their cross-entropy.

    A value is wild if its distance to the median of its column is more than 50 times that of all
    others, of which the largest and one more of every fifty are left out. It is kept, but treated
    as missing in all that is learned and when other cells of its row are filled.

    Each row of a step is solved for its own missing values, at a cost that grows as the cube of
    their number (a category counts as one): with hundreds of columns, lower ``max_iter``.

    References
    ----------
    Little, R. J. A. and Rubin, D. B. (2019). "Statistical analysis with missing data". Third
    edition, Wiley, chapter 11.

    Vincent, P., Larochelle, H., Lajoie, I., Bengio, Y. and Manzagol, P.-A. (2010). "Stacked
    denoising autoencoders". Journal of Machine Learning Research 11, 3371-3408.

    Weinberger, K. Q. and Tesauro, G. (2007). "Metric learning for kernel regression". Artificial
    Intelligence and Statistics, 612-619.

    Examples
    --------
    >>> import numpy as np
    >>> from skae import AutoencoderImputer
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> X[:, 2] = X[:, 0] * X[:, 1]
    >>> X[:50, 2] = np.nan
    >>> imputer = AutoencoderImputer(random_state=0).fit(X)
    >>> filled = imputer.transform([[1.5, 1.5, np.nan], [1.5, -1.5, np.nan]])[:, 2]
    >>> filled > 0
    array([ True, False])
    """

    estimator: Any = param(
        BaseAutoencoder,
        None,
        default=None,
        kw_only=False,
        doc="""
        An autoencoder to fill holes by its reconstruction instead: of the row with its holes, and
        then, five times, of the row as it was filled; a `VariationalAutoencoder` fills by its
        ``conditional_mean``. None is the one described above.""",
    )
    missing_values: Any = param(
        MissingValues(),
        default=np.nan,
        doc="What stands for a missing value; NaN, None and NA always do.",
    )
    add_indicator: bool = param(
        "boolean",
        default=False,
        doc="""
        Whether ``transform`` appends a column that tells the holes, for each column that had holes
        in ``fit``; of booleans, to a DataFrame.""",
    )
    keep_empty_features: bool = param(
        "boolean",
        default=False,
        doc="""
        Whether columns that have no value in ``fit`` are kept: filled with 0 if they are of
        numbers, else as they are.""",
    )
    clip: bool = param(
        "boolean",
        default=True,
        doc="""
        Whether filled values stay between the least and the largest of their column. Values that
        the other columns determine may leave that range, by its width at most.""",
    )
    max_iter: int | str = param(
        POSITIVE_INT,
        one_of("auto"),
        default="auto",
        doc="""
        Epochs of the network, where ``estimator`` is None. 'auto' is as many as make about 2,500
        steps of 128 rows, but at least 10 and at most 500.""",
    )
    random_state: Any = param(
        "random_state",
        default=None,
        doc="""
        Seed of the training; None leaves an autoencoder that is given the one it has.""",
    )

    _fitted_schema: ClassVar[dict[str, schema.Check]] = {
        "n_features_in_": schema.integer(1),
        "feature_names_in_": schema.optional(schema.names("n_features_in_")),
        "estimator_": schema.instance(BaseAutoencoder, None),
        "mean_": schema.array("f", "n_features_in_"),
        "scale_": schema.array("f", "n_features_in_"),
        "data_min_": schema.array("f", "n_features_in_"),
        "data_max_": schema.array("f", "n_features_in_"),
        "n_iter_": schema.integer(),
        "_indicated": schema.either(schema.instance(None), schema.array("i", None)),
        "_bounds": schema.array("f", 2, None),
        "_columns": schema.instance(Columns, None),
        "_neighbors": schema.instance(Neighbors, None),
        "_units": schema.array("f", 4, None),
        "_mean": schema.array("f", None, finite=True),
        "_covariance": schema.array("f", None, None, finite=True),
        "_quantiles": schema.array("f", None, len(LEVELS), finite=True),
    }

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        if "_units" not in state:
            return
        fitted = object.__new__(cls)
        fitted.__dict__ = dict(state)
        columns, estimator, neighbors = (state[f] for f in ("_columns", "estimator_", "_neighbors"))
        if columns is not None and not hasattr(columns, "group_start_"):
            raise ValueError("its columns are not fitted")
        n, unknown = state["n_features_in_"], np.isnan(state["_units"])
        group = np.arange(n) if columns is None else columns.group_start_
        if len(fitted._first) != n or len(group) != unknown.shape[1]:
            raise ValueError("its columns are not as many as its features")
        if (unknown != unknown[0, group]).any() or not (state["_units"][1, ~unknown[1]] > 0).all():
            raise ValueError("its means and scales do not belong together")
        group_start = fitted._group_start
        d = len(group_start)
        if not (
            state["_mean"].dtype == state["_covariance"].dtype == np.float64
            and state["_mean"].shape == (d,) == state["_quantiles"].shape[:1]
            and state["_covariance"].shape == (d, d)
            and (estimator is None or getattr(estimator, "mean_", np.empty(0)).shape == (d,))
            and (
                neighbors is None
                or np.array_equal(vars(neighbors).get("group_start_"), group_start)
            )
            and np.isin(fitted._indicated_columns, np.arange(n)).all()
            and state["_bounds"].shape[1] == state["_units"].shape[1]
        ):
            raise ValueError("its parts are not of the shape of its columns")
        try:
            np.linalg.cholesky(state["_covariance"])
        except np.linalg.LinAlgError:
            raise ValueError("its covariance is that of no Gaussian") from None

    # -------------------------------------------------------------------------------- fitting

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn to fill the holes of rows like these.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Training rows, complete or not. Columns of a DataFrame may be numbers, booleans,
            categories or text.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows; a row of weight 0 is as good as absent. None is 1 for all.

        Returns
        -------
        self : object
            The fitted imputer.

        Raises
        ------
        ValueError
            If X holds infinity, or is an array with text or with integers that float64 cannot
            represent.
        TypeError
            If a column of a DataFrame holds anything else, such as times or lists.

        Warns
        -----
        AutoencoderWarning
            If columns without any observed value are dropped; if the training of the autoencoder
            diverged, so that it stays at its start.
        """
        data = {"X": X, "y": y}
        with unchanged_on_error(self, but=CALLBACK_STATE):
            self._columns = None
            X = as_table(X)
            if is_mixed(X) and (n_rows := len(cast(Any, X))):
                weight = rescale_weights(check_sample_weight(sample_weight, n_rows))
                X, weight = cast(Any, X)[counts(weight)], weight[counts(weight)]
                self._columns = Columns().fit(cast(Any, X), weight, self.missing_values)
                sample_weight = weight
            rows, holes = self._read(X, reset=True)
            weight = rescale_weights(check_sample_weight(sample_weight, len(rows)))
            rows, holes, weight = (a[counts(weight)] for a in (rows, holes, weight))
            self._bounds = plausible(rows, holes)
            known = ~holes & self._within(rows)
            self._describe(rows, known, weight)
            self._warn_of_dropped()
            missing = np.flatnonzero(holes[:, self._first].any(axis=0))
            self._indicated = missing if self.add_indicator else None
            some = known.any(axis=1)
            table = DataSource(self._standardized(rows[some], holes[some]))
            weight = rescale_weights(weight[some]) if some.any() else weight[some]
            n_steps = self._n_steps(table)
            with self._steps(n_steps, **data):
                if n_steps:
                    self._learn(table, weight)
        return self

    def _warn_of_dropped(self) -> None:
        """Warn of columns that `transform` will drop, as scikit-learn's imputers do."""
        dropped = ~self._kept[self._first]
        if dropped.any() and not self.keep_empty_features:
            names = _check_feature_names_in(self, generate_names=False)
            which = [column_name(j, names) for j in np.flatnonzero(dropped).tolist()]
            warnings.warn(
                f"Columns without any observed value are dropped: {', '.join(which)}. Set "
                "keep_empty_features=True to keep them.",
                AutoencoderWarning,
                stacklevel=4,
            )

    def _describe(self, X: NDArray, known: NDArray, weight: NDArray) -> None:
        """Learn the range, mean and standard deviation of each column."""
        self._units = np.full((4, X.shape[1]), np.nan)
        means, scales, lows, highs = self._units
        for j in np.flatnonzero(known.any(axis=0)):
            x, w = X[known[:, j], j].astype(np.float64), weight[known[:, j]]
            lows[j], highs[j] = x.min(), x.max()
            # About one of them, and in units of their range, against cancellation and overflow.
            spread = x.max() / 2 - x.min() / 2
            away = (x / 2 - x[0] / 2) / (spread or 1.0)
            mean = np.average(away, weights=w)
            std = np.sqrt(np.average((away - mean) ** 2, weights=w))
            means[j] = 2 * np.clip(x[0] / 2 + spread * mean, x.min() / 2, x.max() / 2)
            scales[j] = 2 * (spread * std) or 1.0
        per_column = self._units
        if self._columns is not None:
            labels = self._columns.labels
            per_column = np.where(labels, np.nan, self._units)
            # The mean of 0 and 1 is a chance, and stays one.
            self._units[:2, labels & self._kept] = [[0.0], [1.0]]
        self.mean_, self.scale_, self.data_min_, self.data_max_ = per_column[:, self._first]

    def _n_steps(self, rows: DataSource) -> int:
        """Set what is filled by without learning, and return the number of steps to take."""
        d = rows.shape[1]
        self.n_iter_ = 1
        self.estimator_: Any = None
        self._mean, self._covariance = np.zeros(d), np.eye(d)
        self._quantiles = np.zeros((d, len(LEVELS)))
        self._neighbors: Neighbors | None = None
        if not d or not len(rows):
            return 0
        if not self._is_enough(rows):
            return 2
        return 4 if self.estimator is None else 3

    def _is_enough(self, rows: DataSource) -> bool:
        """Whether there is enough for a network to learn from."""
        low, high = self._units[2:, self._kept]
        varies = np.unique(self._group_start[low < high])
        return len(varies) >= 2 and len(rows) >= ENOUGH_ROWS

    def _learn(self, rows: DataSource, weight: NDArray) -> None:
        """Fit the Gaussian and the autoencoder to standardised rows."""
        random_state = random_state_of(self.random_state)
        enough = self._is_enough(rows)
        kept = held_out = np.arange(len(rows))
        if enough:
            order = random_state.permutation(len(rows))
            n_held_out = budget.n_held_out(len(rows), 0.1)
            held_out, kept = np.sort(order[:n_held_out]), np.sort(order[n_held_out:])
        seed = random_state.randint(np.iinfo(np.int32).max)
        with self._step("Gaussian", n_tasks=None) as tick:
            gaussian = self._fit_gaussian(rows.X, weight, kept, held_out, random_state, tick)
        self._mean, self._covariance = gaussian.mean.numpy(), gaussian.covariance.numpy()
        if enough:
            if self.estimator is None:
                filler = ImputationNetwork(
                    max_iter=self.max_iter, random_state=seed, early_stopping=False
                )
                with self._step("network", filler):
                    filler.fit_from(gaussian, rows.X, weight, held_out, self._group_start)
                self.estimator_ = filler
            else:
                model = clone(self.estimator)
                if self.random_state is not None:
                    model.set_params(random_state=seed)
                with self._step("autoencoder", model):
                    self.estimator_ = model._fit_or_start(rows.X[kept], sample_weight=weight[kept])
            self.n_iter_ = self.estimator_.n_iter_
            if isinstance(self.estimator_, ImputationNetwork):
                self._compare(rows.X, weight, kept, held_out, random_state)
        with self._step("errors"):
            self._quantiles = errors(
                self._fill, gaussian, rows.X[held_out], self._group_start, random_state
            )
        if self._neighbors is not None:
            # What was held out may predict others now.
            self._neighbors.keep(self._fill(rows.X), ~np.isnan(rows.X), weight)

    @staticmethod
    def _fit_gaussian(
        Z: NDArray,
        weight: NDArray,
        kept: NDArray,
        held_out: NDArray,
        random_state: np.random.RandomState,
        tick: Callable[[str], None],
    ) -> Gaussian:
        """Fit the Gaussian to the rows kept, shrunk as is best for those held out.

        Too few to hold any out are split in folds.
        """
        kept = subsample_evenly(kept, int(np.clip(MAX_CELLS // Z.shape[1], *MAX_ROWS)))
        folds = [(kept, subsample_evenly(held_out, MAX_JUDGES))]
        if len(held_out) == len(Z):
            fold = random_state.permutation(len(Z)) % FOLDS
            folds = [(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(FOLDS)]
        generator = torch.Generator().manual_seed(random_state.randint(np.iinfo(np.int32).max))
        return fit_shrunk(
            *tensors(Z),
            torch.from_numpy(weight),
            [(torch.from_numpy(a), torch.from_numpy(b)) for a, b in folds if len(a) and len(b)],
            generator,
            tick,
        )

    def _compare(
        self,
        Z: NDArray,
        weight: NDArray,
        kept: NDArray,
        held_out: NDArray,
        random_state: np.random.RandomState,
    ) -> None:
        """Learn which rows are nearest, and how far to go toward them."""
        rows, variance, known = self._fill(Z[kept]), self._variance(Z[kept]), ~np.isnan(Z[kept])
        neighbors = Neighbors()
        with self._step("nearest rows", n_tasks=None) as tick:
            group_start = self._group_start
            neighbors.fit(rows, known, weight[kept], variance, group_start, random_state, tick)
            neighbors.compare(self._fill, self._variance, Z[held_out], random_state)
        self._neighbors = neighbors

    # -------------------------------------------------------------------------------- filling

    def transform(self, X: ArrayLike) -> Any:
        """Fill holes.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows, complete or not.

        Returns
        -------
        X_filled : {ndarray, DataFrame} of shape (n_samples, n_features_out)
            The rows in their dtypes, observed cells as they were; without columns that had no
            value in ``fit``, and with those of the indicator.

        Raises
        ------
        ValueError
            If X holds infinity or a category that ``fit`` did not see, or has other columns.
        TypeError
            If a column holds anything but numbers where it held numbers in ``fit``.
        """
        check_is_fitted(self)
        frame = as_table(X)
        given, (X, holes) = X, self._read(frame, reset=False)
        Z = self._standardized(X, holes)
        filled = self._completed(X, holes, self._fill(Z), self._limits(Z))
        indicators = holes[:, self._first[self._indicated_columns]]
        if self._columns is None:
            return np.hstack([filled, indicators.astype(X.dtype)])
        result = self._framed(frame, holes, filled)
        names = self.get_feature_names_out()[result.shape[1] :]
        indicators = pd.DataFrame(indicators, columns=names, index=frame.index)
        result = pd.concat([result, indicators], axis=1) if len(names) else result
        wants_pandas = _get_output_config("transform", self)["dense"] == "pandas"
        return result if wants_pandas else in_library_of(given, result)

    def sample(self, X: ArrayLike, n_imputations: int = 5, random_state: Any = None) -> Any:
        """Draw completed tables: what the holes may hold, given what is observed.

        A drawn value is the filled one and an error. Errors have the distribution that they had,
        relative to the Gaussian's conditional standard deviation, for cells hidden from rows that
        were not trained on, and those of one row belong together as the Gaussian says. A category
        is drawn by the chances that it was filled by. A `VariationalAutoencoder` draws by its
        ``conditional_sample`` instead.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows, complete or not.
        n_imputations : int, default=5
            How many tables.
        random_state : int, RandomState instance or None, default=None
            Seed of the draws.

        Returns
        -------
        X_drawn : ndarray of shape (n_imputations, n_samples, n_columns), or list of DataFrame
            The tables, observed cells as they are; columns as from ``transform``, but without
            indicators.

        Raises
        ------
        ValueError
            If ``n_imputations`` is not a positive integer.
        """
        check_is_fitted(self)
        check_count(n_imputations, "n_imputations")
        frame = as_table(X)
        given, (X, holes) = X, self._read(frame, reset=False)
        rng = random_state_of(random_state)
        Z = self._standardized(X, holes)
        draws, limits = self._draws(Z, n_imputations, rng), self._limits(Z)
        tables = [self._completed(X, holes, table, limits) for table in draws]
        if self._columns is None:
            return np.array(tables)
        return [in_library_of(given, self._framed(frame, holes, table)) for table in tables]

    def _draws(self, Z: NDArray, n: int, rng: np.random.RandomState) -> Iterator[NDArray]:
        """Yield standardised rows with draws in their holes."""
        if not isinstance(self.estimator_, VariationalAutoencoder):
            filled, fixed = self._fill(Z), (self._quantiles, self._group_start, rng)
            yield from (draw(self._gaussian, Z, filled, *fixed) for _ in range(n))
            return
        for table in self.estimator_.conditional_sample(Z, n, rng, noise=False):
            means, noise = self._likely(table), np.sqrt(self.estimator_.noise_variance_)
            drawn = means + noise * rng.normal(size=Z.shape)
            yield np.where(np.isnan(Z), picked(means, drawn, self._group_start, rng), Z)

    def _completed(
        self, X: NDArray, holes: NDArray, filled: NDArray, limits: tuple[NDArray, NDArray]
    ) -> NDArray:
        """Return rows with values for their holes that are standardised, of columns kept."""
        kept, values = self._kept, self._in_units(filled, limits)
        with np.errstate(over="ignore"):  # beyond the precision of X is the largest it has
            info = np.finfo(X.dtype)
            values = np.clip(values, info.min, info.max).astype(X.dtype)
        if not self.keep_empty_features:
            return np.where(holes[:, kept], values, X[:, kept])
        completed = np.where(holes, np.zeros_like(X), X)
        completed[:, kept] = np.where(holes[:, kept], values, X[:, kept])
        return completed

    def _limits(self, Z: NDArray) -> tuple[NDArray, NDArray]:
        """Return between what filled values of the columns kept have to stay, (n, d) each.

        A value that the others of its row determine may leave the range of its column, by as much
        as the range at most; that shrinks to nothing as half of the interval that holds 90 % of the
        errors comes to `DETERMINED`.
        """
        low, high = self._units[2:, self._kept]
        if not self.clip:
            return np.full(Z.shape, -np.inf), np.full(Z.shape, np.inf)
        ends = np.array([np.interp((0.05, 0.95), LEVELS, q) for q in self._quantiles])
        error = conditional_std(self._gaussian, Z) * np.diff(ends.reshape(-1, 2)).T / 2
        beyond = np.maximum(1 - error / DETERMINED, 0)
        with np.errstate(over="ignore"):
            beyond = beyond * high - beyond * low
            return low - beyond, high + beyond

    def _in_units(self, filled: NDArray, limits: tuple[NDArray, NDArray]) -> NDArray:
        """Return what standardised values of the columns kept stand for: in range, and whole."""
        kept = self._kept
        mean, scale = self._units[:2, kept]
        with np.errstate(over="ignore"):
            values = np.clip(filled * scale + mean, *limits)
        if self._columns is not None:
            values = np.where(self._columns.whole[kept], np.rint(values), values)
        return values

    def _framed(self, frame: pd.DataFrame, holes: NDArray, completed: NDArray) -> pd.DataFrame:
        """Return a DataFrame with the values of its completed array in its holes."""
        columns, kept = cast(Columns, self._columns), self._kept
        if self.keep_empty_features:
            return columns.decode(frame, completed, holes, np.ones(len(self._first), dtype=bool))
        values = np.zeros(holes.shape)
        values[:, kept] = completed
        return columns.decode(frame, values, holes, kept[self._first])

    def _fill(self, Z: NDArray) -> NDArray:
        """Return standardised rows with their holes filled."""
        filled = Z.copy()
        with_holes = np.flatnonzero(np.isnan(Z).any(axis=1))
        if not len(with_holes):
            return filled
        rows = Z[with_holes]
        if self.estimator_ is None:
            answer = self._gaussian.fill(*tensors(rows)).numpy()
        elif isinstance(self.estimator_, VariationalAutoencoder):
            answer = self.estimator_.conditional_mean(rows)
        else:
            answer = self.estimator_.reconstruct(rows)
            if self._neighbors is not None:
                answer = np.where(np.isnan(rows), answer, rows)
                answer = self._neighbors.fill(answer, np.isnan(rows), self._variance(rows))
            elif not isinstance(self.estimator_, ImputationNetwork):
                for _ in range(ROUNDS):
                    answer = self.estimator_.reconstruct(np.where(np.isnan(rows), answer, rows))
        if not isinstance(self.estimator_, ImputationNetwork):
            answer = self._likely(answer)
        filled[with_holes] = np.where(np.isnan(rows), answer, rows)
        return filled

    def _likely(self, answer: NDArray) -> NDArray:
        """Return filled rows with chances for categories."""
        if self._columns is None:
            return answer
        shares = np.maximum(self._mean, np.finfo(np.float64).tiny)
        given = (
            torch.from_numpy(a) for a in (answer.astype(np.float64), shares, self._group_start)
        )
        return np.where(self._columns.labels[self._kept], probabilities(*given).numpy(), answer)

    def _within(self, X: NDArray) -> NDArray:
        """Return which cells are within the bounds of their column, (n, d)."""
        low, high = self._bounds
        return (low <= X) & (high >= X)

    def _variance(self, Z: NDArray) -> NDArray:
        return conditional_std(self._gaussian, Z) ** 2

    def _standardized(self, X: NDArray, holes: NDArray) -> NDArray:
        """Return the columns kept, standardised up to `FAR`, in float64, NaN for holes.

        So are values that are so far out that they would ruin what is filled beside them.
        """
        kept = self._kept
        unknown = holes[:, kept] | ~self._within(X)[:, kept]
        Z = np.where(unknown, np.nan, X[:, kept].astype(np.float64))
        mean, scale = self._units[:2, kept]
        with np.errstate(over="ignore"):
            return np.clip((Z - mean) / scale, -FAR, FAR)

    def _read(self, X: ArrayLike, *, reset: bool) -> tuple[NDArray, NDArray]:
        """Return validated rows, as numbers, and which cells are missing."""
        X = as_table(X)
        if self._columns is not None:
            if not isinstance(X, pd.DataFrame):
                raise TypeError(
                    f"{type(self).__name__} was fitted to a DataFrame of mixed columns, but got "
                    f"{type(X).__name__}; pass a DataFrame with the same columns."
                )
            check_names(X)
            validate_data(self, X, reset=reset, skip_check_array=True)
            encoded = self._columns.encode(X, self.missing_values)
            rows = check_array(encoded, ensure_all_finite="allow-nan", input_name="X")
            return rows, np.isnan(rows)
        check_restorable(X, self.missing_values)
        rows = read_source(self, X, reset=reset, sparse_too=False)[:]
        holes = np.isnan(rows)
        if not pd.isna(self.missing_values):
            holes |= rows == self.missing_values
        return rows, holes

    @property
    def _kept(self) -> NDArray:
        return ~np.isnan(self._units[0])

    @property
    def _first(self) -> NDArray:
        """Where each column of X starts in what is learned from."""
        return np.arange(self._units.shape[1]) if self._columns is None else self._columns.first_

    @property
    def _group_start(self) -> NDArray:
        """For each column that is learned from, the first one that tells of the same one of X."""
        kept = self._kept
        group_start = np.arange(len(kept)) if self._columns is None else self._columns.group_start_
        return (np.cumsum(kept) - 1)[group_start[kept]]

    @property
    def _gaussian(self) -> Gaussian:
        return Gaussian.of(torch.tensor(self._mean), torch.tensor(self._covariance))

    # ------------------------------------------------------------------------- bookkeeping

    @property
    def _indicated_columns(self) -> NDArray:
        return np.empty(0, dtype=int) if self._indicated is None else self._indicated

    @property
    def indicator_(self) -> MissingIndicator | None:
        """The indicator of the columns that had missing values in ``fit``, if it is added."""
        if self._indicated is None:
            return None
        row = np.zeros((1, self.n_features_in_))
        sentinel = self.missing_values
        if self._columns is not None or not isinstance(sentinel, Real):
            sentinel = np.nan
        row[0] = np.where(np.isin(np.arange(row.size), self._indicated), sentinel, sentinel == 0)
        names = getattr(self, "feature_names_in_", None)
        table = row if names is None else pd.DataFrame(row, columns=names)
        return MissingIndicator(missing_values=sentinel, error_on_new=False).fit(table)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray:
        """Return the names of the columns of ``transform``.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns; None is those of ``fit``.

        Returns
        -------
        names : ndarray of str
            The names of those that are kept, and ``missingindicator_`` names.
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        kept = names if self.keep_empty_features else names[self._kept[self._first]]
        indicators = [f"missingindicator_{name}" for name in names[self._indicated_columns]]
        return np.concatenate([kept, np.array(indicators, dtype=object)])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def counts(weight: NDArray) -> NDArray:
    """Return which rows have a weight at all, relative to the largest."""
    return weight > np.finfo(np.float32).tiny

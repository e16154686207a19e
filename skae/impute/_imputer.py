"""The imputer, composed of an encoder, a scaler, a completion and residual quantiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from skae import _schema as schema
from skae._composite import Composite
from skae._numeric_input import as_table
from skae._sklearn import _check_feature_names_in, _fit_context, _get_output_config
from skae._sklearn_types import BaseEstimator, TransformerMixin, with_callbacks
from skae._validation import (
    check_count,
    column_name,
    random_state_of,
    rescale_weights,
    unchanged_on_error,
)
from skae._warnings import warn
from skae.base import CALLBACK_STATE, BaseAutoencoder
from skae.hyperparameters import hyperparameters
from skae.impute._budget import ImputationBudget
from skae.impute._column_scaler import ColumnScaler
from skae.impute._completion import Completion
from skae.impute._evaluation import OverImputeMixin
from skae.impute._learning import TrainingRows, learn
from skae.impute._output_features import OutputFeaturesMixin
from skae.impute._parameters import ImputerParameters
from skae.impute._residuals import ResidualQuantiles
from skae.tables import EncodedTable, MixedTable, NumericTable, encoding_of


@schema.persistent
@hyperparameters
class AutoencoderImputer(
    ImputerParameters,
    Composite,
    OverImputeMixin,
    OutputFeaturesMixin,
    TransformerMixin,
    BaseEstimator,
):
    r"""Imputation of missing values by an autoencoder that learns to predict masked values.

    With columns centred and divided by their standard deviation, a missing value is estimated by

    .. math:: \hat x_h = E[x_h | x_o] + r_h(x_o, o), \qquad
              E[x_h | x_o] = \mu_h + \Sigma_{ho} \Sigma_{oo}^{-1} (x_o - \mu_o),

    the conditional mean of a Gaussian given the observed values o of the row, plus the output of a
    network. The Gaussian is fitted to the incomplete rows by EM, with a ridge that is chosen by
    the error of masked values in validation rows. The input of the network is this mean, the mask
    and the position of each observed value among the quantiles of its column. The network learns
    to predict values that training masks at random, 5 to 60 % of the observed values of each row.
    It starts at zero, and if it does not improve on the validation rows, the Gaussian remains.

    The estimate is then shrunk towards a weighted mean of the nearest training rows,
    :math:`s_j`, with weights that are a power of the distance to the filled row:

    .. math:: \hat x_j + \frac{v_j}{v_j + \tau_j} (s_j - \hat x_j), \qquad
              s_j \propto \sum_i w_i \Bigl(\epsilon_j + \sum_{c \ne j} m_{jc} (\hat x_c -
              x_{ic})^2\Bigr)^{-\nu_j} x_{ij},

    where the metric m, the power and the offset are learned for each column by predicting known
    values of other rows (in at most 32 other columns, the most correlated ones), v is the
    Gaussian's conditional variance, and :math:`\tau` is chosen by the error of masked values in
    validation rows. Values that are determined by others are therefore left unchanged.

    Values may be missing because of what they are (missing not at random): the odds of a missing
    value may be :math:`\exp(a_j + b_j x_j)`. The slope b is learned from which values are missing
    and from the Gaussian's estimates e of all values, and missing values are then estimated by

    .. math:: \hat x_j + b_j s_j^2, \qquad
              \operatorname{logit} P(\text{missing} | x_o) = a'_j + b_j e_j,

    with :math:`s_j^2` the variance of the error. The slope is 0 in columns where a constant
    probability, or one that depends on other columns, explains better which values are missing.

    Rows that were not in the training data are completed by the same functions. Observed values
    are returned unchanged.

    A DataFrame may also have columns of integers, booleans, categories and text, with NaN, None or
    NA as missing values. It is returned as a DataFrame with the same dtypes, columns and index.
    Missing integers are imputed by integers, and missing categories, including booleans and text,
    by the most probable one: they are encoded by a column of 0 and 1 for each category, and
    training minimises twice the cross-entropy.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    estimator_ : autoencoder or None
        The autoencoder fitted to the standardised columns; None if there are fewer than 32 rows or
        two columns that vary, so that the Gaussian is used alone.
    mean_, scale_ : ndarray of shape (`n_features_in_`,)
        Means and standard deviations of the observed values of each column, NaN for a column
        without any and for categories; the scale of a constant column is 1.
    data_min_, data_max_ : ndarray of shape (`n_features_in_`,)
        Smallest and largest plausible observed value of each column (see Notes), NaN where the
        mean is.
    n_iter_ : int
        Number of epochs of the autoencoder, 1 if there is none. An epoch of the default network
        has several copies of each row, with different masks.
    indicator_features_ : ndarray of int, or None
        Indices of the columns that had missing values in ``fit``; None without
        ``add_indicator``.
    indicator_ : MissingIndicator or None
        The indicator of these columns; None without ``add_indicator``.
    n_features_in_ : int
        Number of columns of the training data.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if they were all strings.

    See Also
    --------
    sklearn.impute.IterativeImputer : Imputation by a regression model for each column.
    skae.make_missing : Remove values by known mechanisms, for evaluation.

    Notes
    -----
    A column without any value in ``fit`` is dropped, or imputed by 0 if ``keep_empty_features``;
    a column of categories then stays missing. Columns that were complete in ``fit`` may have
    missing values later. A row without any observed value gets the mean of the Gaussian and the
    most frequent categories.

    A DataFrame is treated as an array if the dtypes of all its columns are numpy's numbers;
    integers that float64 cannot represent are then refused. DataFrames of other libraries, such as
    polars, are returned as such unless all their columns are floats.

    Otherwise, the 50 most frequent categories of a column are encoded and imputed; a category that
    was not in the training data is refused unless the column's dtype declares it. The order of
    ordered categories is not used. A column whose kind of dtype differs from that in ``fit``, such
    as one that holds only None, is converted to the dtype of ``fit``.

    Columns are standardised, so that the inner autoencoder is given numbers of either sign; one
    whose loss or likelihood requires counts or probabilities is refused. Imputed integers are
    rounded and bounded numbers clipped.

    A value is implausible if its distance to the median of its column is more than 50 times that
    of all others, excluding the largest and one more of every fifty. It is returned unchanged, but
    treated as missing in ``fit`` and when other values of its row are imputed.

    A table alone cannot show whether values are missing at random: a column's missing values are
    assumed to depend on themselves if that explains them best (Bayesian information criterion).

    The parts are learned from bounded numbers of values (two million in masked rows, a quarter of
    a million for the Gaussian, 131,072 in the stored rows).

    References
    ----------
    Little, R. J. A. and Rubin, D. B. (2019). "Statistical analysis with missing data". Third
    edition, Wiley, chapter 11.

    Vincent, P., Larochelle, H., Lajoie, I., Bengio, Y. and Manzagol, P.-A. (2010). "Stacked
    denoising autoencoders". Journal of Machine Learning Research 11, 3371-3408.

    Kim, J. K. and Yu, C. L. (2011). "A semiparametric estimation of mean functionals with
    nonignorable missing data". Journal of the American Statistical Association 106, 157-165.

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

    _budget: ClassVar[ImputationBudget] = ImputationBudget()

    _fitted_schema: ClassVar[dict[str, schema.Check]] = {
        "n_features_in_": schema.integer(1),
        "feature_names_in_": schema.optional(schema.names("n_features_in_")),
        "mean_": schema.array("f", "n_features_in_"),
        "scale_": schema.array("f", "n_features_in_"),
        "data_min_": schema.array("f", "n_features_in_"),
        "data_max_": schema.array("f", "n_features_in_"),
        "n_iter_": schema.integer(),
        "indicator_features_": schema.either(schema.instance(None), schema.array("i", None)),
        "_table": schema.instance(NumericTable, MixedTable),
        "_scaler": schema.instance(ColumnScaler),
        "_completion": schema.instance(Completion),
        "_residuals": schema.instance(ResidualQuantiles),
    }

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        if "_scaler" not in state:
            return
        table, scaler = state["_table"], state["_scaler"]
        if not (
            hasattr(scaler, "mean_") and (hasattr(table, "n_columns_") or hasattr(table, "kinds_"))
        ):
            raise ValueError("its columns are not fitted")
        groups, n, kept = table.groups, state["n_features_in_"], scaler.kept
        if len(groups.starts) != n or len(groups.group_start) != len(kept):
            raise ValueError("its columns are not as many as its features")
        if (kept != kept[groups.group_start]).any():
            raise ValueError("its means and scales do not belong together")
        group_start = groups.select(kept).group_start
        indices = state["indicator_features_"]
        if not (
            np.array_equal(state["_completion"].groups.group_start, group_start)
            and len(state["_residuals"].quantiles) == len(group_start)
            and (indices is None or np.isin(indices, np.arange(n)).all())
        ):
            raise ValueError("its parts are not of the shape of its columns")

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn to impute missing values.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Input samples. NaN marks a missing value. Columns of a DataFrame may be numbers,
            booleans, categories or text.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Per-sample weights. Samples with weight 0 are ignored. If None, all samples are
            weighted equally.

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
        return self._fit_within(self._budget, X, y, sample_weight)

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=False)
    def _fit_one_of_several(
        self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Fit as `fit` does, in less time, where the draws of several imputers are pooled."""
        return self._fit_within(self._budget.one_of_several(), X, y, sample_weight)

    def _fit_within(
        self, budget: ImputationBudget, X: ArrayLike, y: None, sample_weight: ArrayLike | None
    ) -> Self:
        with unchanged_on_error(self, but=CALLBACK_STATE):
            self._table = encoding_of(as_table(X), self.missing_values)
            table, weight = self._table.fit(X, self, sample_weight)
            self._describe(table, weight)
            known = self._scaler.known(table.X, table.missing).any(axis=1)
            rows = TrainingRows(
                Z=self._scaler.transform(table.X[known], table.missing[known]),
                weight=rescale_weights(weight[known]) if known.any() else weight[known],
                groups=self._groups,
                varies=self._scaler.varies,
            )
            budget = budget.limited(self.max_iter)
            with self._steps(rows.n_steps(self.estimator, budget), X=X, y=y):
                self._completion, self._residuals = learn(self, rows, self._step, budget)
            self.n_iter_ = 1 if self.estimator_ is None else self.estimator_.n_iter_
        return self

    def _describe(self, table: EncodedTable, weight: NDArray) -> None:
        """Set the statistics of the columns, and warn of those that `transform` will drop."""
        is_category, first = self._table.is_category, self._table.groups.starts
        scaler = ColumnScaler().fit(table.X, table.missing, weight, is_category)
        self._scaler = scaler
        statistics = np.array([scaler.mean_, scaler.scale_, scaler.data_min_, scaler.data_max_])
        of_numbers = np.where(is_category, np.nan, statistics)[:, first]
        self.mean_, self.scale_, self.data_min_, self.data_max_ = of_numbers
        missing = np.flatnonzero(table.missing[:, first].any(axis=0))
        self.indicator_features_ = missing if self.add_indicator else None
        if (dropped := ~self._kept_columns).any():
            names = _check_feature_names_in(self, generate_names=False)
            which = [column_name(j, names) for j in np.flatnonzero(dropped).tolist()]
            warn(
                f"Columns without any observed value are dropped: {', '.join(which)}. Set "
                "keep_empty_features=True to keep them."
            )

    def transform(self, X: ArrayLike) -> Any:
        """Impute missing values.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.

        Returns
        -------
        X_filled : {ndarray, DataFrame} of shape (n_samples, n_features_out)
            The completed samples in their dtypes, with observed values unchanged; without columns
            that had no value in ``fit``, and with those of the indicator.

        Raises
        ------
        ValueError
            If X holds infinity or a category that was not in the training data, or has other
            columns.
        TypeError
            If a column that held numbers in ``fit`` holds anything else.
        """
        check_is_fitted(self)
        table = self._table.encode(X, self)
        Z = self._scaler.transform(table.X, table.missing)
        filled = self._decoded(table, self._completion.complete(Z), self._limits(Z))
        indices = self._indicator_indices
        indicators = table.missing[:, self._table.groups.starts[indices]]
        names = self.get_feature_names_out()[filled.shape[1] :]
        result = self._table.append(filled, indicators, names)
        wants_pandas = _get_output_config("transform", self)["dense"] == "pandas"
        return result if wants_pandas else self._table.in_library_of(X, result)

    def sample(self, X: ArrayLike, n_imputations: int = 5, random_state: Any = None) -> Any:
        """Draw completed tables from the distribution of the missing values.

        A drawn value is the imputed one plus an error. Errors have the distribution, relative to
        the Gaussian's conditional standard deviation, of those of masked values in validation
        rows, and the errors of a row are dependent as in the Gaussian. A category is drawn by its
        probability. A `VariationalAutoencoder` draws by its ``conditional_sample`` instead.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.
        n_imputations : int, default=5
            Number of tables.
        random_state : int, RandomState instance or None, default=None
            Seed of the draws.

        Returns
        -------
        X_drawn : ndarray of shape (n_imputations, n_samples, n_columns), or list of DataFrame
            The tables, with observed values unchanged; columns as from ``transform``, but without
            indicators.

        Raises
        ------
        ValueError
            If ``n_imputations`` is not a positive integer.
        """
        check_is_fitted(self)
        check_count(n_imputations, "n_imputations")
        table = self._table.encode(X, self)
        Z = self._scaler.transform(table.X, table.missing)
        rng, limits = random_state_of(random_state), self._limits(Z)
        draws = self._completion.draw(Z, n_imputations, self._residuals, rng)
        return self._table.combine(X, [self._decoded(table, drawn, limits) for drawn in draws])

    def _decoded(
        self, table: EncodedTable, filled: NDArray, limits: tuple[NDArray, NDArray]
    ) -> Any:
        """Return the output for completed, standardised columns."""
        values = np.zeros(table.X.shape, dtype=table.X.dtype)
        info = np.finfo(values.dtype)
        with np.errstate(over="ignore"):  # the largest number of the dtype replaces larger ones
            values[:, self._scaler.kept] = np.clip(
                self._in_units(filled, limits), info.min, info.max
            ).astype(values.dtype)
        return self._table.decode(table, values, self._kept_columns)

    @property
    def estimator_(self) -> BaseAutoencoder | None:
        """The fitted autoencoder, if there was enough to learn from."""
        if "_completion" not in vars(self):
            raise AttributeError(f"This {type(self).__name__} is not fitted yet.")
        return self._completion.model

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

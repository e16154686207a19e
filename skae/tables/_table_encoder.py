"""The transformer between tables of mixed columns and arrays of floats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from skae import _schema as schema
from skae._dataframes import LIBRARIES, in_library, library_of
from skae._numeric_input import as_numeric, as_table
from skae._sklearn import MissingValues, _check_feature_names_in, _fit_context
from skae._sklearn_types import BaseEstimator, TransformerMixin
from skae._validation import check_array, check_finite_result, unchanged_on_error
from skae.data import FLOATS
from skae.hyperparameters import POSITIVE_INT, hyperparameters, param
from skae.tables._column_groups import ColumnGroups
from skae.tables._mixed_table import HANDLE_UNKNOWN, MAX_CATEGORIES, MixedTable
from skae.tables._numeric_table import EncodedTable, NumericTable
from skae.tables._statistics import mean_and_std

# With a variance of 1 instead, rare categories would be far from all others: nearest neighbors then
# predict the other columns worse, and find fewer rows whose cells were exchanged.
INDICATOR_SCALE = np.sqrt(2)


@schema.persistent
@hyperparameters
class TableEncoder(TransformerMixin, BaseEstimator):
    r"""Encode a DataFrame of mixed columns as an array of numbers, and decode it.

    A column of numbers is standardised. A column v of booleans, text or categories is encoded by
    an indicator column per category c, 1 in the rows of the category and 0 elsewhere, from which
    its mean is subtracted:

    .. math:: z_v = \frac{x_v - \mu_v}{\sigma_v} \text{ for numbers, and} \qquad
              z_{vc} = \frac{[x_v = c] - p_{vc}}{\sqrt 2} \text{ for categories,}

    with :math:`\mu_v` and :math:`\sigma_v` the mean and the standard deviation of a number, and
    :math:`p_{vc}` the share of a category. Two rows of different categories are at distance 1 in
    these columns, as if two numbers differed by one standard deviation, however many and however
    frequent the categories are. A missing value is NaN in all columns that encode it, which
    autoencoders accept.

    Any autoencoder, or another estimator of arrays, follows in a pipeline, whose
    ``inverse_transform`` returns DataFrames.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    mean_ : ndarray of shape (n_features_out,)
        What is subtracted from each encoded column: a mean, or the share of a category. NaN for
        a column without any observed value in ``fit``.
    scale_ : ndarray of shape (n_features_out,)
        What each encoded column is divided by: a standard deviation, 1 if the number is
        constant, or the root of 2 for an indicator. NaN where the mean is.
    n_features_in_ : int
        Number of columns of the training data.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if they were all strings.

    See Also
    --------
    sklearn.preprocessing.OneHotEncoder : Indicator columns without a scale.
    AutoencoderImputer : Imputes the missing values of such tables.
    AutoencoderOutlierDetector : Encodes such tables itself.

    Notes
    -----
    The dtypes of a DataFrame decide: floats and integers, nullable ones too, are numbers;
    booleans, text and categories are categories. Columns of dtype object are what their values
    are. Integers that are labels, such as postal codes, are numbers unless they are text or of
    category dtype. The order of a category dtype is not used, but kept by ``inverse_transform``.

    Categories that are not among the ``max_categories`` most frequent ones of their column, or
    that only the dtype declares, have no indicator column: those of the others are 0.
    ``inverse_transform`` returns the encoded category with the largest value.

    A column without any observed value in ``fit`` is NaN in every row. Arrays are standardised
    and returned as arrays.

    Examples
    --------
    >>> import pandas as pd
    >>> from skae import TableEncoder
    >>> table = pd.DataFrame({"height": [1.6, 1.8, None, 1.7], "eyes": ["blue", "brown"] * 2})
    >>> encoder = TableEncoder().fit(table)
    >>> encoder.transform(table).round(2)
    array([[-1.22,  0.35, -0.35],
           [ 1.22, -0.35,  0.35],
           [  nan,  0.35, -0.35],
           [ 0.  , -0.35,  0.35]])
    >>> encoder.get_feature_names_out()
    array(['height', 'eyes_blue', 'eyes_brown'], dtype=object)
    >>> encoder.inverse_transform([[0.0, 0.3, 0.1]])
       height  eyes
    0     1.7  blue

    Before an autoencoder:

    >>> from sklearn.pipeline import make_pipeline
    >>> from skae import LinearAutoencoder
    >>> pipeline = make_pipeline(TableEncoder(), LinearAutoencoder(1)).fit(table)
    >>> pipeline.inverse_transform(pipeline.transform(table))["eyes"].tolist()
    ['blue', 'brown', 'blue', 'brown']
    """

    missing_values: Any = param(
        MissingValues(),
        default=np.nan,
        doc="Placeholder of a missing value, in addition to NaN, None and NA.",
    )
    max_categories: int = param(
        POSITIVE_INT,
        default=MAX_CATEGORIES,
        doc="Number of categories of a column that get an indicator column, at most.",
    )
    handle_unknown: str = param(
        HANDLE_UNKNOWN,
        default="error",
        doc="""
        Whether ``transform`` raises an error at a category that was not in ``fit``, or encodes it
        as one without an indicator column ('ignore').""",
    )

    _fitted_schema: ClassVar[dict[str, schema.Check]] = {
        "n_features_in_": schema.integer(1),
        "feature_names_in_": schema.optional(schema.names("n_features_in_")),
        "mean_": schema.array("f", None),
        "scale_": schema.array("f", None),
        "_table": schema.instance(NumericTable, MixedTable),
        "_labels": schema.either(schema.instance(None), schema.sequence(schema.anything, list)),
        "_library": lambda value, _: value is None or value in LIBRARIES,
    }

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        if "_table" not in state:
            return
        table, mean, scale = state["_table"], state["mean_"], state["scale_"]
        if not (hasattr(table, "n_columns_") or hasattr(table, "kinds_")):
            raise ValueError("its columns are not fitted")
        labels, n = state["_labels"], state["n_features_in_"]
        if (labels is None) != isinstance(table, NumericTable) or len(labels or range(n)) != n:
            raise ValueError("its column labels are not as many as its columns")
        if len(table.groups.starts) != n or len(table.groups.group_start) != len(mean):
            raise ValueError("its columns are not as many as its features")
        empty = np.isnan(mean)
        if not (
            mean.shape == scale.shape
            and np.array_equal(empty, np.isnan(scale))
            and np.array_equal(empty, empty[table.groups.group_start])
            and np.isfinite(mean[~empty]).all()
            and (scale[~empty] > 0).all()
            and np.isfinite(scale[~empty]).all()
        ):
            raise ValueError("its means and scales do not belong together")

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the categories, means and scales of the columns.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Training samples. NaN, None and NA are missing values.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Per-sample weights. Samples with weight 0 are ignored. If None, all samples are
            weighted equally.

        Returns
        -------
        self : object
            The fitted encoder.

        Raises
        ------
        ValueError
            If X holds infinity, has two columns of one name, or is an array with text or with
            integers that float64 cannot represent.
        TypeError
            If a column of a DataFrame holds anything else, such as times or lists.
        """
        with unchanged_on_error(self):
            frame = as_table(X)
            self._labels = self._library = None
            if isinstance(frame, pd.DataFrame) and frame.size and not _is_sparse(frame):
                self._table: Any = MixedTable(
                    self.missing_values, self.max_categories, self.handle_unknown
                )
                self._labels, self._library = frame.columns.tolist(), library_of(X)
            else:
                self._table = NumericTable(self.missing_values)
            table, weight = self._table.fit(X, self, sample_weight)
            self.mean_, self.scale_ = self._statistics(table, weight)
        return self

    def _statistics(self, table: EncodedTable, weight: NDArray) -> tuple[NDArray, NDArray]:
        """Return what encoded columns are centred at and divided by, (n_features_out,) each."""
        mean, scale = np.full((2, table.X.shape[1]), np.nan)
        is_category = self._table.is_category
        for columns in self._table.groups.slices():
            known = ~table.missing[:, columns.start]
            if not known.any():
                continue
            x, w = table.X[known, columns].astype(np.float64), weight[known]
            if is_category[columns.start]:
                mean[columns], scale[columns] = np.average(x, axis=0, weights=w), INDICATOR_SCALE
            else:
                mean[columns], std = mean_and_std(x[:, 0], w)
                scale[columns] = std or 1.0
        return mean, scale

    def transform(self, X: ArrayLike) -> NDArray:
        """Encode samples.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Input samples, with the columns of ``fit``.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_features_out)
            Standardised numbers and scaled indicators; NaN for missing values.

        Raises
        ------
        ValueError
            If X holds infinity or, unless ``handle_unknown='ignore'``, a category that was not in
            ``fit``; if it has other columns; if a number is so far from the training data that
            its result overflows.
        TypeError
            If a column that held numbers in ``fit`` holds anything else, or X is not a DataFrame
            although a column holds categories.
        """
        check_is_fitted(self)
        return self._encode(X, self)

    def _encode(self, X: ArrayLike, estimator: Any, *, reset: bool = False) -> NDArray:
        """Encode the samples of an estimator, whose number and names of features are checked."""
        table = self._table.encode(X, estimator, reset=reset)
        with np.errstate(over="ignore"):
            Z = ((table.X - self.mean_) / self.scale_).astype(table.X.dtype, copy=False)
        missing = table.missing | np.isnan(self.mean_)
        check_finite_result(np.where(missing, 0, Z), "X")
        return np.where(missing, np.nan, Z).astype(Z.dtype, copy=False)

    def inverse_transform(self, Z: ArrayLike) -> Any:
        """Decode samples.

        Parameters
        ----------
        Z : {array-like, DataFrame} of shape (n_samples, n_features_out)
            Encoded samples, or reconstructions of these.

        Returns
        -------
        X : {DataFrame, ndarray} of shape (n_samples, n_features)
            A DataFrame with the columns and dtypes of ``fit``, of the same library, if ``fit`` was
            given one; else an array. Of the categories of a column, the one with the largest
            indicator. Integers are rounded and clipped to the range of their dtype. NaN is a
            missing value, for which columns of integers and booleans are returned in pandas'
            nullable dtypes.

        Raises
        ------
        ValueError
            If Z has another number of columns, holds infinity, or overflows.
        """
        check_is_fitted(self)
        codes = check_array(
            as_numeric(Z, "Z"),
            dtype=FLOATS,
            ensure_all_finite="allow-nan",
            input_name="Z",
            estimator=self,
        )
        if codes.shape[1] != len(self.mean_):
            raise ValueError(
                f"Z has {codes.shape[1]} columns, but this {type(self).__name__} encodes tables in "
                f"{len(self.mean_)}; pass what transform returns, or its reconstruction."
            )
        with np.errstate(over="ignore"):
            values = codes.astype(np.float64) * self.scale_ + self.mean_
            if self._labels is None:
                values = values.astype(codes.dtype)
        check_finite_result(np.where(np.isnan(values), 0, values), "Z")
        if self._labels is None:
            return values
        frame = self._table.restore(values)
        frame.columns = pd.Index(self._labels)
        if isinstance(Z, pd.DataFrame):
            frame.index = Z.index
        return in_library(self._library, frame)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray:
        """Get output feature names.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the input columns. If None, those of ``fit`` are used.

        Returns
        -------
        names : ndarray of str of shape (n_features_out,)
            The name of each column of numbers, and that of the column and the category, joined by
            an underscore, for each indicator.
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        if isinstance(self._table, NumericTable):
            return names
        return np.array(self._table.names(names), dtype=object)

    @property
    def _groups(self) -> ColumnGroups:
        """Groups of the encoded columns, one for each column of the table."""
        return self._table.groups

    @property
    def _thresholds(self) -> NDArray:
        """Value of each encoded column above which a row is of its category, NaN for numbers."""
        return np.where(self._table.is_category, (0.5 - self.mean_) / self.scale_, np.nan)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _is_sparse(frame: pd.DataFrame) -> bool:
    """Whether a DataFrame has a column of sparse dtype."""
    return any(isinstance(dtype, pd.SparseDtype) for dtype in frame.dtypes)

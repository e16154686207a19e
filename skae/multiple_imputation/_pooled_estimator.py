from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_classifier, is_regressor
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import Tags, column_or_1d, get_tags
from sklearn.utils.metadata_routing import UNUSED, MetadataRouter, MethodMapping, process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    has_fit_parameter,
    validate_data,
)

from skae._composite import Composite
from skae._dataframes import to_pandas
from skae._numeric_input import check_names, targets
from skae._schema import Check, instance, persistent
from skae._sklearn import HasMethods, _fit_context, _raise_for_params, _routing_enabled
from skae._sklearn_types import BaseEstimator, MetaEstimatorMixin, clone, with_callbacks
from skae._validation import (
    binary_exponents,
    check_array,
    check_finite_result,
    check_sample_weight,
    random_state_of,
    unchanged_on_error,
    weighted_mean,
)
from skae.base import CALLBACK_STATE
from skae.data import read_source
from skae.hyperparameters import POSITIVE_INT, hyperparameters, one_of, param
from skae.impute._imputer import AutoencoderImputer
from skae.multiple_imputation._rubin import Pooled, pool_estimates
from skae.multiple_imputation._standard_errors import closed_form

MODERATE = 50  # binary exponent up to which squares stay well inside float32's range


def _inner_has(name: str) -> Callable[[Any], bool]:
    """Return the test that the estimator has a method; its own AttributeError says why not."""

    def has(pooled: PooledEstimator) -> bool:
        getattr(pooled._inner, name)
        return True

    return has


@persistent
@hyperparameters
class PooledEstimator(Composite, MetaEstimatorMixin, BaseEstimator):
    r"""Any classifier or regressor for rows with holes, by multiple imputation.

    An imputer draws m completed tables; a clone of the estimator is fitted to each. New rows are
    completed m times, too, the i-th time for the i-th estimator, and answers are pooled:

    .. math:: \hat y(x) = \frac1m \sum_i f_i(x^{(i)}), \qquad
              p(k | x) = \frac1m \sum_i p_i(k | x^{(i)}),

    predictions of regressors, and class probabilities of classifiers, whose prediction is the
    class of the largest. Classifiers without ``predict_proba`` vote.

    Coefficients are means over the tables, with standard errors by Rubin's rules
    (``pool_coefficients``).

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    imputers_ : list of imputers
        The imputer of each completed table; without ``bootstrap``, the one of all.
    estimators_ : list of estimators
        The estimator of each completed table.
    classes_ : ndarray of shape (n_classes,)
        Labels, of a classifier.
    coef_, intercept_ : ndarray
        Means over ``estimators_``, where these have them. Columns are those of the completed
        tables: an `AutoencoderImputer` leaves out those without a value in ``fit``.
    n_features_in_ : int
        Number of columns of the training rows.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if they were all strings.

    See Also
    --------
    AutoencoderImputer : Draws the tables, by default.
    skae.pool_estimates : Rubin's rules, for any estimates.

    Notes
    -----
    Within a table, standard errors of the coefficients are those of

    * `LinearRegression` and `Ridge`, with X centred if there is an intercept, W the weights and
      :math:`A = X^\top W X + \alpha I`,

      .. math:: \hat\sigma^2 A^{-1} X^\top W X A^{-1}, \qquad
                \hat\sigma^2 = \frac1\nu \sum_i w_i (y_i - \hat y_i)^2, \qquad
                \nu = \sum_i w_i - \operatorname{tr}(2 H - H^2),

      where H is the matrix that turns y into its prediction; its trace is the number of
      coefficients, if :math:`\alpha = 0`;
    * `LogisticRegression` of two classes, penalised by L2 or not at all: the inverse of
      :math:`X^\top V X + I / C`, with :math:`v_i = w_i p_i (1 - p_i)` and an intercept that is not
      penalised, for :math:`\nu = \sum_i w_i - d` degrees of freedom.

    A weight of 2 is two rows.

    Draws must vary as much as what is not known, of which the imputer's parameters are a part: each
    imputer is fitted with weights of its own, exponentially distributed (the Bayesian bootstrap).

    Every estimator has the same seed, and so has every imputer: they differ by weights and draws,
    and estimators not at all where there are no holes. Draws for new rows have a seed that ``fit``
    keeps, so that the same rows get the same answers. But what an `AutoencoderImputer` draws for a
    row depends on where it stands in the table (without ``bootstrap``, also on how many rows there
    are): the answer for a row with holes is exact to the noise of m draws, and 20 are better than 5
    for linear models, which would lose nothing by means. Complete rows do not depend on others.

    Several targets of a classifier are wrapped the other way round:
    ``MultiOutputClassifier(PooledEstimator(...))``.

    References
    ----------
    Rubin, D. B. (1987). "Multiple imputation for nonresponse in surveys". Wiley.

    Rubin, D. B. (1981). "The Bayesian bootstrap". Annals of Statistics 9(1), 130-134.

    Moons, K. G. M., Donders, R. A. R. T., Stijnen, T. and Harrell, F. E. (2006). "Using the outcome
    for imputation of missing predictor values was preferred". Journal of Clinical Epidemiology
    59(10), 1092-1101.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from skae import AutoencoderImputer, PooledEstimator, make_missing
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 3))
    >>> y = X @ [1, -1, 0] + rng.normal(size=300)
    >>> holed = make_missing(X, "mcar", 0.2, random_state=0)
    >>> imputer = AutoencoderImputer(max_iter=10)
    >>> model = PooledEstimator(LinearRegression(), imputer, random_state=0).fit(holed, y)
    >>> model.predict([[1, -1, 0], [1, -1, np.nan]]).round()
    array([2., 2.])
    >>> pooled = model.pool_coefficients()
    >>> (pooled.low > 0) | (pooled.high < 0)
    array([ True,  True, False, False])
    """

    # Whatever `fit` is given is for the imputer and the estimator.
    __metadata_request__fit: ClassVar = {"sample_weight": UNUSED}

    estimator: Any = param(
        HasMethods(["fit", "predict"]),
        kw_only=False,
        doc="The classifier or regressor.",
    )
    imputer: Any = param(
        HasMethods(["fit", "sample"]),
        None,
        default=None,
        kw_only=False,
        doc="""
        Anything with ``sample(X, n_imputations, random_state)`` that returns completed tables. None
        is ``AutoencoderImputer()``.""",
    )
    n_imputations: int = param(POSITIVE_INT, default=5, doc="How many tables, m.")
    with_target: bool = param(
        "boolean",
        default=True,
        doc="""
        Whether the imputer sees the target beside the columns when ``fit`` fills them; it does not
        know that of new rows. Without it, what is drawn for a hole is unrelated to the target, and
        coefficients are too small.""",
    )
    bootstrap: bool = param(
        "boolean",
        default=True,
        doc="""
        Whether each table is drawn by an imputer of its own, fitted with random weights of the
        rows. One imputer for all takes the m-th part of the time, and does as well for predictions;
        but it knows what it has learned too surely, and intervals of coefficients are too narrow
        where much is missing.""",
    )
    variance: str | Callable = param(
        one_of("auto"),
        callable,
        default="auto",
        doc="""
        Squared standard errors of the coefficients within a table: a function of the fitted
        estimator, X and y, and of ``sample_weight`` if the estimator has some, that returns an
        array like ``coef_``, or with one more at the end of the last axis for the intercept. 'auto'
        knows those below.""",
    )
    random_state: Any = param(
        "random_state",
        default=None,
        doc="""
        Seed of the imputer, of the draws and of the estimators; None leaves imputer and estimator
        the ones they have.""",
    )

    # What is fitted holds estimators of others, for which files have no type.
    _fitted_schema: ClassVar[dict[str, Check]] = {
        "imputers_": instance(),
        "estimators_": instance(),
    }

    # -------------------------------------------------------------------------------- fitting

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, **params: Any
    ) -> Self:
        """Draw completed tables, and fit the estimator to each.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, complete or not.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, complete.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, for the estimator, and for the imputer if it takes them.
        **params : dict
            Further metadata for the ``fit`` of the imputer and of the estimator, where metadata
            routing is enabled.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        TypeError
            If the estimator is neither a classifier nor a regressor, weights are given that it does
            not take, or ``bootstrap`` needs weights that the imputer does not take.
        ValueError
            If y is not fit for it, or X for the imputer.
        """
        n_imputers = self.n_imputations if self.bootstrap else 1
        with (
            unchanged_on_error(self, but=CALLBACK_STATE),
            self._steps(n_imputers + self.n_imputations, X=X, y=y),
        ):
            if self.bootstrap and not has_fit_parameter(self._imputer(), "sample_weight"):
                raise TypeError(
                    "bootstrap=True fits imputers with random weights, but a "
                    f"{type(self.imputer).__name__} takes no sample_weight; set bootstrap=False."
                )
            return self._fit(X, y, *self._routed(sample_weight, params))

    def _fit(
        self, X: ArrayLike, y: Any, to_imputer: dict[str, Any], to_estimator: dict[str, Any]
    ) -> Self:
        X = self._read(X, y=y)
        y, beside = self._targets(X, y)
        random_state = random_state_of(self.random_state)
        seed, for_fit, self._seed = random_state.randint(np.iinfo(np.int32).max, size=3).tolist()
        self._n_beside = beside.shape[1]
        table = _side_by_side(X, _unlike(beside, self._imputer()))
        given = check_sample_weight(to_imputer.get("sample_weight"), len(y))
        self.imputers_: list[Any] = []
        for _ in range(self.n_imputations if self.bootstrap else 1):
            if self.bootstrap:
                share = random_state.standard_exponential(len(y))
                to_imputer = {**to_imputer, "sample_weight": given * share}
            imputer = self._seeded(self._imputer(), seed)
            with self._step("imputer", imputer):
                self.imputers_.append(imputer.fit(table, **to_imputer))
        self.estimators_: list[Any] = []
        variances = []
        for completed in self._drawn(table, self.n_imputations, for_fit):
            model = self._seeded(self.estimator, seed)
            with self._step("estimator", model):
                self.estimators_.append(model.fit(completed, y, **to_estimator))
            variances.append(self._variance(model, completed, y, to_estimator))
        self._variances = variances
        return self

    def _targets(self, X: Any, y: Any) -> tuple[Any, NDArray]:
        """Return validated targets, and the columns of numbers that tell the imputer of them."""
        y = check_array(targets(y), ensure_2d=False, dtype=None, input_name="y", estimator=self)
        check_consistent_length(X, y)
        if not get_tags(self).target_tags.multi_output:
            if y.ndim == 2 and y.shape[1] > 1:
                raise ValueError(
                    f"y should be a 1d array, but has {y.shape[1]} columns; for several targets, "
                    "use sklearn.multioutput around the PooledEstimator."
                )
            y = column_or_1d(y, warn=True)
        if is_regressor(self.estimator):
            beside = _moderate(np.asarray(y, dtype=np.float64).reshape(len(y), -1))
        elif is_classifier(self.estimator):
            if (kind := type_of_target(y, input_name="y")) not in ("binary", "multiclass"):
                raise ValueError(f"Unknown label type: {kind}; a classifier needs classes in y.")
            beside = (y[:, None] == np.unique(y)[1:]).astype(np.float64)
        else:
            raise TypeError(
                "PooledEstimator needs a classifier or a regressor, whose answers have a mean; got "
                f"a {type(self.estimator).__name__}."
            )
        return y, beside if self.with_target else beside[:, :0]

    def _variance(
        self, model: Any, X: Any, y: Any, params: dict[str, Any]
    ) -> tuple[NDArray, float] | str:
        """Return squared standard errors and degrees of freedom within a table, or why not."""
        coef = getattr(model, "coef_", None)
        if coef is None:
            return "it has no coef_"
        known = {k: v for k, v in params.items() if k == "sample_weight" and v is not None}
        weight = check_sample_weight(known.get("sample_weight"), len(y))
        if not callable(self.variance):
            return closed_form(model, X, y, weight)
        variance = check_array(
            self.variance(model, X, y, **known),
            dtype=np.float64,
            ensure_2d=False,
            allow_nd=True,
            input_name="the result of variance",
        )
        like = np.shape(coef)
        if variance.shape not in (like, (*like[:-1], like[-1] + 1)):
            raise ValueError(
                f"variance must return an array of coef_'s shape, {like}, or one longer in the "
                f"last axis, for the intercept; got {variance.shape}."
            )
        return variance, weight.sum() - variance.shape[-1]

    def _seeded(self, model: Any, seed: int) -> Any:
        """Return a clone whose parts have the seed, if one was given."""
        model = clone(model)
        if self.random_state is not None:
            names = [n for n in model.get_params() if f"__{n}".endswith("__random_state")]
            model.set_params(**dict.fromkeys(names, seed))
        return model

    # ----------------------------------------------------------------------------- predicting

    def predict(self, X: ArrayLike) -> NDArray:
        """Predict by the mean over completed rows, or by the most votes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, complete or not.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predicted values, or labels.
        """
        check_is_fitted(self)
        if not is_classifier(self._inner):
            return self._mean("predict", X)
        if hasattr(self, "predict_proba"):
            return self.classes_[self.predict_proba(X).argmax(axis=1)]
        votes = np.array([answer[:, None] == self.classes_ for answer in self._each("predict", X)])
        return self.classes_[votes.sum(axis=0).argmax(axis=1)]

    @available_if(_inner_has("predict_proba"))
    def predict_proba(self, X: ArrayLike) -> NDArray:
        """Return the mean of the class probabilities over completed rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, complete or not.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        return self._mean("predict_proba", X)

    @available_if(_inner_has("decision_function"))
    def decision_function(self, X: ArrayLike) -> NDArray:
        """Return the mean of the decision functions over completed rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, complete or not.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            As the estimator gives them.
        """
        return self._mean("decision_function", X)

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy of a classifier, the R2 of a regressor.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, complete or not.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            Higher is better.
        """
        predicted = self.predict(X)
        if is_classifier(self._inner):
            return accuracy_score(y, predicted, sample_weight=sample_weight)
        truth: NDArray = check_array(
            y, dtype=np.float64, ensure_2d=False, input_name="y", estimator=self
        )
        power = binary_exponents(truth, axis=0)  # R2 has no units, but its squares may overflow
        with np.errstate(over="ignore", invalid="ignore"):
            score = r2_score(
                np.ldexp(truth, -power), np.ldexp(predicted, -power), sample_weight=sample_weight
            )
        if not np.isfinite(score) and len(truth) > 1:
            raise ValueError(
                "Predictions are so far from y, compared with how much y varies, that R2 overflows "
                "float64; check the units of X and y."
            )
        return score

    def _mean(self, method: str, X: ArrayLike) -> NDArray:
        with np.errstate(over="ignore", invalid="ignore"):  # the result is checked
            answers = np.array(self._each(method, X))
            return check_finite_result(
                weighted_mean(answers if answers.dtype.kind == "f" else answers.astype(float)), "X"
            )

    def _each(self, method: str, X: ArrayLike) -> list[NDArray]:
        """Return each estimator's answer for its own completion of the rows."""
        check_is_fitted(self)
        rows = self._read(X)
        table = _side_by_side(rows, np.full((len(rows), self._n_beside), np.nan))
        tables = self._drawn(table, len(self.estimators_), self._seed)
        return [
            getattr(model, method)(completed)
            for model, completed in zip(self.estimators_, tables, strict=True)
        ]

    def _drawn(self, table: Any, n_imputations: int, seed: int) -> list[Any]:
        """Return completed tables, without the targets beside them."""
        if len(self.imputers_) == 1:
            tables = self.imputers_[0].sample(table, n_imputations, random_state=seed)
        else:
            seeds = random_state_of(seed).randint(np.iinfo(np.int32).max, size=n_imputations)
            tables = [
                imputer.sample(table, 1, random_state=int(own))[0]
                for imputer, own in zip(self.imputers_, seeds, strict=True)
            ]
        return [_first_columns(tables[i], -self._n_beside) for i in range(n_imputations)]

    def _read(self, X: Any, **y: Any) -> Any:
        """Return rows as an array; a DataFrame as it is, which is for the imputer to judge."""
        X = to_pandas(X)
        if isinstance(X, pd.DataFrame):
            check_names(X)
            validated = validate_data(self, X, **y, reset=bool(y), skip_check_array=True)
            return validated[0] if y else validated
        if y:
            validate_data(self, X, **y, skip_check_array=True)
        return read_source(self, X, reset=bool(y), sparse_too=False)[:]

    # --------------------------------------------------------------------------- coefficients

    def pool_coefficients(self, coverage: float = 0.95) -> Pooled:
        """Pool the coefficients by Rubin's rules.

        Parameters
        ----------
        coverage : float, default=0.95
            Chance that an interval should hold the truth.

        Returns
        -------
        pooled : Pooled
            Named tuple of arrays: ``estimate``, ``std_error``, ``df``, ``low`` and ``high``. They
            are like ``coef_``, with the intercept after the last coefficient, if there is one and
            its standard error is known.

        Raises
        ------
        ValueError
            If standard errors within a table are not known, or there is only one table.
        """
        check_is_fitted(self)
        name = type(self._inner).__name__
        within: list[NDArray] = []
        dfs: list[float] = []
        for known in self._variances:
            if isinstance(known, str):
                raise ValueError(
                    f"Standard errors of a {name} within a table are not known: {known}. Fit with "
                    "variance=, a function of (estimator, X, y) that returns their squares, or "
                    "give skae.pool_estimates what you have of each of estimators_."
                )
            within.append(known[0])
            dfs.append(known[1])
        variances, df_complete = np.array(within), float(np.mean(dfs))
        estimates = np.array([_coefficients(m, variances.shape[-1]) for m in self.estimators_])
        return pool_estimates(estimates, variances, df_complete=df_complete, coverage=coverage)

    @property
    def coef_(self) -> NDArray:
        return weighted_mean(np.array([model.coef_ for model in self.estimators_]))

    @property
    def intercept_(self) -> NDArray:
        return weighted_mean(np.array([model.intercept_ for model in self.estimators_]))

    # ------------------------------------------------------------------------- bookkeeping

    @property
    def classes_(self) -> NDArray:
        return self.estimators_[0].classes_

    @property
    def _inner(self) -> Any:
        """Return an estimator as it was fitted, or as it will be."""
        return vars(self)["estimators_"][0] if "estimators_" in vars(self) else self.estimator

    def _imputer(self) -> Any:
        if self.imputer is not None:
            return self.imputer
        new = AutoencoderImputer()
        return new.set_fit_request(sample_weight=True) if _routing_enabled() else new

    def _routed(
        self, sample_weight: ArrayLike | None, params: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the metadata for the fit of the imputer and of the estimator."""
        given = {} if sample_weight is None else {"sample_weight": sample_weight}
        if _routing_enabled():
            routed = process_routing(self, "fit", **given, **params)
            return dict(routed.imputer.fit), dict(routed.estimator.fit)
        _raise_for_params(params, self, "fit")
        if given and not has_fit_parameter(self.estimator, "sample_weight"):
            raise TypeError(
                f"sample_weight is given, but a {type(self.estimator).__name__} takes none; leave "
                "it out, or enable scikit-learn's metadata routing to reach a part of it."
            )
        takes = has_fit_parameter(self._imputer(), "sample_weight")
        return given if takes else {}, given

    def get_metadata_routing(self) -> MetadataRouter:
        """Return which metadata goes where.

        Returns
        -------
        routing : MetadataRouter
            ``fit`` gives the imputer and the estimator what they request; ``score`` takes
            ``sample_weight`` itself.
        """
        mapping = MethodMapping().add(caller="fit", callee="fit")
        router = MetadataRouter(owner=self).add_self_request(self)
        return router.add(imputer=self._imputer(), estimator=self.estimator, method_mapping=mapping)

    def __sklearn_tags__(self) -> Tags:
        tags, inner = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags, tags.regressor_tags = inner.classifier_tags, inner.regressor_tags
        tags.target_tags = inner.target_tags
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = False
            tags.target_tags.multi_output = False
        tags.input_tags.allow_nan = True
        return tags


# ---------------------------------------------------------------------------------------- tables


def _side_by_side(X: Any, beside: NDArray) -> Any:
    """Return a table and columns after it."""
    if not beside.shape[1]:
        return X
    if not hasattr(X, "iloc"):
        return np.column_stack([X, beside.astype(X.dtype)])
    names: list[Any] = [f"target{j}" for j in range(beside.shape[1])]
    if not all(isinstance(name, str) for name in X.columns):
        # Names that are not all strings count for nothing.
        X = X.set_axis(range(X.shape[1]), axis=1)
        names = list(range(X.shape[1], X.shape[1] + len(names)))
    while set(names) & set(X.columns):
        names = [f"_{name}" for name in names]
    return pd.concat([X, pd.DataFrame(beside, index=X.index, columns=names)], axis=1)


def _first_columns(table: Any, upto: int) -> Any:
    """Return a table without the last columns, whose number is given as negative."""
    table = table if hasattr(table, "iloc") else np.asarray(table)
    columns = slice(None, table.shape[1] + upto)
    return table.iloc[:, columns] if hasattr(table, "iloc") else table[:, columns]


def _moderate(beside: NDArray) -> NDArray:
    """Return columns whose squares neither overflow nor vanish, in other units if need be."""
    power = binary_exponents(beside, axis=0)
    return np.ldexp(beside, np.where(np.abs(power) > MODERATE, -power, 0))


def _unlike(beside: NDArray, imputer: Any) -> NDArray:
    """Return the columns shifted, if need be, so that no value is what stands for a hole."""
    hole = getattr(imputer, "missing_values", None)
    if isinstance(hole, (int, float)) and (beside == hole).any():
        return beside - beside.min() + hole + 1
    return beside


def _coefficients(model: Any, size: int) -> NDArray:
    """Return the coefficients, with the intercept if there shall be one more."""
    coef = np.asarray(model.coef_, dtype=np.float64)
    if coef.shape[-1] == size:
        return coef
    last = np.asarray(model.intercept_, dtype=np.float64).reshape(-1)
    return np.concatenate([coef, np.broadcast_to(last, (*coef.shape[:-1], 1)[-2:])], axis=-1)

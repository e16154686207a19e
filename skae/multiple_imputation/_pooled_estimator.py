"""Multiple imputation for any classifier or regressor."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags, get_tags
from sklearn.utils.metadata_routing import UNUSED, MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import (
    check_is_fitted,
    has_fit_parameter,
)

from skae._composite import Composite
from skae._schema import Check, instance, persistent
from skae._sklearn import HasMethods, _fit_context, _raise_for_params, _routing_enabled
from skae._sklearn_types import BaseEstimator, MetaEstimatorMixin, clone, with_callbacks
from skae._validation import (
    check_sample_weight,
    random_state_of,
    unchanged_on_error,
    weighted_mean,
)
from skae.base import CALLBACK_STATE
from skae.batched import call_together
from skae.hyperparameters import POSITIVE_INT, hyperparameters, one_of, param
from skae.impute import AutoencoderImputer
from skae.multiple_imputation._predictions import PredictionMixin
from skae.multiple_imputation._rubin import Pooled, pool_estimates
from skae.multiple_imputation._standard_errors import coefficient_variance, coefficients
from skae.multiple_imputation._target_columns import TargetColumns, check_target, encode_target


@persistent
@hyperparameters
class PooledEstimator(Composite, PredictionMixin, MetaEstimatorMixin, BaseEstimator):
    r"""Multiple imputation for any classifier or regressor.

    An imputer draws m completed tables; a clone of the estimator is fitted to each. New samples are
    completed m times, too, the i-th time for the i-th estimator, and the outputs are averaged:

    .. math:: \hat y(x) = \frac1m \sum_i f_i(x^{(i)}), \qquad
              p(k | x) = \frac1m \sum_i p_i(k | x^{(i)}),

    the predictions of regressors, and the class probabilities of classifiers, which predict the
    class with the highest one. Classifiers without ``predict_proba`` predict by majority vote.

    Coefficients are averaged over the tables, with standard errors by Rubin's rules
    (``pool_coefficients``).

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    imputers_ : list of imputers
        The imputer of each completed table; without ``bootstrap``, one for all.
    estimators_ : list of estimators
        The estimator of each completed table.
    classes_ : ndarray of shape (n_classes,)
        Class labels, of a classifier.
    coef_, intercept_ : ndarray
        Means over ``estimators_``, if these have them. Features are those of the completed
        tables: an `AutoencoderImputer` drops features without any observed value in ``fit``.
    n_features_in_ : int
        Number of features seen during ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if they were all strings.

    See Also
    --------
    AutoencoderImputer : The default imputer.
    skae.pool_estimates : Rubin's rules for any estimates.

    Notes
    -----
    Standard errors of the coefficients within a table are available for

    * `LinearRegression` and `Ridge`, with X centred if there is an intercept, W the weights and
      :math:`A = X^\top W X + \alpha I`,

      .. math:: \hat\sigma^2 A^{-1} X^\top W X A^{-1}, \qquad
                \hat\sigma^2 = \frac1\nu \sum_i w_i (y_i - \hat y_i)^2, \qquad
                \nu = \sum_i w_i - \operatorname{tr}(2 H - H^2),

      where H is the hat matrix, which maps y to its prediction; its trace is the number of
      coefficients if :math:`\alpha = 0`;
    * `LogisticRegression` of two classes, penalised by L2 or not at all: the inverse of
      :math:`X^\top V X + I / C`, with :math:`v_i = w_i p_i (1 - p_i)` and an intercept that is not
      penalised, for :math:`\nu = \sum_i w_i - d` degrees of freedom.

    A sample with weight 2 counts as two samples.

    Draws must reflect the uncertainty of the imputer's parameters, too: each imputer is fitted with
    its own exponentially distributed sample weights (the Bayesian bootstrap).

    All estimators have the same seed, and so have all imputers: imputers differ by weights and
    draws, and estimators are equal if no values are missing. Draws for new samples have a seed that
    ``fit`` keeps, so that repeated calls return the same predictions. However, the draws of an
    `AutoencoderImputer` for a sample depend on its position in X (without ``bootstrap``, also on
    the number of samples): predictions for samples with missing values vary by the noise of m
    draws, and 20 are better than 5 for linear models. Predictions for complete samples do not
    depend on other samples.

    For several targets of a classifier, use ``MultiOutputClassifier(PooledEstimator(...))``.

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
    >>> X_missing = make_missing(X, "mcar", 0.2, random_state=0)
    >>> imputer = AutoencoderImputer(max_iter=10)
    >>> model = PooledEstimator(LinearRegression(), imputer, random_state=0)
    >>> model = model.fit(X_missing, y)
    >>> model.predict([[1, -1, 0], [1, -1, np.nan]]).round()
    array([2., 2.])
    >>> pooled = model.pool_coefficients()
    >>> (pooled.low > 0) | (pooled.high < 0)
    array([ True,  True, False, False])
    """

    # All metadata of `fit` is routed to the imputer and the estimator.
    __metadata_request__fit: ClassVar = {"sample_weight": UNUSED}

    estimator: Any = param(
        HasMethods(["fit", "predict"]),
        kw_only=False,
        doc="Classifier or regressor.",
    )
    imputer: Any = param(
        HasMethods(["fit", "sample"]),
        None,
        default=None,
        kw_only=False,
        doc="""
        Imputer with a method ``sample(X, n_imputations, random_state)`` that returns completed
        tables. If None, ``AutoencoderImputer()``, with ``bootstrap`` trained for fewer steps.""",
    )
    n_imputations: int = param(POSITIVE_INT, default=5, doc="Number of completed tables, m.")
    with_target: bool = param(
        "boolean",
        default=True,
        doc="""
        Whether the imputer sees the target as a further column in ``fit``; it is missing for new
        samples. Without it, imputed values are unrelated to the target, and coefficients are biased
        towards zero.""",
    )
    bootstrap: bool = param(
        "boolean",
        default=True,
        doc="""
        Whether each table is drawn by its own imputer, fitted with random sample weights. One
        imputer for all takes 1/m of the time and is as good for predictions, but the uncertainty of
        its parameters is ignored, and confidence intervals of coefficients are too narrow if many
        values are missing.""",
    )
    coef_variance: str | Callable = param(
        one_of("auto"),
        callable,
        default="auto",
        doc="""
        Squared standard errors of the coefficients within a table: a function of the fitted
        estimator, X and y, and of ``sample_weight`` if it is given, that returns an array of the
        shape of ``coef_``, or longer by one in the last axis, for the intercept. 'auto' supports
        the estimators in the Notes.""",
    )
    random_state: Any = param(
        "random_state",
        default=None,
        doc="""
        Seed of the imputers, the draws and the estimators. If None, the ``random_state`` of
        ``imputer`` and ``estimator`` is left unchanged.""",
    )

    # A fitted instance holds estimators of other libraries, for which files have no type.
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
        """Draw completed tables and fit the estimator to each.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training data. NaN marks a missing value.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, without missing values.
        sample_weight : array-like of shape (n_samples,), default=None
            Per-sample weights, for the estimator, and for the imputer if it takes them. If None,
            all samples are weighted equally.
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
            If the estimator is neither a classifier nor a regressor, or does not accept the given
            weights, or ``bootstrap`` needs weights that the imputer does not accept.
        ValueError
            If the estimator cannot be fitted to y, or the imputer to X.
        """
        n_imputers = self.n_imputations if self.bootstrap else 1
        with (
            unchanged_on_error(self, but=CALLBACK_STATE),
            self._steps(n_imputers + self.n_imputations, X=X, y=y),
        ):
            if self.bootstrap and not has_fit_parameter(self._imputer(), "sample_weight"):
                raise TypeError(
                    "bootstrap=True fits imputers with random sample weights, but "
                    f"{type(self.imputer).__name__}.fit does not accept sample_weight; set "
                    "bootstrap=False."
                )
            return self._fit(X, y, *self._routed(sample_weight, params))

    def _fit(
        self, X: ArrayLike, y: Any, to_imputer: dict[str, Any], to_estimator: dict[str, Any]
    ) -> Self:
        X = self._read(X, y=y)
        y = check_target(self, X, y)
        encoded = encode_target(self.estimator, y)
        if not self.with_target:
            encoded = encoded[:, :0]
        random_state = random_state_of(self.random_state)
        seed, for_fit, self._seed = random_state.randint(np.iinfo(np.int32).max, size=3).tolist()
        missing_values = getattr(self._imputer(), "missing_values", np.nan)
        self._target_columns = TargetColumns(encoded.shape[1], missing_values)
        table = self._target_columns.append(X, encoded)
        given = check_sample_weight(to_imputer.get("sample_weight"), len(y))
        given_to_each = [to_imputer]
        if self.bootstrap:
            shares = [random_state.standard_exponential(len(y)) for _ in range(self.n_imputations)]
            given_to_each = [{**to_imputer, "sample_weight": given * share} for share in shares]

        def fitted_imputer(to_fit: dict[str, Any]) -> Any:
            imputer = self._seeded(self._imputer(), seed)
            fit = imputer._fit_one_of_several if self._fits_briefly else imputer.fit
            with self._step("imputer", imputer):
                return fit(table, **to_fit)

        self.imputers_ = call_together([partial(fitted_imputer, each) for each in given_to_each])
        self.estimators_: list[Any] = []
        self._variances = []
        weight = to_estimator.get("sample_weight")
        for completed in self._drawn(table, self.n_imputations, for_fit):
            model = self._seeded(self.estimator, seed)
            with self._step("estimator", model):
                self.estimators_.append(model.fit(completed, y, **to_estimator))
            variance = coefficient_variance(model, completed, y, weight, self.coef_variance)
            self._variances.append(variance)
        return self

    def _seeded(self, model: Any, seed: int) -> Any:
        """Return a clone whose parts have the seed, if ``random_state`` is given."""
        model = clone(model)
        if self.random_state is not None:
            names = [n for n in model.get_params() if f"__{n}".endswith("__random_state")]
            model.set_params(**dict.fromkeys(names, seed))
        return model

    # --------------------------------------------------------------------------- coefficients

    def pool_coefficients(self, coverage: float = 0.95) -> Pooled:
        """Pool the coefficients by Rubin's rules.

        Parameters
        ----------
        coverage : float, default=0.95
            Nominal coverage probability of the intervals.

        Returns
        -------
        pooled : Pooled
            Named tuple of arrays: ``estimate``, ``std_error``, ``df``, ``low`` and ``high``, of
            the shape of ``coef_``, with the intercept after the last coefficient if its standard
            error is available.

        Raises
        ------
        ValueError
            If standard errors within a table are not available, or there is only one table.
        """
        check_is_fitted(self)
        name = type(self._inner).__name__
        within: list[NDArray] = []
        dfs: list[float] = []
        for variance in self._variances:
            if isinstance(variance, str):
                raise ValueError(
                    f"Standard errors of a {name} within a table are not available: {variance}. "
                    "Fit with coef_variance=, a function of (estimator, X, y) that returns their "
                    "squares, or pass estimates and variances of your own to skae.pool_estimates."
                )
            within.append(variance[0])
            dfs.append(variance[1])
        variances, df_complete = np.array(within), float(np.mean(dfs))
        estimates = np.array([coefficients(m, variances.shape[-1]) for m in self.estimators_])
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
        """Return a fitted estimator, or the one to fit."""
        return vars(self)["estimators_"][0] if "estimators_" in vars(self) else self.estimator

    @property
    def _fits_briefly(self) -> bool:
        return self.imputer is None and self.bootstrap and self.n_imputations > 1

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
                f"sample_weight is given, but {type(self.estimator).__name__}.fit does not accept "
                "it; leave it out, or enable scikit-learn's metadata routing."
            )
        takes = has_fit_parameter(self._imputer(), "sample_weight")
        return given if takes else {}, given

    def get_metadata_routing(self) -> MetadataRouter:
        """Return the metadata routing of this object.

        Returns
        -------
        routing : MetadataRouter
            ``fit`` routes to the imputer and the estimator what they request; ``score`` consumes
            ``sample_weight``.
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

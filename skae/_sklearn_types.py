"""scikit-learn's base classes with types, which scikit-learn does not ship.

A type checker takes a class with an untyped base for one that accepts every argument and has every
attribute. At run time these are scikit-learn's own classes and functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar, Literal, Self, TypeVar

    from numpy.typing import ArrayLike, NDArray
    from sklearn.utils import Tags

    T = TypeVar("T")
    F = TypeVar("F", bound=Callable[..., Any])
    Request = bool | str | None

    class BaseEstimator:
        _parameter_constraints: ClassVar[dict[str, list[Any]]]
        n_features_in_: int
        feature_names_in_: NDArray

        def get_params(self, deep: bool = True) -> dict[str, Any]: ...
        def set_params(self, **params: Any) -> Self: ...
        def get_metadata_routing(self) -> Any: ...
        def set_fit_request(self, *, sample_weight: Request = ...) -> Self: ...
        def set_score_request(self, *, sample_weight: Request = ...) -> Self: ...
        def _repr_html_(self) -> str: ...
        def _validate_params(self) -> None: ...
        @classmethod
        def _get_param_names(cls) -> list[str]: ...
        def __getstate__(self) -> dict[str, Any]: ...
        def __setstate__(self, state: dict[str, Any]) -> None: ...
        def __sklearn_tags__(self) -> Tags: ...

    class TransformerMixin:
        def fit_transform(self, X: ArrayLike, y: Any = None, **fit_params: Any) -> NDArray: ...
        def set_output(
            self, *, transform: Literal["default", "pandas", "polars"] | None = None
        ) -> Self: ...

    class ClassNamePrefixFeaturesOutMixin:
        def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray: ...

    class OutlierMixin:
        def fit_predict(self, X: ArrayLike, y: Any = None, **fit_params: Any) -> NDArray: ...

    class MetaEstimatorMixin: ...

    class ClassifierMixin:
        def score(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> float: ...

    class RegressorMixin:
        def score(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> float: ...

    class CallbackSupportMixin:
        _callback_fit_ctx: Any

        def set_callbacks(self, *callbacks: Any) -> Self: ...
        def _init_callback_context(
            self,
            task_name: str = "fit",
            task_id: int = 0,
            max_subtasks: int | None = 0,
            sequential_subtasks: bool = True,
        ) -> Any: ...

    def clone(estimator: T, *, safe: bool = True) -> T: ...

    def with_callbacks(method: F) -> F: ...

else:
    from sklearn.base import (
        BaseEstimator,
        ClassifierMixin,
        ClassNamePrefixFeaturesOutMixin,
        MetaEstimatorMixin,
        OutlierMixin,
        RegressorMixin,
        TransformerMixin,
        clone,
    )
    from sklearn.callback import CallbackSupportMixin, with_callbacks

__all__ = [
    "BaseEstimator",
    "CallbackSupportMixin",
    "ClassNamePrefixFeaturesOutMixin",
    "ClassifierMixin",
    "MetaEstimatorMixin",
    "OutlierMixin",
    "RegressorMixin",
    "TransformerMixin",
    "clone",
    "with_callbacks",
]

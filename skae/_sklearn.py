"""The private names of scikit-learn that skae relies on, in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from sklearn.decomposition._pca import _infer_dimension
from sklearn.utils import _safe_indexing
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    InvalidParameterError,
    MissingValues,
    RealNotInt,
    StrOptions,
    make_constraint,
    validate_parameter_constraints,
)
from sklearn.utils._set_output import _get_output_config
from sklearn.utils._sparse import _align_api_if_sparse
from sklearn.utils.metadata_routing import _raise_for_params, _routing_enabled
from sklearn.utils.validation import _check_feature_names_in, _check_sample_weight

if TYPE_CHECKING:  # a decorator without types would take those of what it decorates away
    F = TypeVar("F", bound=Callable[..., Any])

    def _fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[F], F]: ...

else:
    from sklearn.base import _fit_context

__all__ = [
    "HasMethods",
    "Interval",
    "InvalidParameterError",
    "MissingValues",
    "RealNotInt",
    "StrOptions",
    "_align_api_if_sparse",
    "_check_feature_names_in",
    "_check_sample_weight",
    "_fit_context",
    "_infer_dimension",
    "check_matplotlib_support",
    "_get_output_config",
    "_raise_for_params",
    "_routing_enabled",
    "_safe_indexing",
    "make_constraint",
    "validate_parameter_constraints",
]

"""The steps of a pipeline before its last one, as skl2onnx converts them exactly."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import KNNImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import MaxAbsScaler, PowerTransformer


def convertible(step: Any) -> Any:
    """Return a fitted step with the columns of each ColumnTransformer by their positions.

    Raises
    ------
    ValueError
        If results of skl2onnx's model of the step differ from those of the step.
    """
    if isinstance(step, str):  # 'passthrough' and 'drop'
        return step
    _check_exact(step)
    step = copy(step)
    if isinstance(step, ColumnTransformer):
        step.transformers_ = [
            (name, convertible(inner), _positions(columns, step))
            for name, inner, columns in step.transformers_
        ]
    elif isinstance(step, Pipeline):
        step.steps = [(name, convertible(inner)) for name, inner in step.steps if inner is not None]
    elif isinstance(step, FeatureUnion):
        step.transformer_list = [(name, convertible(t)) for name, t in step.transformer_list]
    return step


def _check_exact(step: Any) -> None:
    lost = None
    if isinstance(step, PowerTransformer | KNNImputer):
        lost = "loses missing values and precision"
    elif isinstance(step, MaxAbsScaler) and getattr(step, "clip", False):
        lost = "does not clip"
    if lost is not None:
        raise ValueError(
            f"The ONNX model that skl2onnx makes of {type(step).__name__} {lost}, so that its "
            "results would be others; use another step, or convert the last step of the pipeline "
            "alone."
        )


def _positions(columns: Any, of: ColumnTransformer) -> list[int]:
    """Return the positions of the columns that a transformer is given."""
    n = of.n_features_in_
    if isinstance(columns, slice) and not isinstance(columns.start or columns.stop, str):
        return list(range(n))[columns]
    names = list(getattr(of, "feature_names_in_", range(n)))
    if isinstance(columns, slice):  # of names, the last of which is included
        start = 0 if columns.start is None else names.index(columns.start)
        stop = n if columns.stop is None else names.index(columns.stop) + 1
        return list(range(start, stop, columns.step or 1))
    columns = np.atleast_1d(np.asarray(columns))
    if columns.dtype.kind == "b":
        return np.flatnonzero(columns).tolist()
    return [names.index(c) if isinstance(c, str) else c % n for c in columns.tolist()]

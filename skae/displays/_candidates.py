"""The candidates of a search, as lines over the number of components."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from skae.displays._base import name_of

SUFFIX = "n_components"


def results_of(search: Any) -> Any:
    """Return the ``cv_results_`` of a fitted search, or what is given as such."""
    results = getattr(search, "cv_results_", search)
    if not hasattr(results, "keys"):
        raise TypeError(
            f"{type(search).__name__} has no cv_results_; pass a fitted search, such as "
            "GridSearchCV, or its cv_results_."
        )
    return results


def score_of(search: Any, score: str) -> tuple[str, NDArray, NDArray]:
    """Return the label of a score, and its mean and standard deviation for each candidate."""
    results = results_of(search)
    if f"mean_test_{score}" not in results:
        known = [key.removeprefix("mean_test_") for key in results if key.startswith("mean_test_")]
        raise ValueError(f"score must be one of {sorted(known)}; got {score!r}.")
    mean = np.asarray(results[f"mean_test_{score}"], dtype=np.float64)
    std = np.asarray(results[f"std_test_{score}"], dtype=np.float64)
    name = score
    if score == "score":
        scoring = getattr(search, "scoring", None)
        name = scoring if isinstance(scoring, str) else getattr(scoring, "__name__", score)
    if name.startswith("neg_"):
        name, mean = name.removeprefix("neg_"), -mean
    return name.replace("_", " "), mean, std


def candidate_lines(
    search: Any, param: str | None, name: str | None
) -> dict[str, tuple[NDArray, NDArray]]:
    """Return the sizes and the numbers of the candidates of each line, by label."""
    params = list(results_of(search)["params"])
    param = _size_parameter(params) if param is None else param
    groups: dict[str, dict[int, int]] = {}
    if name is None:
        name = name_of(search.estimator) if hasattr(search, "estimator") else "mean of the folds"
    labels = _labels(params, param)
    for i, candidate in enumerate(params):
        if param not in candidate:
            continue
        size = candidate[param]
        if not isinstance(size, Integral) or isinstance(size, bool):
            raise ValueError(
                f"{param} has the value {size!r}, which is no number of components; search over "
                "integers, or pass the results of those candidates."
            )
        groups.setdefault(labels[i] or name, {})[int(size)] = i  # of successive halving, the last
    if not groups:
        raise ValueError(f"No candidate has the parameter {param!r}; pass one as param.")
    return {label: _columns(sorted(pairs.items())) for label, pairs in groups.items()}


def _columns(pairs: list[tuple[int, int]]) -> tuple[NDArray, NDArray]:
    sizes, rows = np.array(pairs).T
    return sizes, rows


def _size_parameter(params: list[dict[str, Any]]) -> str:
    found = sorted({key for candidate in params for key in candidate if key.endswith(SUFFIX)})
    if len(found) != 1:
        which = " and ".join(found) if found else "none"
        raise ValueError(
            f"param=None needs exactly one parameter that ends in {SUFFIX}, but there is {which}; "
            "pass the name of the parameter of the horizontal axis as param."
        )
    return found[0]


def _labels(params: list[dict[str, Any]], param: str) -> list[str]:
    """Return what tells the other parameters of each candidate from those of the others."""
    others = [{k: _text(v) for k, v in c.items() if k != param} for c in params if param in c]
    keys = list(dict.fromkeys(key for candidate in others for key in candidate))
    keys = [key for key in keys if len({candidate.get(key) for candidate in others}) > 1]
    short = [key.rpartition("__")[2] for key in keys]
    names = {
        key: end if short.count(end) == 1 else key for key, end in zip(keys, short, strict=True)
    }
    classes = {key: _class_names([c[key] for c in params if key in c]) for key in keys}
    if len(keys) == 1 and classes[keys[0]]:
        return [classes[keys[0]].get(_text(c.get(keys[0])), "") for c in params]
    return [
        ", ".join(
            f"{names[key]}={classes[key].get(_text(c[key]), _text(c[key]))}"
            for key in keys
            if key in c
        )
        for c in params
    ]


def _class_names(values: list[Any]) -> dict[str, str]:
    """Return the class of each estimator by its text; {} if classes do not tell values apart."""
    if not all(isinstance(value, BaseEstimator) for value in values):
        return {}
    names = {_text(value): name_of(value) for value in values}
    return names if len(set(names.values())) == len(names) else {}


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else " ".join(repr(value).split())

"""What identifies a fit: its parameters, its samples, and the state that it resumes from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skae._hooks import Hooks
from skae.data import DataSource, subsample_evenly
from skae.training import state_of

NOT_OF_THE_FIT = ("checkpoint", "verbose")  # hyperparameters that do not change its result
N_COMPARED = 100  # samples that processes compare


def fit_digest(estimator: Hooks, source: DataSource, weight: NDArray, resume: bool) -> str:
    """Return a digest of a fit: of parameters, samples and the state that it resumes from."""
    parameters = parameters_of(estimator)
    digest = hashlib.sha256(
        json.dumps([fingerprint(type(estimator)), fingerprint(parameters)]).encode()
    )
    for chunk in source.gen_chunks():
        digest.update(source[chunk].tobytes())
    digest.update(weight.tobytes())
    if resume:
        digest.update(_fitted_state(estimator))
    return digest.hexdigest()


def _fitted_state(estimator: Hooks) -> bytes:
    fitted = [estimator.mean_, np.float64(estimator.scale_), np.int64(estimator._n_steps)]
    weights = state_of(estimator.module_)["values"].values()
    return b"".join(value.tobytes() for value in (*fitted, *weights))


def facts_of(
    estimator: Hooks, source: DataSource, weight: NDArray, *, resume: bool, divided: bool
) -> dict[str, Any]:
    """Return what all processes of a fit have in common, by the name that users know.

    Processes that each hold a part of the samples have no samples in common.
    """
    names = getattr(estimator, "feature_names_in_", None)
    facts = {
        "estimator": type(estimator).__name__,
        **{k: fact_of(v) for k, v in parameters_of(estimator).items() if k != "device"},
        "number of features of X": source.shape[1],
        "dtype of X": source.dtype.name,
        "feature names of X": None if names is None else list(names),
        "checkpoint (whether there is one)": estimator.checkpoint is not None,
        "former fit that continues (SHA-256)": (
            hashlib.sha256(_fitted_state(estimator)).hexdigest() if resume else None
        ),
    }
    if divided:
        return facts
    some = subsample_evenly(np.arange(len(source)), N_COMPARED)
    return facts | {
        "number of samples with a weight and an observed value": len(source),
        "samples (SHA-256 of some)": digest_of(source[some]),
        "sample_weight (SHA-256 of some)": digest_of(weight[some]),
    }


def fact_of(value: Any) -> Any:
    """Return a parameter as it is if JSON can write it, or its fingerprint."""
    return value if type(value) in (str, int, float, bool, type(None)) else fingerprint(value)


def digest_of(values: NDArray) -> str:
    """Return a digest of an array."""
    return hashlib.sha256(values.tobytes()).hexdigest()


def parameters_of(estimator: Hooks) -> dict[str, Any]:
    """Return the hyperparameters on which the result of a fit depends."""
    parameters = estimator.get_params(deep=False)
    parameters = {k: v for k, v in parameters.items() if k not in NOT_OF_THE_FIT}
    if not isinstance(parameters["random_state"], Integral):
        del parameters["random_state"]  # what it drew is in the file
    # Callbacks may be anything, and change from run to run, as a progress bar does.
    further = (parameters["net_params"] or {}).items()
    parameters["net_params"] = {k: v for k, v in further if k.split("__")[0] != "callbacks"}
    return parameters


def fingerprint(value: Any) -> Any:
    """Return what JSON can write and what is the same, in any process, for equal parameters."""
    if isinstance(value, Mapping):
        return {str(k): fingerprint(value[k]) for k in sorted(value, key=str)}
    if isinstance(value, (list, tuple)):
        return [fingerprint(v) for v in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return fingerprint(value.tolist())
    if isinstance(value, partial):
        return ["partial", *map(fingerprint, (value.func, value.args, value.keywords))]
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}:{value.__qualname__}"
    kind = f"{type(value).__module__}:{type(value).__qualname__}"
    if hasattr(value, "get_params"):
        return [kind, fingerprint(value.get_params(deep=False))]
    # The representation that every object has is the address it has in this process.
    return kind if type(value).__repr__ is object.__repr__ else f"{kind} {value!r}"

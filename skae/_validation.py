"""Validation of inputs and of results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn import utils
from sklearn.utils import check_random_state

from skae._numeric_input import as_numeric
from skae._sklearn import _check_sample_weight

# scikit-learn sums the values, which warns if there are infinities of both signs.
check_array = np.errstate(invalid="ignore")(utils.check_array)


def column_name(j: int, names: NDArray | None) -> str:
    """Return a column for messages: its name if it has one, else its index."""
    return str(j) if names is None else repr(str(names[j]))


@np.errstate(invalid="ignore")
def check_sample_weight(sample_weight: ArrayLike | None, n_rows: int) -> NDArray:
    """Return the weight of each sample, in float64."""
    return _check_sample_weight(
        as_numeric(sample_weight, "sample_weight"),
        np.empty((n_rows, 1)),
        dtype=np.float64,
        ensure_non_negative=True,
    )


def binary_exponents(values: NDArray, axis: int | None = None) -> NDArray:
    """Return the exponents of the powers of two just above the largest absolute values."""
    return np.frexp(np.abs(values).max(axis=axis))[1]


def rescale_weights(weight: NDArray) -> NDArray:
    """Scale weights into (0, 1) by a power of two, which is exact."""
    return np.ldexp(weight, -binary_exponents(weight))


def weighted_mean(values: NDArray, weight: NDArray | None = None) -> NDArray:
    """Return the mean over the first axis, without overflow of large values and weights."""
    power = binary_exponents(values, axis=0)
    weights = None if weight is None else rescale_weights(weight)
    return np.ldexp(np.average(np.ldexp(values, -power), axis=0, weights=weights), power)


def as_dense(result: Any) -> NDArray:
    """Return a result, which may be a sparse matrix, as a dense array."""
    return result.toarray() if sparse.issparse(result) else np.asarray(result)


def check_finite_result(result: Any, name: str) -> Any:
    """Raise ValueError if an array or a CSR matrix is not finite; else return it."""
    finite = np.isfinite(result.data if sparse.issparse(result) else result)
    if not finite.all():
        if sparse.issparse(result):
            row = np.searchsorted(result.indptr, finite.argmin(), side="right") - 1
        else:
            row = np.flatnonzero(~finite.reshape(len(result), -1).all(axis=1))[0]
        raise ValueError(
            f"Row {row} of {name} is so far from the training rows that its result overflows "
            f"{result.dtype}; remove it or check its units."
        )
    return result


def random_state_of(seed: Any) -> np.random.RandomState:
    """Return the generator for a seed; None is a new one, not numpy's global generator."""
    return check_random_state(np.random.RandomState() if seed is None else seed)


@contextmanager
def unchanged_on_error(estimator: Any, but: tuple[str, ...] = ()) -> Iterator[None]:
    """Restore the attributes of an estimator on an error, except for those named in `but`."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        kept = {name: vars(estimator)[name] for name in but if name in vars(estimator)}
        estimator.__dict__ = before | kept
        raise


def check_count(value: Any, name: str) -> None:
    """Raise ValueError if a number, such as of draws or steps, is not a positive integer."""
    if not (isinstance(value, (int, np.integer)) and value >= 1):
        raise ValueError(f"{name} must be a positive integer; got {value!r}.")


def check_fits(shape: tuple[int, ...], name: str) -> None:
    """Raise ValueError if an array of this shape, required by `name`, exceeds the memory."""
    try:
        np.empty(shape)
    except (MemoryError, ValueError) as error:
        raise ValueError(
            f"{name}={shape[0]} requires an array of shape {shape}, which exceeds the memory; "
            f"lower {name}."
        ) from error


def check_share(value: Any, name: str) -> None:
    """Raise ValueError if a fraction or a probability is not strictly between 0 and 1."""
    if not (isinstance(value, Real) and 0 < float(value) < 1):
        raise ValueError(f"{name} must be between 0 and 1; got {value!r}.")

"""Corrections of the cells whose reconstruction is off by more than a maximum."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from skae._schema import Check, persistent
from skae._sklearn_types import BaseEstimator
from skae.compression._tables import LIMIT

MARGIN = 2.0**-10  # of the maximum, for reconstructions that differ by rounding elsewhere
TOO_SMALL = (
    "max_error is too small for values of this size in the dtype of fit; increase it, or subtract "
    "the mean of each feature in float64 before."
)


@persistent
class Tolerance(BaseEstimator):
    r"""Corrections q of reconstructions, integers.

    .. math:: q = \begin{cases} 0 & |x - \hat x| \le e \\
              \mathrm{round}((x - \hat x) / s) & \text{otherwise,} \end{cases} \qquad
              |x - (\hat x + s q)| \le e,

    with steps s of 2 e for numbers, and of 2 e + 1 for integers. For numbers, e is a little less
    than the largest error, to leave room for rounding.

    Parameters
    ----------
    max_error : ndarray of shape (d,)
        Largest error of each column.
    error : ndarray of shape (d,)
        Error of each column that is not corrected, e.
    step : ndarray of shape (d,)
        Step of each column, s.
    """

    _fitted_schema: ClassVar[dict[str, Check]] = {}
    _parameter_constraints: ClassVar[dict[str, list]] = {
        "max_error": [np.ndarray],
        "error": [np.ndarray],
        "step": [np.ndarray],
    }

    def __init__(self, max_error: NDArray, error: NDArray, step: NDArray):
        self.max_error = max_error
        self.error = error
        self.step = step

    @classmethod
    def of(
        cls, max_error: Any, is_exact: NDArray, is_category: NDArray, rounding: NDArray
    ) -> Tolerance:
        """Return the corrections for columns.

        Parameters
        ----------
        max_error : array-like of shape () or (d,)
            Largest error of each column; categories have no error whatever it is.
        is_exact, is_category : ndarray of shape (d,)
            Masks of the columns of integers or categories, and of those of categories.
        rounding : ndarray of shape (d,)
            Largest error of rounding to the dtype of each column.

        Returns
        -------
        tolerance : Tolerance

        Raises
        ------
        ValueError
            If the maximum error is not one number or one per column, is negative or not finite, or
            is not positive for a column that is not exact, or too small for its dtype.
        """
        n = len(is_exact)
        given = _as_numbers(max_error)
        if given.shape not in ((), (n,)):
            raise ValueError(
                f"max_error must be one number, or one for each of the {n} features of X; got an "
                f"array of shape {given.shape}."
            )
        largest = np.where(is_category, 0, given)
        if (largest[~is_exact] == 0).any():
            raise ValueError(
                "max_error must be positive for features that are not integers; convert X to an "
                "integer dtype for lossless compression."
            )
        largest = np.where(is_exact, np.floor(largest), largest)
        error = np.where(is_exact, largest, largest * (1 - MARGIN) - rounding)
        if (error < largest / 2).any():
            raise ValueError(TOO_SMALL)
        return cls(largest, error, 2 * error + is_exact)

    def is_valid(self, is_exact: NDArray) -> bool:
        """Whether errors and steps from a file are those of columns, integers where `is_exact`."""
        values = (self.max_error, self.error, self.step)
        if not all(v.shape == is_exact.shape and v.dtype == np.float64 for v in values):
            return False
        whole = (self.error == np.rint(self.error)) | ~is_exact
        in_order = (self.error >= 0) & (self.error <= self.max_error) & np.isfinite(self.max_error)
        steps = (self.step > 0) & (self.step == 2 * self.error + is_exact)
        return bool((whole & in_order & steps).all())

    def corrections(self, X: NDArray, X_hat: NDArray) -> NDArray:
        """Return the corrections of reconstructions, (n, d); 0 for missing values.

        Raises ValueError where they do not fit into the integers that can be coded.
        """
        difference = np.nan_to_num(X - X_hat)
        near = np.abs(difference) <= self.error
        q = np.where(near, 0, np.rint(difference / self.step))
        if (np.abs(q) >= LIMIT).any():
            raise ValueError(TOO_SMALL)
        return q.astype(np.int64)

    def check(self, X: NDArray, corrected: NDArray) -> None:
        """Raise ValueError where corrected reconstructions, (n, d), are off by more than allowed.

        The dtype of X does not represent such small differences.
        """
        if (np.abs(np.nan_to_num(X - corrected)) > self.max_error).any():
            raise ValueError(TOO_SMALL)


def _as_numbers(max_error: Any) -> NDArray:
    """Return the maximum error as an array of finite non-negative numbers."""
    try:
        given = np.asarray(max_error, dtype=np.float64)
    except (TypeError, ValueError):
        given = np.array(np.nan)
    if not (np.isfinite(given).all() and (given >= 0).all()):
        raise ValueError(f"max_error must be non-negative; got {max_error!r}.")
    return given

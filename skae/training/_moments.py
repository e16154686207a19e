"""What the table tells before training: ranges, centre, scale and principal axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from sklearn.utils.extmath import randomized_svd, svd_flip

from skae._validation import column_name, slices
from skae.training._rows import Conditioning, Rows

CHUNK_CELLS = 2**22
EXACT_UP_TO = 2048  # rows or columns; beyond, leading axes come from a truncated decomposition


@dataclass(frozen=True)
class Moments:
    """Weighted moments of the observed cells of each column, in float64."""

    low: NDArray  # (d,), NaN where nothing is observed
    high: NDArray
    mean: NDArray  # (d,), 0 where nothing is observed
    variance: NDArray  # (d,), 0 where nothing is observed

    @classmethod
    @np.errstate(over="ignore", under="ignore", invalid="ignore")
    def of(cls, X: NDArray, weight: NDArray) -> Moments:
        """Compute them in one pass, centred on the first rows against cancellation."""
        n_features = X.shape[1]
        low = np.full(n_features, np.inf)
        high = np.full(n_features, -np.inf)
        total, first, second = np.zeros((3, n_features))
        pieces = list(slices(len(X), max(1, CHUNK_CELLS // n_features)))
        head = np.asarray(X[pieces[0]], dtype=np.float64)
        known = ~np.isnan(head)
        anchor = np.where(known, head, 0).sum(0) / np.maximum(known.sum(0), 1)
        for piece in pieces:
            x = np.asarray(X[piece], dtype=np.float64)
            known = ~np.isnan(x)
            low = np.minimum(low, np.where(known, x, np.inf).min(0))
            high = np.maximum(high, np.where(known, x, -np.inf).max(0))
            w = weight[piece, None] * known
            centred = np.where(known, x - anchor, 0)
            total += w.sum(0)
            first += (w * centred).sum(0)
            second += (w * centred**2).sum(0)
        seen = total > 0
        total = np.where(seen, total, 1)
        shift = first / total
        # Rounding must not make a constant column vary.
        varies = seen & (high > low)
        return cls(
            low=np.where(seen, low, np.nan),
            high=np.where(seen, high, np.nan),
            mean=np.where(varies, anchor + shift, np.where(seen, low, 0.0)),
            variance=np.where(varies, np.maximum(second / total - shift**2, 0), 0.0),
        )

    def check_magnitude(self, dtype: np.dtype, names: NDArray | None) -> None:
        """Raise ValueError where nothing varies, or squares leave the range of X's dtype."""
        info = np.finfo(dtype)
        reach = np.fmax(np.abs(self.low), np.abs(self.high))
        j = int(np.nanargmax(reach))
        too_large, too_small = 1e-3 * np.sqrt(float(info.max)), 1e3 * np.sqrt(float(info.tiny))
        if reach[j] > too_large:
            raise ValueError(
                f"Column {column_name(j, names)} of X reaches {reach[j]:.3g}, so large that its "
                f"squares overflow {dtype}; divide X by a constant first."
            )
        spread = np.nanmax(self.high - self.low)
        if spread == 0:
            raise ValueError(
                "X is constant: no column has two different values, so there is nothing to encode; "
                "pass rows that vary."
            )
        if spread < too_small:
            raise ValueError(
                f"The values of X differ by {spread:.3g} at most, so little that their squares "
                f"vanish in {dtype}; multiply X by a constant first."
            )

    def conditioning(self) -> Conditioning:
        """Return the shift and the scale."""
        seen = ~np.isnan(self.low)
        return Conditioning(self.mean, float(np.sqrt(self.variance[seen].mean())))


def principal_axes(rows: Rows, n_components: int, random_state: np.random.RandomState) -> NDArray:
    """Return leading principal axes of conditioned rows, holes at the mean.

    Parameters
    ----------
    rows : Rows
        Centred, up to rounding.
    n_components : int
    random_state : RandomState
        Used by the truncated decomposition alone.

    Returns
    -------
    axes : ndarray of shape (k, d)
        Orthonormal, by decreasing variance, the largest entry positive; k is `n_components` or
        the rank, if that is less.
    """
    n, d = rows.x.shape
    n_components = min(n_components, n, d)
    weight = rows.weight.double().numpy()
    if d <= EXACT_UP_TO:
        covariance = np.zeros((d, d))
        for piece in slices(n, max(1, CHUNK_CELLS // d)):
            x = rows.x[piece].double().numpy()
            covariance += (x * weight[piece, None]).T @ x
        variances, axes = linalg.eigh(covariance, subset_by_index=[d - n_components, d - 1])
        variances, axes = variances[::-1], axes.T[::-1]
        noise = variances[0] * np.finfo(variances.dtype).eps * d
    else:
        x = rows.x.numpy()
        x = x * np.sqrt(weight / weight.mean())[:, None].astype(x.dtype)
        if n <= EXACT_UP_TO:
            _, s, axes = linalg.svd(x, full_matrices=False)
        else:
            _, s, axes = randomized_svd(x, n_components, n_iter=7, random_state=random_state)
        variances, axes = s[:n_components].astype(np.float64) ** 2, axes[:n_components]
        # The error of a singular value is a small multiple of the largest one's rounding.
        noise = variances[0] * (8 * np.finfo(x.dtype).eps) ** 2
    _, axes = svd_flip(None, axes[variances > noise], u_based_decision=False)
    return axes.astype(np.float64)

"""Exact integer frequency tables of the columns of an integer matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d

from skae._schema import Check, array, integer, persistent
from skae._sklearn_types import BaseEstimator
from skae._validation import check_sample_weight, rescale_weights

PRECISION = 24  # bits of a probability; that of the entropy coder
TOTAL = 2**PRECISION
LIMIT = 2**61  # of absolute values, so that differences and the ends of bins fit into 64 bits
N_OCTAVES = 62  # of distances from the exact values that occur within the limit
MAX_EXACT = 4096  # values of a column with a bin each
HALF_WINDOW = 512  # of them on each side of the centre of a column whose range is wider
SPLIT = 8  # bins of an octave within the training range
FREQUENT = 0.05  # share from which the most frequent value is the centre, otherwise the median
UNSEEN = 0.5  # pseudo-count of the values beyond the training range
PRIORS = 4.0 ** np.arange(11)  # tried pseudo-counts of the smoothed distribution


class Bins(NamedTuple):
    """Partition of the integers below `LIMIT` in absolute value into the symbols of one column.

    Attributes
    ----------
    start : ndarray of shape (n_bins,), int64
        Smallest value of each bin, in rising order.
    n_bits : ndarray of shape (n_bins,), int64
        A bin has 2**n_bits values, of equal probability.
    """

    start: NDArray
    n_bits: NDArray

    @classmethod
    def around(cls, low: int, high: int, n_fine: tuple[int, int]) -> Bins:
        """Return a bin for each of [low, high] and octaves of the distance on both sides.

        Those of the first `n_fine` octaves below and above are split into up to `SPLIT` bins.
        """
        (t_below, bits_below), (t_above, bits_above) = map(_octaves, n_fine)
        below = low + 1 - t_below - (1 << bits_below)
        exact = np.arange(low, high + 1)
        return cls(
            np.concatenate([below[::-1], exact, high + t_above]),
            np.concatenate([bits_below[::-1], np.zeros_like(exact), bits_above]),
        )

    def symbols(self, values: NDArray) -> NDArray:
        """Return the bin of each value."""
        return np.searchsorted(self.start, values, side="right") - 1


@cache  # for each of few arguments, in every search of a bin
def _octaves(n_fine: int) -> tuple[NDArray, NDArray]:
    """Return the smallest distance of each bin, and the logarithm of its number of distances."""
    distance, bits = [], []
    for octave in range(N_OCTAVES):
        n = min(2**octave, SPLIT if octave < n_fine else 1)
        width = octave - (n.bit_length() - 1)
        distance += [2**octave + i * 2**width for i in range(n)]
        bits += [width] * n
    result = np.array(distance), np.array(bits)
    for values in result:
        values.flags.writeable = False  # shared by all calls
    return result


def check_codes(indices: ArrayLike, n_columns: int | None = None) -> NDArray:
    """Return a matrix of integers as int64, or raise ValueError."""
    values = np.asarray(indices)
    if values.ndim != 2 or values.dtype.kind not in "iu":
        raise ValueError(
            f"Codes must be a matrix of integers; got an array of shape {values.shape} and dtype "
            f"{values.dtype}."
        )
    if values.shape[1] != (n_columns or values.shape[1]):
        raise ValueError(f"Codes must have {n_columns} columns; got {values.shape[1]}.")
    if values.size and not (int(values.min()) > -LIMIT and int(values.max()) < LIMIT):
        raise ValueError("Codes must be below 2**61 in absolute value; scale them down.")
    return values.astype(np.int64, copy=False)


@persistent
class CodeTables(BaseEstimator):
    r"""Integer probabilities of the values in each column of an integer matrix.

    The integers are divided into bins: one for each of up to `MAX_EXACT` values, and beyond these
    bins of :math:`2^b` values whose width grows with the distance. A value of bin s costs

    .. math:: 24 - \log_2 f_s + b_s

    bits, where the frequencies :math:`f_s \ge 1` of a column sum to :math:`2^{24}`. Every value
    below :math:`2^{61}` in absolute value thus has a code.

    Frequencies are :math:`2^{24} p_s` but for rounding, with the probabilities

    .. math:: p_s = \frac{1}{n + 1/2} \left(
        e_s + m \frac{c_s + \alpha q_s}{m + \alpha} + \frac{r_s}{2} \right)

    of n training rows. Their counts in bins are :math:`e_s + c_s`; e is what the most frequent bin
    has more than the second one, such as zeros of a sparse column, and m is the sum of c. The
    distribution q is c after smoothing by a Gaussian kernel; its width and its weight
    :math:`\alpha` minimise the leave-one-out code length. The distribution r halves from bin to
    bin outside of the training range.

    Attributes
    ----------
    n_columns_ : int
        Number of columns, k.
    low_, high_ : ndarray of shape (k,), int64
        Smallest and largest value with a bin of its own.
    n_fine_ : ndarray of shape (k, 2), int64
        Number of octaves below and above that are split into several bins.
    frequency_ : ndarray of uint32
        Frequencies of all bins, column after column.
    """

    _fitted_schema: ClassVar[dict[str, Check]] = {
        "n_columns_": integer(1),
        "low_": array("i", "n_columns_"),
        "high_": array("i", "n_columns_"),
        "n_fine_": array("i", "n_columns_", 2),
        "frequency_": array("u", None),
    }

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        if "low_" not in state:
            return
        low, high = state["low_"].astype(np.int64), state["high_"].astype(np.int64)
        n_fine, frequency = state["n_fine_"], state["frequency_"]
        if not ((low > -LIMIT) & (low <= high) & (high < LIMIT)).all():
            raise ValueError("the ranges of CodeTables are not valid")
        if not (high - low < MAX_EXACT).all() or not ((n_fine >= 0) & (n_fine <= N_OCTAVES)).all():
            raise ValueError("the ranges of CodeTables are too wide")
        sizes = _n_bins(low, high, n_fine)
        if len(frequency) != sizes.sum() or not ((frequency > 0) & (frequency < TOTAL)).all():
            raise ValueError("the frequencies of CodeTables are not valid")
        sums = np.add.reduceat(frequency.astype(np.int64), np.cumsum(sizes) - sizes)
        if not (sums == TOTAL).all():
            raise ValueError(f"the frequencies of CodeTables do not sum to 2**{PRECISION}")

    def fit(self, indices: ArrayLike, weight: ArrayLike | None = None) -> Self:
        """Learn the tables from the rows whose weight is positive.

        Parameters
        ----------
        indices : array-like of shape (n, k), integers
            Values below 2**61 in absolute value.
        weight : array-like of shape (n,) or None
            Relative weight of each row; they count as (sum w)**2 / sum w**2 rows.

        Returns
        -------
        self : CodeTables

        Raises
        ------
        ValueError
            If `indices` is no such matrix, or no row has a positive weight.
        """
        values = check_codes(indices)
        if values.size == 0:
            raise ValueError("CodeTables requires a row and a column at least.")
        w = check_sample_weight(weight, len(values))
        used = w > 0
        w = rescale_weights(w[used])
        w *= w.sum() / (w**2).sum()  # now of a sum that is the effective number of rows
        fitted = [_fit_column(column, w) for column in np.ascontiguousarray(values[used].T)]
        self.n_columns_ = len(fitted)
        self.low_, self.high_ = np.array([(low, high) for low, high, _, _ in fitted]).T.copy()
        self.n_fine_ = np.array([n_fine for _, _, n_fine, _ in fitted])
        self.frequency_ = np.concatenate([frequency for *_, frequency in fitted])
        return self

    def columns(self) -> Iterator[tuple[Bins, NDArray]]:
        """Yield the bins of each column and their frequencies, int64."""
        sizes = _n_bins(self.low_, self.high_, self.n_fine_)
        parts = np.split(self.frequency_.astype(np.int64), np.cumsum(sizes)[:-1])
        ranges = zip(self.low_.tolist(), self.high_.tolist(), self.n_fine_.tolist(), strict=True)
        for (low, high, n_fine), frequency in zip(ranges, parts, strict=True):
            yield Bins.around(low, high, n_fine), frequency

    def bits(self, indices: ArrayLike) -> NDArray:
        """Return the cost of each value in bits.

        Parameters
        ----------
        indices : array-like of shape (n, k), integers
            Values below 2**61 in absolute value.

        Returns
        -------
        bits : ndarray of shape (n, k), float64
            Those of a whole matrix sum to its code length up to 64 bits and rounding.

        Raises
        ------
        ValueError
            If `indices` is no such matrix.
        """
        values = check_codes(indices, self.n_columns_)
        cost = np.empty(values.shape)
        for j, (bins, frequency) in enumerate(self.columns()):
            per_bin = PRECISION - np.log2(frequency) + bins.n_bits
            cost[:, j] = per_bin[bins.symbols(values[:, j])]
        return cost


def _n_bins(low: NDArray, high: NDArray, n_fine: NDArray) -> NDArray:
    """Return the number of bins of each column."""
    per_side = np.array([len(_octaves(n)[0]) for n in range(N_OCTAVES + 1)])
    return high.astype(np.int64) - low + 1 + per_side[n_fine].sum(1)


def _fit_column(values: NDArray, w: NDArray) -> tuple[int, int, tuple[int, int], NDArray]:
    """Return the smallest and largest exact value, the fine octaves and the frequencies."""
    least, most = int(values.min()), int(values.max())
    low, high = least, most
    if most - least >= MAX_EXACT:
        centre = _centre(values, w)
        low, high = max(least, centre - HALF_WINDOW), min(most, centre + HALF_WINDOW)
    n_fine = (low - least).bit_length(), (most - high).bit_length()
    bins = Bins.around(low, high, n_fine)
    counts = np.bincount(bins.symbols(values), weights=w, minlength=len(bins.start))
    used = np.flatnonzero(counts)
    i = np.arange(len(counts))
    outside = np.clip(np.maximum(used[0] - i, i - used[-1]), 0, N_OCTAVES)
    prior = np.where(outside > 0, 0.5**outside, 1 / (used[-1] - used[0] + 1))
    return low, high, n_fine, _frequencies(_smoothed(counts, prior / prior.sum()))


def _centre(values: NDArray, w: NDArray) -> int:
    """Return the most frequent value if it is frequent, otherwise the median."""
    distinct, inverse = np.unique(values, return_inverse=True)
    share = np.bincount(inverse, weights=w) / w.sum()
    i = share.argmax() if share.max() > FREQUENT else np.searchsorted(share.cumsum(), 0.5)
    return int(distinct[i])


def _smoothed(counts: NDArray, prior: NDArray) -> NDArray:
    """Return the probabilities whose leave-one-out code length is shortest among those tried."""
    n = counts.sum()
    unseen = UNSEEN / (n + UNSEEN) * prior
    smooth = np.minimum(counts, np.sort(counts)[-2])  # zeros of a sparse column have no neighbours
    m, spike = smooth.sum(), counts - smooth
    used = np.flatnonzero(counts)
    rest = np.maximum(smooth[used] - 1, 0)
    shortest, best = np.inf, counts
    for width in 2.0 ** np.arange(-1, np.log2(max(used[-1] - used[0], 2)) - 1):
        q = gaussian_filter1d(smooth, width, mode="constant") / max(m, 1)
        others = np.maximum(m * q[used] - _peak(width), 0) / max(m - 1, 1)
        for alpha in PRIORS:
            p = spike[used] + m * (rest + alpha * others) / (max(m - 1, 0) + alpha)
            length = -(counts[used] * np.log(p / (n + UNSEEN) + unseen[used])).sum()
            if length < shortest:
                shortest, best = length, spike + m * (smooth + alpha * q) / (m + alpha)
    p = best / best.sum() * n / (n + UNSEEN) + unseen
    return p / p.sum()


def _peak(width: float) -> float:
    """Return what one row adds to its own bin when counts are smoothed."""
    impulse = np.zeros(2 * int(5 * width) + 3)
    impulse[len(impulse) // 2] = 1
    return gaussian_filter1d(impulse, width, mode="constant").max()


def _frequencies(p: NDArray) -> NDArray:
    """Return integers of at least 1 that are proportional to p but for rounding, of sum TOTAL."""
    frequency = (p * (TOTAL - len(p))).astype(np.int64) + 1
    frequency[p.argmax()] += TOTAL - frequency.sum()
    return frequency.astype(np.uint32)

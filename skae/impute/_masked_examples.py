"""Rows with masked values, which the imputation network learns to predict."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from skae.tables import ColumnGroups

MASKED_FRACTION = (0.05, 0.6)  # of a row's observed values, smallest and largest
MAX_EXAMPLE_CELLS = 2**21
MAX_COPIES = 64  # of a row


class MaskedExamples(NamedTuple):
    """Rows some of whose observed values are masked: what is seen of them, and what is hidden.

    Attributes
    ----------
    filled : ndarray of shape (n, d)
        The values that are seen, and the others' conditional means given these.
    seen : ndarray of shape (n, d)
        1 where a value is seen, 0 where it is masked or missing.
    target : ndarray of shape (n, d)
        The masked values, NaN elsewhere.
    weight : ndarray of shape (n,)
        Weights of the rows.
    """

    filled: NDArray
    seen: NDArray
    target: NDArray
    weight: NDArray

    @classmethod
    def of(
        cls,
        Z: NDArray,
        weight: NDArray,
        groups: ColumnGroups,
        fill: Callable[[NDArray], NDArray],
        n_copies: int,
        rng: np.random.RandomState,
    ) -> Self:
        """Mask copies of rows with NaN for missing values; `fill` returns conditional means."""
        low, high = MASKED_FRACTION
        filled, seen, target = np.empty((3, n_copies, *Z.shape), np.float32)
        for i in range(n_copies):
            fraction = rng.uniform(low, high, size=(len(Z), 1))
            masked = rng.uniform(size=Z.shape)[:, groups.group_start] < fraction
            rows = np.where(masked, np.nan, Z)
            filled[i], seen[i], target[i] = fill(rows), ~np.isnan(rows), np.where(masked, Z, np.nan)
        shape = -1, Z.shape[1]
        weights = np.tile(weight, n_copies)
        return cls(filled.reshape(shape), seen.reshape(shape), target.reshape(shape), weights)

    def followed_by(self, others: MaskedExamples) -> MaskedExamples:
        """Return these examples and others."""
        return MaskedExamples(*(np.concatenate(both) for both in zip(self, others, strict=True)))

    def table(self) -> NDArray:
        """Return filled, seen and target side by side, (n, 3 d)."""
        return np.hstack([self.filled, self.seen, self.target])


def copies(n_rows: int, n_features: int, at_most: int) -> int:
    """Return how often rows are masked, so that all copies have `MAX_EXAMPLE_CELLS` cells."""
    return int(np.clip(MAX_EXAMPLE_CELLS // (n_rows * n_features), 1, at_most))

"""Groups of adjacent columns that encode one variable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skae._schema import array


class ColumnGroups(NamedTuple):
    """Partition of columns into runs: one column of a number, one per category otherwise.

    Attributes
    ----------
    group_start : ndarray of shape (d,)
        For each column, the index of the first column of its group.
    """

    group_start: NDArray

    @property
    def starts(self) -> NDArray:
        """First column of each group."""
        return np.unique(self.group_start)

    @property
    def sizes(self) -> NDArray:
        """Number of columns of each group."""
        return np.unique(self.group_start, return_counts=True)[1]

    @property
    def is_grouped(self) -> NDArray:
        """Mask of the columns whose group has several columns."""
        return self.spread(self.sizes) > 1

    def slices(self) -> Iterator[slice]:
        """Yield the columns of each group."""
        for start, size in zip(self.starts.tolist(), self.sizes.tolist(), strict=True):
            yield slice(start, start + size)

    def spread(self, values: NDArray) -> NDArray:
        """Repeat values of groups, the last axis, for each of their columns."""
        return np.repeat(values, self.sizes, axis=-1)

    def sum(self, values: NDArray) -> NDArray:
        """Return the sums of values, (n, d), over the columns of each group, (n, n_groups)."""
        return np.add.reduceat(values, self.starts, axis=1)

    def mean(self, values: NDArray) -> NDArray:
        """Replace values, (n, d), by their means over the columns of each group."""
        return self.spread(self.sum(values) / self.sizes)

    def select(self, kept: NDArray) -> ColumnGroups:
        """Return the groups of a subset of the columns, given as a mask of whole groups."""
        return ColumnGroups((np.cumsum(kept) - 1)[self.group_start[kept]])


def is_grouping(group_start: Any, length: int) -> bool:
    """Whether an array is the `group_start` of that many columns."""
    if not array("iu", length)(group_start, {}):
        return False
    starts = group_start == np.arange(length)
    return np.array_equal(group_start, np.maximum.accumulate(np.where(starts, group_start, 0)))

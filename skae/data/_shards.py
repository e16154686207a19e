"""Tables in several arrays, such as the files of a data set, which are read in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skae._numeric_input import as_numeric, is_plain


class Shards:
    """Arrays with the same columns, one below the other, of which rows are read when indexed.

    Parameters
    ----------
    arrays : sequence of ndarray of shape (n_i, d)
        Arrays and memory maps of numbers, which are not copied.

    Raises
    ------
    ValueError
        If they are not all two-dimensional, or differ in the number of columns or in dtype.
    """

    ndim = 2

    def __init__(self, arrays: Sequence[Any]):
        for i, array in enumerate(arrays):
            _check_shard(i, array, first=arrays[0])
        self.arrays = [
            array if is_plain(array) else as_numeric(array, f"X[{i}]")
            for i, array in enumerate(arrays)
        ]
        dtypes = {array.dtype for array in self.arrays}
        # Those of masked integers become floats.
        self.dtype = dtypes.pop() if len(dtypes) == 1 else np.result_type(*dtypes)
        ends = np.cumsum([len(array) for array in self.arrays])
        self.starts = np.append(0, ends[:-1])
        self.shape = (int(ends[-1]), self.arrays[0].shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NDArray:
        """Return rows, by a slice or by indices; or some of their columns, ``[rows, columns]``."""
        rows, columns = index if isinstance(index, tuple) else (index, slice(None))
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(len(self))
            parts = [
                array[max(start - first, 0) : max(stop - first, 0), columns]
                for first, array in zip(self.starts, self.arrays, strict=True)
                if first < stop and start < first + len(array)
            ]
            if len(parts) == 1:
                return parts[0]
            return np.concatenate(parts or [self.arrays[0][:0, columns]], dtype=self.dtype)
        width = len(range(*columns.indices(self.shape[1])))
        result = np.empty((len(rows), width), dtype=self.dtype)
        shard = np.searchsorted(self.starts, rows, side="right") - 1
        for i in np.unique(shard):
            of_shard = shard == i
            result[of_shard] = self.arrays[i][rows[of_shard] - self.starts[i], columns]
        return result


def _check_shard(i: int, array: Any, first: Any) -> None:
    """Raise ValueError if an array cannot be below the first one."""
    if not (isinstance(array, np.ndarray) and array.ndim == 2):
        shape = f"an array of shape {array.shape}" if isinstance(array, np.ndarray) else ""
        raise ValueError(
            f"X[{i}] is {shape or f'a {type(array).__name__}'}, but the parts of a table in a list "
            "must all be 2-D arrays or memory maps; convert it."
        )
    if i and array.shape[1] != first.shape[1]:
        raise ValueError(
            f"X[{i}] has {array.shape[1]} columns, but X[0] has {first.shape[1]}; the parts of a "
            "table in a list must have the same columns."
        )
    if i and array.dtype != first.dtype:
        raise ValueError(
            f"X[{i}] has dtype {array.dtype}, but X[0] has {first.dtype}; the parts of a table in "
            "a list must have one dtype, so convert one of them."
        )

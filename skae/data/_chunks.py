"""Chunks of the rows of a table: what is in memory at one time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

MAX_CHUNK_SIZE = 2**22  # cells of a chunk
MAX_CHUNK_ROWS = 4096


def gen_chunks(n_rows: int, n_features: int) -> Iterator[slice]:
    """Cut the rows of a table into pieces of a few million cells."""
    return gen_slices(n_rows, min(MAX_CHUNK_ROWS, max(1, MAX_CHUNK_SIZE // n_features)))


def concatenate_chunks(n_rows: int, answers: Iterable[NDArray]) -> NDArray:
    """Join the answers for consecutive pieces of rows.

    Each is copied and let go: small answers that are kept between large pieces would keep the
    memory of those from being used again, until it is as large as the table.
    """
    whole, start = np.empty(0), 0
    for answer in answers:
        if not start:
            whole = np.empty((n_rows, *answer.shape[1:]), dtype=answer.dtype)
        whole[start : start + len(answer)] = answer
        start += len(answer)
    return whole


def subsample_evenly(index: NDArray, n: int) -> NDArray:
    """Return n of the indices at most, evenly spaced."""
    return index if len(index) <= n else index[np.linspace(0, len(index) - 1, n).astype(int)]


def gen_slices(n_rows: int, size: int) -> Iterator[slice]:
    """Cut ``range(n_rows)`` into pieces of at most `size` rows."""
    return (slice(start, start + size) for start in range(0, n_rows, size))

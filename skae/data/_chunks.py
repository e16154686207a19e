"""Chunks of rows, which limit the memory that is used at one time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

MAX_CHUNK_SIZE = 2**22  # cells
MAX_CHUNK_ROWS = 4096


def gen_chunks(n_rows: int, n_features: int) -> Iterator[slice]:
    """Generate slices of rows of at most a few million cells each."""
    return gen_slices(n_rows, min(MAX_CHUNK_ROWS, max(1, MAX_CHUNK_SIZE // n_features)))


def concatenate_chunks(n_rows: int, chunks: Iterable[NDArray]) -> NDArray:
    """Concatenate results for consecutive chunks of rows.

    Each chunk is copied and released at once: small results that are kept between large temporary
    arrays fragment the memory, which then grows to the size of the whole table.
    """
    whole, start = np.empty(0), 0
    for chunk in chunks:
        if not start:
            whole = np.empty((n_rows, *chunk.shape[1:]), dtype=chunk.dtype)
        whole[start : start + len(chunk)] = chunk
        start += len(chunk)
    return whole


def subsample_evenly(index: NDArray, n: int) -> NDArray:
    """Return at most n of the indices, evenly spaced."""
    return index if len(index) <= n else index[np.linspace(0, len(index) - 1, n).astype(int)]


def gen_slices(n_rows: int, size: int) -> Iterator[slice]:
    """Generate slices of at most `size` rows."""
    return (slice(start, start + size) for start in range(0, n_rows, size))

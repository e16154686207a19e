"""Exact nearest neighbors by Hamming distance of packed binary codes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from skae.data import gen_slices

WORD = 8  # bytes that are compared at a time
MAX_CHUNK_CODES = 2**16  # 512 kB for each word, which the cache of a core holds
N_GROUPS = 256  # at least; of distances, whose minima bound the k-th smallest distance


def pack(codes: NDArray) -> NDArray:
    """Return codes of two values, (n, n_bits), as bits of bytes, (n, ceil(n_bits / 8))."""
    return np.packbits(codes > 0, axis=1)


def kneighbors(
    stored: NDArray, queries: NDArray, k: int, exclude_self: bool = False
) -> tuple[NDArray, NDArray]:
    """Return the k nearest stored codes of each query.

    Parameters
    ----------
    stored, queries : ndarray of uint8 of shape (n, n_bytes)
        Packed codes.
    k : int
        At most the number of stored codes.
    exclude_self : bool, default=False
        Whether query i is stored code i, which is not among its own neighbors.

    Returns
    -------
    distances : ndarray of shape (n_queries, k)
        Numbers of bits that differ, in ascending order.
    indices : ndarray of shape (n_queries, k)
        Of equal distances, the lower index is first.
    """
    nearest = np.empty((len(queries), 0), dtype=np.uint8)
    indices = np.empty((len(queries), 0), dtype=np.intp)
    for start, distances in _gen_distances(stored, queries, exclude_self):
        found = []
        for distance in distances:
            index = _smallest(distance, k)
            found.append((distance[index], index + start))
        of_chunk = [np.stack(part) for part in zip(*found, strict=True)]
        nearest = np.concatenate([nearest, of_chunk[0]], axis=1)
        indices = np.concatenate([indices, of_chunk[1]], axis=1)
        order = np.argsort(nearest, axis=1, kind="stable")[:, :k]
        nearest = np.take_along_axis(nearest, order, axis=1)
        indices = np.take_along_axis(indices, order, axis=1)
    return nearest.astype(np.float64), indices


def radius_neighbors(
    stored: NDArray, queries: NDArray, radius: float, exclude_self: bool = False
) -> tuple[list[NDArray], list[NDArray]]:
    """Return the distances and indices of all stored codes within a radius of each query."""
    nearest: list[list[NDArray]] = [[] for _ in queries]
    indices: list[list[NDArray]] = [[] for _ in queries]
    within = int(min(radius, 8 * stored.shape[1]))
    for start, distances in _gen_distances(stored, queries, exclude_self):
        for q, distance in enumerate(distances):
            index = np.flatnonzero(distance <= within)
            nearest[q].append(distance[index])
            indices[q].append(index + start)
    joined = [(np.concatenate(d), np.concatenate(i)) for d, i in zip(nearest, indices, strict=True)]
    orders = [np.argsort(d, kind="stable") for d, _ in joined]
    return (
        [d[order].astype(np.float64) for (d, _), order in zip(joined, orders, strict=True)],
        [i[order] for (_, i), order in zip(joined, orders, strict=True)],
    )


def _gen_distances(
    stored: NDArray, queries: NDArray, exclude_self: bool
) -> Iterator[tuple[int, Iterator[NDArray]]]:
    """Yield, for each chunk of stored codes, its start and the distances of each query to it."""
    words = _words(queries).T
    for chunk in gen_slices(len(stored), MAX_CHUNK_CODES):
        own = -chunk.start if exclude_self else None
        yield chunk.start, _distances(_words(stored[chunk]), words, own)


def _distances(stored: NDArray, queries: NDArray, own: int | None) -> Iterator[NDArray]:
    """Yield the distances of each query to stored codes, in an array that is used again.

    Parameters
    ----------
    stored : ndarray of uint64 of shape (n_words, n)
    queries : ndarray of uint64 of shape (n_queries, n_words)
    own : int or None
        Position of the first query among the stored codes. The distance of a query to itself is
        larger than any other.
    """
    n_words, n = stored.shape
    dtype = np.min_scalar_type(64 * n_words + 1)
    differing, count = np.empty(n, dtype=np.uint64), np.empty(n, dtype=np.uint8)
    distance = np.empty(n, dtype=dtype)
    for q, query in enumerate(queries):
        distance.fill(0)
        for word, of_query in zip(stored, query, strict=True):
            np.bitwise_xor(word, of_query, out=differing)
            np.bitwise_count(differing, out=count)
            np.add(distance, count, out=distance)
        if own is not None and 0 <= q + own < n:
            distance[q + own] = np.iinfo(dtype).max
        yield distance


def _words(packed: NDArray) -> NDArray:
    """Return packed codes as words of 64 bits, (n_words, n), padded by zeros."""
    n, n_bytes = packed.shape
    if n_bytes % WORD:
        padded = np.zeros((n, n_bytes + -n_bytes % WORD), dtype=np.uint8)
        padded[:, :n_bytes] = packed
        packed = padded
    return np.ascontiguousarray(np.ascontiguousarray(packed).view(np.uint64).T)


def _smallest(distance: NDArray, k: int) -> NDArray:
    """Return the indices of the k smallest values in ascending order, or of all if they are fewer.

    At least k of the values are at most as large as the k-th smallest of the minima of groups of
    them, which leaves few values to sort. Sorting is stable, so that ties are in order of index.
    """
    n_groups = max(N_GROUPS, 4 * k)
    size = len(distance) // n_groups
    if size < 2:
        return np.argsort(distance, kind="stable")[:k]
    minima = distance[: size * n_groups].reshape(size, n_groups).min(axis=0)
    index = np.flatnonzero(distance <= np.partition(minima, k - 1)[k - 1])
    return index[np.argsort(distance[index], kind="stable")[:k]]

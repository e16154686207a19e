"""Nearest neighbors and their graphs, given the codes of stored samples."""

from __future__ import annotations

from abc import abstractmethod
from numbers import Real
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from skae._sklearn import _align_api_if_sparse
from skae._validation import check_count, check_finite_result
from skae.data import MAX_CHUNK_SIZE, DataSource, gen_slices, read_source
from skae.retrieval import _hamming


class NeighborSearch:
    """Queries of stored samples, of an estimator that has these attributes."""

    n_neighbors: int
    radius: float
    rerank: int | None
    mode: str
    codes_: NDArray
    rows_: NDArray | None
    _index: Any  # NearestNeighbors of codes that are not packed bits

    @property
    def n_samples_fit_(self) -> int:
        """Number of stored samples."""
        return len(self.codes_)

    @abstractmethod
    def _codes_of(self, source: DataSource) -> NDArray:
        """Return the codes of samples, in the format of ``codes_``."""

    @abstractmethod
    def _rows_of(self, source: DataSource) -> NDArray:
        """Return samples with reconstructions in the place of missing values."""

    def encode(self, X: ArrayLike) -> NDArray:
        """Return the codes of samples in the format of ``codes_``, as queries of other indexes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples. NaN marks a missing value.

        Returns
        -------
        codes : ndarray of shape (n_samples, ceil(n_bits / 8)) or (n_samples, n_components)
            Packed bits (uint8), or codes in the dtype of ``codes_``.
        """
        check_is_fitted(self)
        return self._queries(read_source(self, X, reset=False))

    def _queries(self, source: DataSource) -> NDArray:
        """Return the codes of samples in the dtype of those that are stored."""
        return self._codes_of(source).astype(self.codes_.dtype, copy=False)

    def kneighbors(
        self,
        X: ArrayLike | None = None,
        n_neighbors: int | None = None,
        return_distance: bool = True,
    ) -> Any:
        """Find the nearest stored samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_queries, n_features), default=None
            Queries. NaN marks a missing value. If None, the stored samples, each of which is then
            not among its own neighbors.
        n_neighbors : int, default=None
            Number of neighbors. If None, that of the constructor.
        return_distance : bool, default=True
            Whether to return distances.

        Returns
        -------
        distances : ndarray of shape (n_queries, n_neighbors)
            Distances, in ascending order: numbers of bits that differ if codes are binary,
            Euclidean distances of codes otherwise, and those of samples with ``rerank``. Only if
            `return_distance` is True.
        indices : ndarray of int of shape (n_queries, n_neighbors)
            Indices of the stored samples. Of equal Hamming distances, the lower index is first.

        Raises
        ------
        ValueError
            If fewer samples are stored or re-ranked than are asked for, if X has other features, or
            if it contains infinity.
        """
        check_is_fitted(self)
        k = self._checked_count(n_neighbors, self.n_samples_fit_ - (X is None))
        source = None if X is None else read_source(self, X, reset=False)
        queries = None if source is None else self._queries(source)
        if self.rerank is None:
            distances, indices = self._nearest_codes(queries, k)
        else:
            n_candidates = min(self.rerank, self.n_samples_fit_ - (X is None))
            candidates = self._nearest_codes(queries, n_candidates)[1]
            stored = cast(NDArray, self.rows_)
            rows = stored if source is None else self._rows_of(source)
            distances, indices = nearest_rows(stored, rows, candidates, k)
        return (distances, indices) if return_distance else indices

    def radius_neighbors(
        self, X: ArrayLike | None = None, radius: float | None = None, return_distance: bool = True
    ) -> Any:
        """Find all stored samples whose codes are within a radius.

        ``rerank`` has no effect here.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_queries, n_features), default=None
            Queries. NaN marks a missing value. If None, the stored samples, each of which is then
            not among its own neighbors.
        radius : float, default=None
            Largest distance of codes. If None, that of the constructor.
        return_distance : bool, default=True
            Whether to return distances.

        Returns
        -------
        distances : ndarray of object of shape (n_queries,)
            An array for each query: the distances of the codes, in ascending order. Only if
            `return_distance` is True.
        indices : ndarray of object of shape (n_queries,)
            An array for each query: the indices of the stored samples. Of equal Hamming distances,
            the lower index is first.

        Raises
        ------
        ValueError
            If the radius is not a number of at least 0, if X has other features, or if it contains
            infinity.
        """
        check_is_fitted(self)
        radius = self.radius if radius is None else radius
        if not (isinstance(radius, Real) and float(radius) >= 0):
            raise ValueError(f"radius must be a number of at least 0; got {radius!r}.")
        queries = None if X is None else self.encode(X)
        if self._index is not None:
            found = self._index.radius_neighbors(queries, float(radius), sort_results=True)
        else:
            found = _hamming.radius_neighbors(
                self.codes_,
                self.codes_ if queries is None else queries,
                float(radius),
                exclude_self=queries is None,
            )
        distances, indices = map(_as_objects, found)
        return (distances, indices) if return_distance else indices

    def kneighbors_graph(
        self, X: ArrayLike | None = None, n_neighbors: int | None = None, mode: str = "connectivity"
    ) -> Any:
        """Compute the graph of the nearest stored samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_queries, n_features), default=None
            Queries. NaN marks a missing value. If None, the stored samples, each of which is then
            not among its own neighbors.
        n_neighbors : int, default=None
            Number of neighbors. If None, that of the constructor.
        mode : {'connectivity', 'distance'}, default='connectivity'
            Whether edges have the weight 1 or the distance.

        Returns
        -------
        graph : sparse matrix of shape (n_queries, n_stored), in CSR format
            Weight of the edge from query i to stored sample j.
        """
        distances, indices = self.kneighbors(X, n_neighbors)
        return graph_of(distances, indices, mode, self.n_samples_fit_)

    def radius_neighbors_graph(
        self, X: ArrayLike | None = None, radius: float | None = None, mode: str = "connectivity"
    ) -> Any:
        """Compute the graph of the stored samples whose codes are within a radius.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_queries, n_features), default=None
            Queries. NaN marks a missing value. If None, the stored samples, each of which is then
            not among its own neighbors.
        radius : float, default=None
            Largest distance of codes. If None, that of the constructor.
        mode : {'connectivity', 'distance'}, default='connectivity'
            Whether edges have the weight 1 or the distance.

        Returns
        -------
        graph : sparse matrix of shape (n_queries, n_stored), in CSR format
            Weight of the edge from query i to stored sample j.
        """
        distances, indices = self.radius_neighbors(X, radius)
        return graph_of(distances, indices, mode, self.n_samples_fit_)

    def transform(self, X: ArrayLike) -> Any:
        """Compute the graph of the nearest stored samples, for estimators that take it.

        As with `sklearn.neighbors.KNeighborsTransformer`, the result can be the input of
        ``KNeighborsClassifier(metric="precomputed")`` and of other estimators that take distances.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_queries, n_features)
            Queries. NaN marks a missing value.

        Returns
        -------
        graph : sparse matrix of shape (n_queries, n_stored), in CSR format
            Distances to the ``n_neighbors + 1`` nearest stored samples, as a stored sample counts
            itself; with ``mode="connectivity"``, ones for the ``n_neighbors`` nearest.
        """
        check_is_fitted(self)
        n_neighbors = self.n_neighbors + (self.mode == "distance")
        return self.kneighbors_graph(X, n_neighbors, self.mode)

    def _nearest_codes(self, queries: NDArray | None, k: int) -> tuple[NDArray, NDArray]:
        """Return distances and indices of the k nearest stored codes; None is the stored ones."""
        if self._index is not None:
            return self._index.kneighbors(queries, k)
        if queries is None:
            return _hamming.kneighbors(self.codes_, self.codes_, k, exclude_self=True)
        return _hamming.kneighbors(self.codes_, queries, k)

    def _checked_count(self, n_neighbors: int | None, n_available: int) -> int:
        """Return the number of neighbors to find among so many samples, or raise ValueError."""
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        check_count(k, "n_neighbors")
        if k > n_available:
            raise ValueError(
                f"n_neighbors={k}, but only {n_available} of the n_samples = "
                f"{self.n_samples_fit_} stored samples can be neighbors; lower n_neighbors or add "
                "samples."
            )
        if self.rerank is not None and k > self.rerank:
            raise ValueError(
                f"n_neighbors={k} is more than rerank={self.rerank}, the number of samples that "
                "they are chosen from; raise rerank."
            )
        if self.rerank is not None and self.rows_ is None:
            raise ValueError(
                f"rerank={self.rerank} needs the stored samples, but fit had rerank=None and "
                "stored their codes only; fit again."
            )
        return k


def nearest_rows(
    stored: NDArray, rows: NDArray, candidates: NDArray, k: int
) -> tuple[NDArray, NDArray]:
    """Return the Euclidean distances and indices of the k nearest candidates of each row."""
    distances = np.empty(candidates.shape)
    size = max(1, MAX_CHUNK_SIZE // max(1, candidates.shape[1] * rows.shape[1]))
    with np.errstate(over="ignore"):
        for chunk in gen_slices(len(rows), size):
            near = np.asarray(stored[candidates[chunk]], dtype=np.float64)
            distances[chunk] = np.linalg.norm(near - rows[chunk, None], axis=2)
    order = np.argsort(check_finite_result(distances, "X"), axis=1, kind="stable")[:, :k]
    return (
        np.take_along_axis(distances, order, axis=1),
        np.take_along_axis(candidates, order, axis=1),
    )


def graph_of(distances: NDArray, indices: NDArray, mode: str, n_stored: int) -> Any:
    """Return the neighbors of each query as a sparse matrix."""
    if mode not in ("connectivity", "distance"):
        raise ValueError(f"mode must be 'connectivity' or 'distance'; got {mode!r}.")
    ends = np.concatenate([[0], np.cumsum([len(found) for found in indices])])
    data = np.concatenate(list(distances)) if len(distances) else np.empty(0)
    data = data if mode == "distance" else np.ones_like(data)
    graph = sparse.csr_array(
        (data, np.concatenate(list(indices)), ends), shape=(len(indices), n_stored)
    )
    return _align_api_if_sparse(graph)


def _as_objects(arrays: Any) -> NDArray:
    """Return arrays of different lengths in one array of objects."""
    result = np.empty(len(arrays), dtype=object)
    for i, array in enumerate(arrays):
        result[i] = array
    return result

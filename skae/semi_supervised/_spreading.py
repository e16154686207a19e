"""Spreading of labels over the graph of neighbouring codes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import cg
from sklearn.neighbors import NearestNeighbors

ALPHA = 0.99  # fraction of a label's influence that comes from the neighbours
TOLERANCE = 1e-4  # of the solution, relative


class NeighborGraph:
    r"""Graph of the nearest neighbours of each code, with label spreading (Zhou et al. 2004).

    .. math:: w_{ij} = \exp(-4 d_{ij}^2 / d_{ik}^2), \qquad
              F = (1 - \alpha) (I - \alpha D^{-1/2} W D^{-1/2})^{-1} Y

    where :math:`d_{ik}` is the distance to the k-th neighbour, W the weights made symmetric, and D
    their sums.

    Parameters
    ----------
    codes : ndarray of shape (n, n_components)
    n_neighbors : int
    """

    def __init__(self, codes: NDArray, n_neighbors: int):
        n = len(codes)
        k = min(n_neighbors + 1, n)  # the first neighbour is the code itself
        distance, index = NearestNeighbors(n_neighbors=k).fit(codes).kneighbors(codes)
        radius = np.maximum(distance[:, -1:], np.finfo(codes.dtype).tiny)
        weight = np.exp(-4 * (distance / radius) ** 2).ravel().astype(np.float64)
        rows = np.repeat(np.arange(n), k)
        away = index.ravel() != rows
        shape = (n, n)
        W = sparse.csr_array((weight[away], (rows[away], index.ravel()[away])), shape=shape)
        W = (W + W.T) / 2
        degree = np.maximum(W.sum(axis=1), np.finfo(np.float64).tiny)
        scale = sparse.diags_array(degree**-0.5)
        self.system = sparse.csr_array(sparse.eye_array(n) - ALPHA * (scale @ W @ scale))

    def spread(self, index: NDArray, values: NDArray) -> NDArray:
        """Return F for values of some samples, (n, n_outputs)."""
        Y = np.zeros((self.system.shape[0], values.shape[1]))
        Y[index] = (1 - ALPHA) * values
        columns = [cg(self.system, y, rtol=TOLERANCE)[0] for y in Y.T]
        return np.column_stack(columns)

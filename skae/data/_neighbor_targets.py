"""Nearby samples as the targets of reconstructions."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from skae.data._batch import Batch
from skae.data._chunks import concatenate_chunks, subsample_evenly
from skae.data._dataset import InMemoryDataset, RowDataset
from skae.data._principal_axes import principal_axes

MAX_TARGETS = 2**16  # samples that can be targets; their number bounds the time of the search
MAX_CELLS = 2**28  # of the targets
MAX_DIMENSIONS = 32  # in which neighbors are searched


class NeighborTargets(RowDataset):
    """Samples whose targets are the ends of random walks to nearest neighbors.

    Parameters
    ----------
    rows : RowDataset
        The samples.
    targets : InMemoryDataset of m samples
        The samples that walks pass through.
    first : Tensor of shape (n, k) of int
        The nearest of the targets for each sample.
    neighbors : Tensor of shape (m, k) of int
        The nearest of the targets for each of them, itself included.
    walk_length : int
        Number of steps.
    """

    def __init__(
        self,
        rows: RowDataset,
        targets: RowDataset,
        first: Tensor,
        neighbors: Tensor,
        walk_length: int,
    ):
        self.rows = rows
        self.targets = targets
        self.first = first
        self.neighbors = neighbors
        self.walk_length = walk_length
        self.weight = rows.weight
        self.n_features = rows.n_features
        self.dtype = rows.dtype
        self.complete = rows.complete

    @classmethod
    def search(
        cls,
        rows: RowDataset,
        kept: NDArray,
        n_neighbors: int,
        walk_length: int,
        random_state: np.random.RandomState,
    ) -> NeighborTargets:
        """Search the nearest neighbors of samples in their principal components.

        Parameters
        ----------
        rows : RowDataset
            Conditioned samples.
        kept : ndarray of int
            Indices of the samples that can be targets.
        n_neighbors : int
            Number of neighbors, k; fewer if there are fewer samples.
        walk_length : int
            Number of steps.
        random_state : RandomState
            Used by the truncated decomposition of many columns only.

        Returns
        -------
        dataset : NeighborTargets
            The samples with their targets.
        """
        most = max(1, min(MAX_TARGETS, MAX_CELLS // rows.n_features))
        index = subsample_evenly(kept, most)
        targets = rows.take(torch.from_numpy(index))
        if not isinstance(targets, InMemoryDataset):
            targets = InMemoryDataset(*targets.values(slice(None)), targets.weight)
        axes = principal_axes(rows, MAX_DIMENSIONS, random_state)
        k = min(n_neighbors, len(index))
        parts = (rows.values(chunk)[0].numpy() @ axes.T for chunk in rows.gen_chunks())
        scores = concatenate_chunks(len(rows), parts)
        search = NearestNeighbors(n_neighbors=k).fit(scores[index])
        found = torch.from_numpy(search.kneighbors(scores, return_distance=False))
        return cls(rows, targets, found, found[torch.from_numpy(index)], walk_length)

    def values(self, index: Tensor | slice) -> tuple[Tensor, Tensor | None]:
        return self.rows.values(index)

    def with_target(self, batch: Batch, index: Tensor | slice) -> Batch:
        if batch.random is None:
            return batch
        n, k = len(batch.x), self.first.shape[1]
        steps = batch.random.integers(k, self.walk_length, n).to(self.first.device)
        here = self.first[index].gather(1, steps[0, :, None])[:, 0]
        for step in steps[1:]:
            here = self.neighbors[here, step]
        x, observed = self.targets.values(here)
        device = batch.x.device
        observed = None if observed is None else observed.to(device)
        return batch._replace(target=x.to(device), target_observed=observed)

    def take(self, index: Tensor) -> RowDataset:
        rows, first = self.rows.take(index), self.first[index]
        return NeighborTargets(rows, self.targets, first, self.neighbors, self.walk_length)

    def to(self, device: torch.device | str) -> RowDataset:
        return NeighborTargets(
            self.rows.to(device),
            self.targets.to(device),
            self.first.to(device),
            self.neighbors.to(device),
            self.walk_length,
        )

"""Samples that are divided among processes."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skae.data._batch import Batch
from skae.data._chunks import subsample_evenly
from skae.data._dataset import InMemoryDataset, RowDataset
from skae.data._group import Group, Share


class DividedRows(RowDataset):
    """Samples of which each process of a group holds a part.

    Batches are of all samples, in the order of the ranks: each process computes those that it
    holds. What reads all samples, chunk by chunk, reads those of its own process.

    Parameters
    ----------
    own : RowDataset
        The samples that this process holds.
    group : Group
        The processes.
    places : Tensor of int of shape (n_samples,), default=None
        Index in ``own`` of each sample, -1 for samples of other processes. If None, the samples of
        each process follow those of the process before it.
    """

    def __init__(self, own: RowDataset, group: Group, places: Tensor | None = None):
        if places is None:
            sizes = group.gather(torch.tensor([len(own)]))
            start = int(sizes[: group.rank].sum())
            places = torch.full((int(sizes.sum()),), -1)
            places[start : start + len(own)] = torch.arange(len(own))
        self.own = own
        self.group = group
        self.places = places
        self.weight = own.weight
        self.n_features = own.n_features
        self.dtype = own.dtype
        self.complete = own.complete

    @property
    def n_samples(self) -> int:
        return len(self.places)

    @property
    def equal_weights(self) -> bool:
        high, low = self.maximum(torch.stack([self.weight.amax(), -self.weight.amin()]))
        return bool(high == -low)

    def sum(self, value: Tensor) -> Tensor:
        return self.group.sum(value)

    def maximum(self, value: Tensor) -> Tensor:
        return self.group.maximum(value)

    def mean_weight(self, index: NDArray) -> float:
        own = self.places[torch.from_numpy(index)]
        total = self.sum(self.weight[own[own >= 0]].double().sum())
        return float(total) / len(index)

    def values(self, index: Tensor | slice) -> tuple[Tensor, Tensor | None]:
        return self.own.values(index)

    def with_target(self, batch: Batch, index: Tensor | slice) -> Batch:
        return self.own.with_target(batch, index)

    def take(self, index: Tensor) -> RowDataset:
        places = self.places[index.cpu()]
        is_own = places >= 0
        new = torch.where(is_own, is_own.cumsum(0) - 1, -1)
        return DividedRows(self.own.take(places[is_own]), self.group, new)

    def subsample(self, n: int) -> RowDataset:
        index = torch.from_numpy(subsample_evenly(np.arange(self.n_samples), n))
        rows = cast(DividedRows, self.take(index))
        is_own, (x, observed) = rows.places >= 0, rows.values(slice(None))

        def joined(own: Tensor) -> Tensor:
            whole = own.new_zeros(rows.n_samples, *own.shape[1:])
            whole[is_own] = own
            return self.sum(whole)

        observed = None if observed is None else joined(observed)
        return InMemoryDataset(joined(x), observed, joined(rows.weight))

    def with_values(self, x: Tensor) -> RowDataset:
        return DividedRows(self.own.with_values(x), self.group, self.places)

    def to(self, device: torch.device | str) -> RowDataset:
        return DividedRows(self.own.to(device), self.group, self.places)

    def part(self, index: Tensor | slice, group: Group) -> tuple[Tensor, Share]:
        places = self.places[index if isinstance(index, slice) else index.cpu()]
        (positions,) = (places >= 0).nonzero(as_tuple=True)
        return places[positions], Share(group, len(places), positions)

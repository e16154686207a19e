"""Batches of all samples of a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from skae.data._batch import NO_RANDOM, Batch
from skae.data._chunks import gen_slices
from skae.data._dataset import RowDataset
from skae.data._group import ALONE, Share


class Batches:
    """Iterable of batches of all samples; shuffled at each iteration if there is a generator.

    Parameters
    ----------
    rows : RowDataset
    batch_size : int
    generator : torch.Generator or None
    **loading : object
        Arguments of torch's DataLoader, such as ``num_workers``. If there are any, a DataLoader
        reads the batches, from samples that stay in main memory.
    """

    def __init__(
        self,
        rows: RowDataset,
        batch_size: int,
        generator: torch.Generator | None = None,
        **loading: Any,
    ):
        self.rows = rows
        self.loading = loading
        self.batch_size = batch_size
        self.generator = generator
        self.device: torch.device | str = rows.weight.device
        self.progress = torch.zeros((), dtype=rows.dtype, device=self.device)
        self.random: Any = NO_RANDOM  # passed to the batches; a SharedRandom in a group
        self.group = ALONE

    def to(self, device: torch.device | str) -> Batches:
        """Move the batches to a device."""
        self.device, self.progress = device, self.progress.to(device)
        if not self.loading:
            self.rows = self.rows.to(device)
        return self

    def __len__(self) -> int:
        return -(-self.rows.n_samples // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        parts: Iterable[tuple[Any, Share | None]] = map(self._part, self._indices())
        loaded: Iterable[Batch | None] = repeat(None)
        if self.loading:
            parts = list(parts)
            loaded = self._loaded([index for index, _ in parts])
        for (index, share), batch in zip(parts, loaded, strict=False):
            random = self.random
            if random is not None and share is not None:
                random = random.of(share)
            if batch is None:
                batch = self.rows.batch(index, self.progress, random)
            else:
                batch = batch.to(self.device)._replace(progress=self.progress, random=random)
                batch = self.rows.with_target(batch, index)
            yield batch if share is None else batch.part(share)

    def _part(self, index: Tensor | slice) -> tuple[Tensor | slice, Share | None]:
        """Return which samples of a batch this process computes."""
        return (index, None) if self.group.size == 1 else self.rows.part(index, self.group)

    def _loaded(self, indices: list[Any]) -> DataLoader:
        loading = {"generator": torch.Generator(), **self.loading}  # seeds of its workers
        return DataLoader(self.rows, batch_size=None, sampler=indices, **loading)

    def _indices(self) -> Iterator[Tensor | slice]:
        if self.generator is None:
            return gen_slices(self.rows.n_samples, self.batch_size)
        order = torch.randperm(self.rows.n_samples, generator=self.generator)
        return iter(order.to(self.rows.weight.device).split(self.batch_size))

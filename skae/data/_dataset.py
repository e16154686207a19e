"""Datasets of conditioned samples, indexed by whole batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from skae.data._batch import NO_RANDOM, Batch
from skae.data._chunks import gen_chunks, gen_slices
from skae.data._conditioning import Conditioning
from skae.data._random import Random
from skae.data._source import DataSource


class RowDataset(Dataset):
    """Conditioned samples that are indexed by whole batches.

    Attributes
    ----------
    n_features : int
        Number of columns, d.
    weight : Tensor of shape (n,)
        Weights of the samples.
    dtype : torch.dtype
        Dtype of the conditioned values.
    complete : bool
        Whether no value is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from skae import Autoencoder
    >>> class Ranges(Autoencoder):
    ...     def _after_fit(self, module, rows):
    ...         self.largest_ = max(rows[chunk].x.max().item() for chunk in rows.gen_chunks())
    >>> X = np.random.default_rng(0).normal(size=(50, 4))
    >>> Ranges(2, max_iter=1, early_stopping=False, random_state=0).fit(X).largest_ > 1
    True
    """

    n_features: int
    weight: Tensor
    dtype: torch.dtype
    complete: bool

    @staticmethod
    def of(
        source: DataSource,
        weight: NDArray,
        conditioning: Conditioning,
        dtype: torch.dtype,
        complete: bool,
    ) -> RowDataset:
        """Condition data in memory at once, other data batch by batch.

        Parameters
        ----------
        source : DataSource
            The samples.
        weight : ndarray of shape (n,)
            Weights of the samples.
        conditioning : Conditioning
            What is subtracted from the samples, and what they are divided by.
        dtype : torch.dtype
            Dtype of the conditioned values.
        complete : bool
            Whether no value is missing.

        Returns
        -------
        rows : RowDataset
            The conditioned samples.
        """
        weights = torch.tensor(weight, dtype=dtype)
        if source.out_of_core:
            return LazyDataset(source, weights, conditioning, dtype, complete)
        x = torch.empty(source.shape, dtype=dtype)
        observed = None if complete else torch.ones_like(x)
        for chunk in source.gen_chunks():
            x[chunk], mask = conditioning.apply(source[chunk], dtype)
            if observed is not None and mask is not None:
                observed[chunk] = mask
        return InMemoryDataset(x, observed, weights)

    def __len__(self) -> int:
        return len(self.weight)

    @property
    def equal_weights(self) -> bool:
        """Whether all samples have the same weight."""
        return bool((self.weight == self.weight[0]).all())

    def values(self, index: Tensor | slice) -> tuple[Tensor, Tensor | None]:
        """Return x and the mask of observed cells of some of the samples.

        Parameters
        ----------
        index : Tensor or slice
            Which samples.

        Returns
        -------
        x : Tensor of shape (n, d)
            The conditioned values.
        observed : Tensor of shape (n, d) or None
            1 where a value is observed, 0 where it is missing; None if none can be missing.
        """
        raise NotImplementedError

    def take(self, index: Tensor) -> RowDataset:
        """Return a dataset of some of the samples.

        Parameters
        ----------
        index : Tensor
            Indices of the samples.

        Returns
        -------
        rows : RowDataset
            Those samples.
        """
        raise NotImplementedError

    def to(self, device: torch.device | str) -> RowDataset:
        """Return the dataset for use on a device.

        Parameters
        ----------
        device : torch.device or str
            The device.

        Returns
        -------
        rows : RowDataset
            The samples there.
        """
        raise NotImplementedError

    def __getitem__(self, index: Tensor | slice) -> Batch:
        return self.batch(index, torch.zeros((), dtype=self.dtype))

    def batch(self, index: Tensor | slice, progress: Tensor, random: Random = NO_RANDOM) -> Batch:
        """Return a batch of some of the samples.

        Parameters
        ----------
        index : Tensor or slice
            Which samples.
        progress : Tensor of shape ()
            Completed fraction of the training.
        random : Random, default=None
            Random numbers for objectives.

        Returns
        -------
        batch : Batch
            Those samples.
        """
        batch = Batch(*self.values(index), self.weight[index], progress, random=random)
        return self.with_target(batch, index)

    def with_target(self, batch: Batch, index: Tensor | slice) -> Batch:
        """Return a batch with what its reconstruction is compared with, by default the batch.

        Parameters
        ----------
        batch : Batch
            Some of the samples.
        index : Tensor or slice
            Which samples.

        Returns
        -------
        batch : Batch
            The same, with a target.
        """
        return batch

    def gen_chunks(self) -> Iterator[slice]:
        """Generate slices of samples of at most a few million cells each.

        Returns
        -------
        chunks : iterator of slice
            Slices that together cover all samples.
        """
        return gen_chunks(len(self), self.n_features)


class InMemoryDataset(RowDataset):
    """A dataset whose conditioned values are in memory, on the device."""

    def __init__(self, x: Tensor, observed: Tensor | None, weight: Tensor):
        self.x = x
        self.observed = observed
        self.weight = weight
        self.n_features = x.shape[1]
        self.dtype = x.dtype
        self.complete = observed is None

    def values(self, index: Tensor | slice) -> tuple[Tensor, Tensor | None]:
        return self.x[index], None if self.observed is None else self.observed[index]

    def take(self, index: Tensor) -> RowDataset:
        return InMemoryDataset(*self.values(index), self.weight[index])

    def to(self, device: torch.device | str) -> RowDataset:
        observed = None if self.observed is None else self.observed.to(device)
        return InMemoryDataset(self.x.to(device), observed, self.weight.to(device))


class LazyDataset(RowDataset):
    """A dataset that reads samples from their source and conditions them at each access."""

    def __init__(
        self,
        source: DataSource,
        weight: Tensor,
        conditioning: Conditioning,
        dtype: torch.dtype,
        complete: bool,
    ):
        self.source = source
        self.weight = weight
        self.conditioning = conditioning
        self.n_features = source.shape[1]
        self.dtype = dtype
        self.complete = complete

    def values(self, index: Tensor | slice) -> tuple[Tensor, Tensor | None]:
        which = index if isinstance(index, slice) else index.cpu().numpy()
        x, observed = self.conditioning.apply(self.source[which], self.dtype)
        device = self.weight.device
        return x.to(device), None if observed is None else observed.to(device)

    def take(self, index: Tensor) -> RowDataset:
        return LazyDataset(
            self.source.take(index.cpu().numpy()),
            self.weight[index],
            self.conditioning,
            self.dtype,
            self.complete,
        )

    def to(self, device: torch.device | str) -> RowDataset:
        return LazyDataset(
            self.source, self.weight.to(device), self.conditioning, self.dtype, self.complete
        )


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
        self.random = NO_RANDOM  # passed to the batches

    def to(self, device: torch.device | str) -> Batches:
        """Move the batches to a device."""
        self.device, self.progress = device, self.progress.to(device)
        if not self.loading:
            self.rows = self.rows.to(device)
        return self

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        indices = list(self._indices())
        if self.loading:
            loading = {"generator": torch.Generator(), **self.loading}  # seeds of its workers
            loader = DataLoader(self.rows, batch_size=None, sampler=indices, **loading)
            for index, batch in zip(indices, loader, strict=True):
                batch = batch.to(self.device)
                batch = batch._replace(progress=self.progress, random=self.random)
                yield self.rows.with_target(batch, index)
        else:
            for index in indices:
                yield self.rows.batch(index, self.progress, self.random)

    def _indices(self) -> Iterator[Tensor | slice]:
        if self.generator is None:
            return gen_slices(len(self.rows), self.batch_size)
        order = torch.randperm(len(self.rows), generator=self.generator)
        return iter(order.to(self.rows.weight.device).split(self.batch_size))

"""Datasets of conditioned samples, indexed by whole batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from skae.data._batch import NO_RANDOM, Batch
from skae.data._chunks import gen_chunks, subsample_evenly
from skae.data._conditioning import Conditioning
from skae.data._group import Group, Share
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

    @property
    def n_samples(self) -> int:
        """Number of samples, including those that other processes hold."""
        return len(self.weight)

    @property
    def total_weight(self) -> float:
        """Sum of the weights, including those of samples that other processes hold."""
        return float(self.sum(self.weight.double().sum()))

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of a value over the processes that hold the samples.

        Hooks that sum over samples use it, so that they see all samples if these are divided among
        several processes.

        Parameters
        ----------
        value : Tensor
            The value of this process.

        Returns
        -------
        total : Tensor
            Its sum; the value itself if this process holds all samples.
        """
        return value

    def maximum(self, value: Tensor) -> Tensor:
        """Return the maximum of a value over the processes that hold the samples.

        Parameters
        ----------
        value : Tensor
            The value of this process.

        Returns
        -------
        maximum : Tensor
            Its maximum; the value itself if this process holds all samples.
        """
        return value

    def mean_weight(self, index: NDArray) -> float:
        """Return the mean weight of some of the samples.

        Parameters
        ----------
        index : ndarray of int
            Indices of the samples, in increasing order.

        Returns
        -------
        mean : float
            Their mean weight.
        """
        return float(self.weight[torch.from_numpy(index)].mean())

    def subsample(self, n: int) -> RowDataset:
        """Return at most n of the samples, evenly spaced, which each process then holds.

        Parameters
        ----------
        n : int
            Number of samples.

        Returns
        -------
        rows : RowDataset
            Those samples.
        """
        if n >= len(self):
            return self
        return self.take(torch.from_numpy(subsample_evenly(np.arange(len(self)), n)))

    def with_values(self, x: Tensor) -> RowDataset:
        """Return a dataset with other values and the same weights, without missing values.

        Parameters
        ----------
        x : Tensor of shape (n, m)
            The values.

        Returns
        -------
        rows : RowDataset
            The dataset.
        """
        return InMemoryDataset(x, None, self.weight)

    def part(self, index: Tensor | slice, group: Group) -> tuple[Tensor, Share]:
        """Return which samples of a batch this process computes.

        Parameters
        ----------
        index : Tensor or slice
            The samples of the batch.
        group : Group
            The processes that compute it.

        Returns
        -------
        own : Tensor of int
            Indices of those that this process computes.
        share : Share
            Their places in the batch.
        """
        if isinstance(index, slice):
            index = torch.arange(*index.indices(self.n_samples))
        n = len(index)
        ends = n * group.rank // group.size, n * (group.rank + 1) // group.size
        return index[slice(*ends)], Share(group, n, torch.arange(*ends))

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

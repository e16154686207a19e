"""The samples and the random numbers that an objective is given."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from skae.data._group import Share
from skae.data._random import Random

NO_RANDOM = cast(Random, None)  # outside of training, where nothing is drawn


class Batch(NamedTuple):
    """A batch of samples, in conditioned units.

    Parameters
    ----------
    x : Tensor of shape (n, d)
        The samples, 0 (the mean) where a value is missing.
    observed : Tensor of shape (n, d) or None
        1 where a value is observed, 0 where it is missing; None if all are observed.
    weight : Tensor of shape (n,)
        Weights of the samples.
    progress : Tensor of shape ()
        Completed fraction of the training.
    context : Tensor of shape (n, c) or None, default=None
        Further inputs of the encoder, set by the hook ``_corrupt``.
    random : Random, default=None
        Random numbers for objectives; None outside of training.
    target : Tensor of shape (n, d) or None, default=None
        What the reconstruction is compared with, if that is not ``x``.
    target_observed : Tensor of shape (n, d) or None, default=None
        1 where a value of the target is observed, 0 where it is missing.
    share : Share, default=None
        Which part of a batch this is, if several processes compute it.

    Examples
    --------
    >>> import torch
    >>> from skae.extension import Batch
    >>> batch = Batch(torch.zeros(5, 3), None, torch.ones(5), torch.tensor(0.0))
    >>> batch._replace(x=batch.x + 1).x.mean()  # as a hook that corrupts samples does
    tensor(1.)
    """

    x: Tensor
    observed: Tensor | None
    weight: Tensor
    progress: Tensor
    context: Tensor | None = None
    random: Random = NO_RANDOM
    target: Tensor | None = None
    target_observed: Tensor | None = None
    share: Share | None = None

    @property
    def n_samples(self) -> int:
        """Number of samples of the whole batch, including those in other processes."""
        return len(self.x) if self.share is None else self.share.n_samples

    def mean(self, values: Tensor) -> Tensor:
        """Return the weighted mean over the samples of the whole batch.

        Objectives that depend on statistics of a batch compute them by this method, so that they
        are the same if several processes compute the batch.

        Parameters
        ----------
        values : Tensor of shape (n, ...)
            A value of each sample.

        Returns
        -------
        mean : Tensor of shape (...)
            Their weighted mean.
        """
        total, weight = self.weight @ values, self.weight.sum()
        if self.share is not None:
            total, weight = self.share.group.sum(total), self.share.group.sum(weight)
        return total / weight

    def any(self, values: Tensor) -> Tensor:
        """Return whether a value is True for any sample of the whole batch.

        Parameters
        ----------
        values : Tensor of bool, of shape (n, ...)
            A value of each sample.

        Returns
        -------
        any : Tensor of bool, of shape (...)
            Whether one of them is True.
        """
        if self.share is None:
            return values.any(0)
        own = values[self.weight > 0].any(0)
        return self.share.group.maximum(own.to(self.x)) > 0

    def gather(self, values: Tensor) -> Tensor:
        """Return the values of all samples of the whole batch, without gradients if it is shared.

        Parameters
        ----------
        values : Tensor of shape (n, ...)
            A value of each sample.

        Returns
        -------
        values : Tensor of shape (n_samples, ...)
            Those of the samples of all processes.
        """
        if self.share is None:
            return values
        positions = self.share.positions.to(values.device)
        whole = values.new_zeros(self.n_samples, *values.shape[1:])
        whole[positions] = values[: len(positions)].detach()
        return self.share.group.sum(whole)

    def part(self, share: Share) -> Batch:
        """Return the batch as the part of a larger one, with a row of weight 0 if it is empty.

        Parameters
        ----------
        share : Share
            Which part it is.

        Returns
        -------
        batch : Batch
            The part.
        """
        if len(self.x):
            return self._replace(share=share)
        rows: dict[str, Any] = {
            name: value.new_zeros(1, *value.shape[1:])
            for name, value in self._asdict().items()
            if isinstance(value, Tensor) and value.ndim
        }
        return self._replace(**rows, share=share)

    def as_target(self) -> Batch:
        """Return the batch that a reconstruction is compared with.

        Returns
        -------
        batch : Batch
            The targets of the samples if there are any, otherwise the samples.
        """
        if self.target is None:
            return self
        return self._replace(x=self.target, observed=self.target_observed)

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on a device; the copy is asynchronous from pinned memory.

        Parameters
        ----------
        device : torch.device or str
            The device.

        Returns
        -------
        batch : Batch
            The batch there.
        """
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=True)
            for name, value in self._asdict().items()
            if isinstance(value, Tensor)
        }
        return self._replace(**moved)

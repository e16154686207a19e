"""A generator of random tensors for one fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from skae.data._group import Share


class Random:
    """Generator of the random tensors of one fit.

    Parameters
    ----------
    seed : int
        Determines the draws.
    like : Tensor
        Determines the dtype and the device of the draws.

    Examples
    --------
    >>> import torch
    >>> from skae.extension import Random
    >>> Random(0, torch.empty(0)).uniform(5, 3).shape
    torch.Size([5, 3])
    """

    def __init__(self, seed: int, like: Tensor):
        self.dtype, self.device = like.dtype, like.device
        # Nothing is drawn on torch's meta device, which has no generator.
        device = "cpu" if self.device.type == "meta" else self.device
        self.generator = torch.Generator(device).manual_seed(seed)

    def uniform(self, *shape: int) -> Tensor:
        """Draw from the uniform distribution on [0, 1).

        Parameters
        ----------
        *shape : int
            Sizes of the result.

        Returns
        -------
        draws : Tensor of the given shape
            Random numbers.
        """
        return self._drawn(torch.rand, shape)

    def normal(self, *shape: int) -> Tensor:
        """Draw from the standard normal distribution.

        Parameters
        ----------
        *shape : int
            Sizes of the result.

        Returns
        -------
        draws : Tensor of the given shape
            Random numbers.
        """
        return self._drawn(torch.randn, shape)

    def signs(self, *shape: int) -> Tensor:
        """Draw -1 or 1 with equal probability.

        Parameters
        ----------
        *shape : int
            Sizes of the result.

        Returns
        -------
        draws : Tensor of the given shape
            Random signs.
        """
        return self.integers(2, *shape).to(self.dtype) * 2 - 1

    def integers(self, high: int, *shape: int) -> Tensor:
        """Draw integers from [0, high).

        Parameters
        ----------
        high : int
            Upper bound, which is not drawn.
        *shape : int
            Sizes of the result.

        Returns
        -------
        draws : Tensor of the given shape
            Random integers, in int64.
        """
        return self._drawn(partial(torch.randint, high), shape, torch.int64)

    def choices(self, weight: Tensor, n: int) -> Tensor:
        """Draw n indices with replacement, with probabilities proportional to their weights.

        Parameters
        ----------
        weight : Tensor of shape (m,)
            Weights of the indices.
        n : int
            Number of draws.

        Returns
        -------
        draws : Tensor of shape (n,)
            Random indices, in int64.
        """
        cumulative = weight.double().cumsum(0)
        target = self.uniform(n).double() * cumulative[-1]
        index = torch.searchsorted(cumulative, target, right=True)
        return index.clamp_max(len(weight) - 1)

    def _drawn(
        self, draw: Callable[..., Tensor], shape: tuple[int, ...], dtype: torch.dtype | None = None
    ) -> Tensor:
        options: dict[str, Any] = {"dtype": dtype or self.dtype, "device": self.device}
        if self.device.type != "meta":
            options["generator"] = self.generator
        return draw(shape, **options)


class SharedRandom:
    """Draws for whole batches, of which each process uses those for its own samples.

    So the draws for a sample do not depend on the number of processes.

    Parameters
    ----------
    random : Random
        Generator in the same state in each process.
    axes : sequence of (int or None)
        Axis of the samples for each draw for a batch; None for a draw that all samples share.
    """

    def __init__(self, random: Random, axes: Sequence[int | None]):
        self.random = random
        self.axes = axes

    def of(self, share: Share) -> Random:
        """Return the generator for a part of a batch."""
        return _PartOfDraws(self.random, self.axes, share)


class _PartOfDraws(Random):
    def __init__(self, random: Random, axes: Sequence[int | None], share: Share):
        self.dtype, self.device = random.dtype, random.device
        self.random, self.axes, self.share = random, iter(axes), share

    def _drawn(
        self, draw: Callable[..., Tensor], shape: tuple[int, ...], dtype: torch.dtype | None = None
    ) -> Tensor:
        axis = next(self.axes)
        if axis is None:
            return self.random._drawn(draw, shape, dtype)
        whole = (*shape[:axis], self.share.n_samples, *shape[axis + 1 :])
        drawn = self.random._drawn(draw, whole, dtype)
        positions = self.share.positions.to(drawn.device)
        if not len(positions):
            return drawn.narrow(axis, 0, shape[axis])  # for a row of weight 0
        return drawn.index_select(axis, positions)

"""A generator of random tensors for one fit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor


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

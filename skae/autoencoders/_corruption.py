"""Ways to spoil rows, and the best that a linear map can do about it."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from skae.data import Batch


class Columns(NamedTuple):
    """What noise depends on, (d,) each, in conditioned units."""

    std: Tensor  # of the gaussian error at level 1
    variance: Tensor
    low: Tensor
    high: Tensor


class Noise:
    """Base of the noises that replace a share of the cells, the level, by something else.

    Attributes
    ----------
    share : bool
        Whether the level is a share, so at most 1.
    """

    share: ClassVar[bool] = True

    def apply(self, batch: Batch, level: Tensor, columns: Columns) -> Tensor:
        """Return spoilt rows, (n, d); the level is that of each row, (n, 1)."""
        hit = batch.random.uniform(*batch.x.shape) < level
        return torch.where(hit, self.instead(batch, columns), batch.x)

    def instead(self, batch: Batch, columns: Columns) -> Tensor:
        """Return what cells are replaced by, (n, d)."""
        raise NotImplementedError

    def moments(self, level: float, columns: Columns) -> tuple[float, Tensor, Tensor]:
        """Return the share of x in spoilt rows, and their columns' means and variances."""
        mean, square = self.instead_moments(columns)
        mean = level * mean
        return 1 - level, mean, (1 - level) * columns.variance + level * square - mean**2

    def instead_moments(self, columns: Columns) -> tuple[Tensor, Tensor]:
        """Return mean and mean square of what cells are replaced by, (d,) each."""
        raise NotImplementedError


class Gaussian(Noise):
    """Add a normal error."""

    share = False

    def apply(self, batch: Batch, level: Tensor, columns: Columns) -> Tensor:
        return batch.x + level * columns.std * batch.random.normal(*batch.x.shape)

    def moments(self, level: float, columns: Columns) -> tuple[float, Tensor, Tensor]:
        return 1.0, torch.zeros_like(columns.std), columns.variance + (level * columns.std) ** 2


class Masking(Noise):
    """Put the column's mean."""

    def instead(self, batch: Batch, columns: Columns) -> Tensor:
        return torch.zeros_like(batch.x)

    def instead_moments(self, columns: Columns) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(columns.std), torch.zeros_like(columns.std)


class SaltAndPepper(Noise):
    """Put the column's least or largest value, each as often."""

    def instead(self, batch: Batch, columns: Columns) -> Tensor:
        return torch.where(batch.random.uniform(*batch.x.shape) < 0.5, columns.low, columns.high)

    def instead_moments(self, columns: Columns) -> tuple[Tensor, Tensor]:
        low, high = columns.low, columns.high
        return (low + high) / 2, (low**2 + high**2) / 2


class Swap(Noise):
    """Put the value that the column has in another row of the batch, drawn by weight."""

    def instead(self, batch: Batch, columns: Columns) -> Tensor:
        # Uniform draws from rows that were drawn by weight.
        pool = batch.random.choices(batch.weight, len(batch.x))
        rows = batch.random.integers(len(pool), *batch.x.shape)
        other = batch.x[pool].gather(0, rows)
        if batch.observed is None:
            return other
        # Where that row has a hole, there is nothing to swap.
        return torch.where(batch.observed[pool].gather(0, rows) > 0, other, batch.x)

    def instead_moments(self, columns: Columns) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(columns.std), columns.variance


NOISES: dict[str, Noise] = {
    "gaussian": Gaussian(),
    "masking": Masking(),
    "salt_and_pepper": SaltAndPepper(),
    "swap": Swap(),
}

"""Noises that corrupt samples in training."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from skae.data import Batch


class ColumnStatistics(NamedTuple):
    """Statistics of the columns that noise depends on, (d,) each, in conditioned units."""

    std: Tensor  # of gaussian noise at level 1
    variance: Tensor
    low: Tensor
    high: Tensor


class Noise:
    """Base of the noises that replace a fraction of the cells, the noise level, by other values.

    Attributes
    ----------
    level_is_fraction : bool
        Whether the noise level is a fraction, thus at most 1.
    """

    level_is_fraction: ClassVar[bool] = True

    def apply(self, batch: Batch, level: Tensor, columns: ColumnStatistics) -> Tensor:
        """Return corrupted samples, (n, d), given the noise level of each sample, (n, 1)."""
        is_replaced = batch.random.uniform(*batch.x.shape) < level
        return torch.where(is_replaced, self.replacement(batch, columns), batch.x)

    def replacement(self, batch: Batch, columns: ColumnStatistics) -> Tensor:
        """Return the values that replace cells, (n, d)."""
        raise NotImplementedError

    def moments(self, level: float, columns: ColumnStatistics) -> tuple[float, Tensor, Tensor]:
        """Return the coefficient of x in corrupted samples, and their means and variances."""
        mean, square = self.replacement_moments(columns)
        mean = level * mean
        return 1 - level, mean, (1 - level) * columns.variance + level * square - mean**2

    def replacement_moments(self, columns: ColumnStatistics) -> tuple[Tensor, Tensor]:
        """Return the mean and mean square of the values that replace cells, (d,) each."""
        raise NotImplementedError


class Gaussian(Noise):
    """Add a normal error."""

    level_is_fraction = False

    def apply(self, batch: Batch, level: Tensor, columns: ColumnStatistics) -> Tensor:
        return batch.x + level * columns.std * batch.random.normal(*batch.x.shape)

    def moments(self, level: float, columns: ColumnStatistics) -> tuple[float, Tensor, Tensor]:
        return 1.0, torch.zeros_like(columns.std), columns.variance + (level * columns.std) ** 2


class Masking(Noise):
    """Replace cells by the mean of the column."""

    def replacement(self, batch: Batch, columns: ColumnStatistics) -> Tensor:
        return torch.zeros_like(batch.x)

    def replacement_moments(self, columns: ColumnStatistics) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(columns.std), torch.zeros_like(columns.std)


class SaltAndPepper(Noise):
    """Replace cells by the minimum or maximum of the column, with equal probability."""

    def replacement(self, batch: Batch, columns: ColumnStatistics) -> Tensor:
        return torch.where(batch.random.uniform(*batch.x.shape) < 0.5, columns.low, columns.high)

    def replacement_moments(self, columns: ColumnStatistics) -> tuple[Tensor, Tensor]:
        low, high = columns.low, columns.high
        return (low + high) / 2, (low**2 + high**2) / 2


class Swap(Noise):
    """Replace cells by the value of the column in another sample, drawn by weight."""

    def replacement(self, batch: Batch, columns: ColumnStatistics) -> Tensor:
        # Uniform draws from samples that are drawn by weight.
        pool = batch.random.choices(batch.gather(batch.weight), len(batch.x))
        rows = batch.random.integers(len(pool), *batch.x.shape)
        other = batch.gather(batch.x)[pool].gather(0, rows)
        if batch.observed is None:
            return other
        # If the value of the other sample is missing, the cell is unchanged.
        is_observed = batch.gather(batch.observed)[pool].gather(0, rows) > 0
        return torch.where(is_observed, other, batch.x)

    def replacement_moments(self, columns: ColumnStatistics) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(columns.std), columns.variance


NOISES: dict[str, Noise] = {
    "gaussian": Gaussian(),
    "masking": Masking(),
    "salt_and_pepper": SaltAndPepper(),
    "swap": Swap(),
}


def hide_cells(batch: Batch, ratio: float) -> Batch:
    """Replace a fraction of the cells by the mean of their column."""
    if not ratio:
        return batch
    is_kept = batch.random.uniform(*batch.x.shape) >= ratio
    return batch._replace(x=batch.x * is_kept)

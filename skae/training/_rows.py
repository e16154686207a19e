"""From the user's table to batches of tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from skae._validation import PIECE, slices


class Batch(NamedTuple):
    """What an objective sees of some rows, in conditioned units."""

    x: Tensor  # (n, d), holes hold 0, the mean
    observed: Tensor | None  # (n, d), 1 where a value is known, or None if all are
    weight: Tensor  # (n,)
    progress: Tensor  # (), the share of the training that is done


@dataclass(frozen=True)
class Conditioning:
    """Centre, and divide by one number: what principal components allow without changing.

    Attributes
    ----------
    shift : ndarray of shape (n_features,)
        Mean of the observed cells of each column, 0 where there are none.
    scale : float
        Square root of the columns' mean variance.
    """

    shift: NDArray
    scale: float

    @np.errstate(over="ignore", invalid="ignore")  # results are checked, where they matter
    def apply(self, X: NDArray, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """Return conditioned rows and which cells are observed; X's precision, then `dtype`."""
        x = X - self.shift.astype(X.dtype)
        x /= X.dtype.type(self.scale)
        observed = ~np.isnan(x)
        if observed.all():
            return torch.from_numpy(x).to(dtype), None
        x[~observed] = 0
        return torch.from_numpy(x).to(dtype), torch.from_numpy(observed).to(dtype)

    def undo(self, x: NDArray) -> NDArray:
        """Return rows in the units of X."""
        x = x * x.dtype.type(self.scale)
        x += self.shift.astype(x.dtype)
        return x


class Rows(Dataset):
    """Conditioned rows that are indexed a whole batch at a time.

    Parameters
    ----------
    x : Tensor of shape (n, d)
    observed : Tensor of shape (n, d) or None
    weight : Tensor of shape (n,)
        A row with nothing observed must have weight 0.
    """

    def __init__(self, x: Tensor, observed: Tensor | None, weight: Tensor):
        self.x = x
        self.observed = observed
        self.weight = weight

    @classmethod
    def of(
        cls,
        X: NDArray,
        weight: NDArray,
        conditioning: Conditioning,
        dtype: torch.dtype,
    ) -> Rows:
        """Condition a table piece by piece, so that no second copy in X's precision is made."""
        x = torch.empty(X.shape, dtype=dtype)
        observed = None
        for piece in slices(len(X), PIECE):
            x[piece], seen = conditioning.apply(X[piece], dtype)
            if seen is not None:
                observed = torch.ones_like(x) if observed is None else observed
                observed[piece] = seen
        return cls(x, observed, torch.tensor(weight, dtype=dtype))

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Tensor) -> Rows:
        """Return some of the rows."""
        observed = None if self.observed is None else self.observed[index]
        return Rows(self.x[index], observed, self.weight[index])

    def batch(self, index: Tensor | slice, progress: Tensor) -> Batch:
        """Return some of the rows as a batch."""
        observed = None if self.observed is None else self.observed[index]
        return Batch(self.x[index], observed, self.weight[index], progress)

    def to(self, device: torch.device) -> Rows:
        """Return the rows on a device."""
        observed = None if self.observed is None else self.observed.to(device)
        return Rows(self.x.to(device), observed, self.weight.to(device))


class Batches:
    """All rows once, in batches; in a new order each time if there is a generator."""

    def __init__(self, rows: Rows, batch_size: int, generator: torch.Generator | None = None):
        self.rows = rows
        self.batch_size = batch_size
        self.generator = generator
        self.progress = torch.zeros((), dtype=rows.x.dtype, device=rows.x.device)

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        if self.generator is None:
            for piece in slices(len(self.rows), self.batch_size):
                yield self.rows.batch(piece, self.progress)
        else:
            order = torch.randperm(len(self.rows), generator=self.generator)
            for index in order.to(self.rows.x.device).split(self.batch_size):
                yield self.rows.batch(index, self.progress)

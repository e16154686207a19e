"""Centre and scale of a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


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
        x = torch.from_numpy(X - self.shift.astype(X.dtype))
        x /= self.scale
        # The sum is NaN if a cell is, and rarely otherwise.
        observed = ~x.isnan() if x.sum().isnan() else None
        if observed is None or observed.all():
            return x.to(dtype), None
        x[~observed] = 0
        return x.to(dtype), observed.to(dtype)

    @np.errstate(over="ignore", invalid="ignore")
    def undo(self, x: NDArray) -> NDArray:
        """Return rows in the units of X."""
        x = x * x.dtype.type(self.scale)
        x += self.shift.astype(x.dtype)
        return x

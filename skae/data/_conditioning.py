"""Centring and scaling of samples by one common scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Conditioning:
    """Centring and division by one number, to which principal axes are invariant.

    Attributes
    ----------
    shift : ndarray of shape (n_features,)
        Mean of the observed values of each column; 0 for a column without observed values.
    scale : float
        Square root of the mean variance of the columns.
    """

    shift: NDArray
    scale: float

    @np.errstate(over="ignore", invalid="ignore")  # results are checked by callers
    def apply(self, X: NDArray, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """Return conditioned samples, computed in X's precision, and the mask of observed cells."""
        x = torch.from_numpy(X - self.shift.astype(X.dtype))
        x /= self.scale
        # The sum is NaN if a cell is; a cheap test, confirmed below.
        observed = ~x.isnan() if x.sum().isnan() else None
        if observed is None or observed.all():
            return x.to(dtype), None
        x[~observed] = 0
        return x.to(dtype), observed.to(dtype)

    @np.errstate(over="ignore", invalid="ignore")
    def undo(self, x: NDArray) -> NDArray:
        """Return samples in the units of X."""
        x = x * x.dtype.type(self.scale)
        x += self.shift.astype(x.dtype)
        return x

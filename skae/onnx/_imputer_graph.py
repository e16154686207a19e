"""The imputation of missing values as a module."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skae.impute import DETERMINED_ERROR, MAX_STANDARDIZED, AutoencoderImputer
from skae.onnx._completions import GaussianRows, Rows, completion_module, set_constants
from skae.onnx._graphs import TORCH_DTYPE
from skae.tables import NumericTable


class ImputerGraph(nn.Module):
    """What `AutoencoderImputer.transform` returns for samples, computed in float64.

    Parameters
    ----------
    imputer : AutoencoderImputer
        Fitted to an array, or to a DataFrame of numpy's numbers.
    dtype : {'float32', 'float64'}
        Type of the samples and of the result.

    Raises
    ------
    ValueError
        If it was fitted to a table of other columns, or imputes by random draws.
    """

    columns: Tensor
    position: Tensor
    indicators: Tensor
    smallest: Tensor
    largest: Tensor
    placeholder: Tensor

    def __init__(self, imputer: AutoencoderImputer, dtype: str):
        super().__init__()
        if not isinstance(imputer._table, NumericTable):
            raise ValueError(
                "to_onnx converts imputers of arrays of numbers, but this AutoencoderImputer was "
                "fitted to a table with other columns, such as categories or nullable integers; "
                "fit it to numbers, for example table.to_numpy(dtype=float)."
            )
        self.has_columns = bool(imputer._scaler.kept.any())
        self.scaling = Scaling(imputer)
        if self.has_columns:
            self.gaussian = GaussianRows(imputer._completion)
            self.estimate = completion_module(imputer._completion)
            self.limits = Limits(imputer)
        info, placeholder = np.finfo(dtype), imputer.missing_values
        is_number = isinstance(placeholder, (int, float, np.number)) and not np.isnan(placeholder)
        self.has_placeholder = is_number
        kept, columns = imputer._scaler.kept, np.flatnonzero(imputer._kept_columns)
        # The position of each column among the completed ones, which a column of 0 follows.
        position = np.where(kept, np.cumsum(kept) - 1, kept.sum())
        set_constants(
            self,
            columns=columns,
            position=position[columns],
            indicators=imputer._indicator_indices,
            smallest=info.min,
            largest=info.max,
        )
        number = np.array(placeholder if is_number else np.nan, dtype=dtype)
        self.register_buffer("placeholder", torch.tensor(number))
        self.dtype = TORCH_DTYPE[dtype]
        self.eval()

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return completed samples, (n, n_features_out)."""
        missing = x.isnan()
        if self.has_placeholder:
            missing = missing | (x == self.placeholder)
        values = torch.zeros_like(x[:, :1]).double()
        if self.has_columns:
            values = torch.cat([self._completed(x.double(), missing), values], dim=1)
        values = values.clamp(self.smallest, self.largest).to(self.dtype)
        filled = torch.where(missing[:, self.columns], values[:, self.position], x[:, self.columns])
        return (torch.cat([filled, missing[:, self.indicators].to(self.dtype)], dim=1),)

    def _completed(self, x: Tensor, missing: Tensor) -> Tensor:
        """Return the columns that had a value in `fit`, completed, in their units."""
        z, known = self.scaling(x, missing)
        rows = self.gaussian(z, known)
        filled = torch.where(known, z, self.estimate(rows))
        low, high = self.limits(rows)
        return (filled * self.scaling.scale + self.scaling.mean).clamp(low, high)


class Scaling(nn.Module):
    """Standardise the observed, plausible values of the columns that had any in ``fit``."""

    low: Tensor
    high: Tensor
    mean: Tensor
    scale: Tensor
    kept: Tensor

    def __init__(self, imputer: Any):
        super().__init__()
        scaler = imputer._scaler
        kept = scaler.kept
        low, high = scaler.bounds_[:, kept]
        set_constants(
            self,
            low=low,
            high=high,
            mean=scaler.mean_[kept],
            scale=scaler.scale_[kept],
            kept=np.flatnonzero(kept),
        )

    def forward(self, x: Tensor, missing: Tensor) -> tuple[Tensor, Tensor]:
        """Return standardised columns, 0 where nothing is known, and the mask of what is."""
        x = x[:, self.kept]
        known = ~missing[:, self.kept] & (self.low <= x) & (self.high >= x)
        z = ((x - self.mean) / self.scale).clamp(-MAX_STANDARDIZED, MAX_STANDARDIZED)
        return torch.where(known, z, 0), known


class Limits(nn.Module):
    """The smallest and largest values that may be imputed."""

    low: Tensor
    high: Tensor
    width: Tensor

    def __init__(self, imputer: Any):
        super().__init__()
        scaler, clip = imputer._scaler, imputer.clip
        lower, upper = imputer._residuals.at((0.05, 0.95))
        set_constants(
            self,
            low=scaler.data_min_[scaler.kept] if clip else np.full(len(lower), -np.inf),
            high=scaler.data_max_[scaler.kept] if clip else np.full(len(lower), np.inf),
            # Of the errors, relative to the standard deviation of a value.
            width=(upper - lower) / 2 / DETERMINED_ERROR,
        )
        self.clip = clip

    def forward(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return the limits of each value, (n, d) each."""
        if not self.clip:
            return self.low, self.high
        std = torch.where(rows.observed, 1, rows.variance.sqrt())
        excess = (1 - std * self.width).clamp_min(0)
        excess = excess * self.high - excess * self.low
        return self.low - excess, self.high + excess

"""Operators of torch, as others that ONNX and onnxruntime have."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)
N_STEPS = 8  # of the recurrence of the gamma function, from which Stirling's series is exact


def decompositions(dtype: torch.dtype) -> dict[Any, Callable[..., Any]]:
    """Return functions in place of the operators that ONNX, or float64, has not.

    onnxruntime has no kernels for the error function and for resized images in float64.
    """
    aten = torch.ops.aten
    table: dict[Any, Callable[..., Any]] = {aten.lgamma.default: _lgamma}
    if dtype == torch.float64:
        table |= {
            aten.gelu.default: _gelu,
            aten.erf.default: _erf,
            aten.upsample_nearest2d.vec: _upsample_nearest,
        }
    return table


def _lgamma(x: Tensor) -> Tensor:
    """Return the logarithm of the gamma function of positive numbers, by Stirling's series."""
    z = x.double()
    product = torch.zeros_like(z)
    for step in range(N_STEPS):
        product = product + (z + step).log()
    z = z + N_STEPS
    series = sum(c / z ** (2 * i + 1) for i, c in enumerate(STIRLING))
    return ((z - 0.5) * z.log() - z + 0.5 * math.log(2 * math.pi) + series - product).to(x.dtype)


def _erf(x: Tensor) -> Any:
    """Return the error function with the precision of float32."""
    return x.float().erf().to(x.dtype) if x.dtype == torch.float64 else NotImplemented


def _gelu(x: Tensor, approximate: str = "none") -> Tensor:
    if approximate == "tanh":
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def _upsample_nearest(x: Tensor, output_size: Any, scale_factors: Any) -> Tensor:
    """Return images, (n, channels, height, width), of another size."""
    for axis in (2, 3):
        size = x.shape[axis]
        if output_size is None:
            n, factor = math.floor(size * scale_factors[axis - 2]), scale_factors[axis - 2]
        else:
            n = output_size[axis - 2]
            factor = n / size
        index = (torch.arange(n, dtype=torch.float64) / factor).floor().long().clamp_max(size - 1)
        x = x.index_select(axis, index)
    return x

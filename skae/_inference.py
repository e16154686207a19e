"""How a fitted autoencoder is applied to samples and to codes, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from skae._numeric_input import as_numeric
from skae._validation import check_array
from skae.data import FLOATS, Batch, DataSource
from skae.training import AutoencoderModule

Function = Callable[[Any, AutoencoderModule, Batch], Tensor]
TORCH_DTYPE = {np.dtype(np.float64): torch.float64, np.dtype(np.float32): torch.float32}


def gen_results(
    estimator: Any, function: Function, source: DataSource, chunks: Iterable[slice]
) -> Iterator[Tensor]:
    """Generate ``function(fitted, module, batch)`` for chunks of the samples of a source."""
    fitted, module = estimator._with_fit_params(), estimator._module_in(source.dtype)
    dtype, device = module.output_bias.dtype, module.output_bias.device
    progress = torch.ones((), dtype=dtype, device=device)
    for chunk in chunks:
        x, observed = estimator._conditioning.apply(source[chunk], dtype)
        observed = None if observed is None else observed.to(device)
        weight = torch.ones(len(x), device=device)
        with torch.no_grad():
            result = function(fitted, module, Batch(x.to(device), observed, weight, progress))
        yield result


def check_codes(estimator: Any, Z: ArrayLike, accept_sparse: str | bool = False) -> Any:
    """Return codes as an array or CSR matrix; raise ValueError if the fit has no such codes."""
    codes = check_array(
        as_numeric(Z, "Z"),
        accept_sparse=accept_sparse,
        dtype=FLOATS,
        order="C",
        input_name="Z",
        estimator=estimator,
    )
    if codes.shape[1] != estimator.n_components_:
        raise ValueError(
            f"Z has {codes.shape[1]} columns, but this {type(estimator).__name__} was fitted with "
            f"n_components={estimator.n_components_}; pass what transform returns."
        )
    return codes

"""Codes of which few entries are not zero, as sparse matrices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from skae._sklearn import _align_api_if_sparse
from skae.architectures import UnitLinear
from skae.data import concatenate_chunks, gen_chunks
from skae.training import AutoencoderModule


def csr_of(chunks: Iterable[Tensor], n_components: int, dtype: np.dtype) -> Any:
    """Return codes, of which there are successive chunks, as a CSR matrix.

    The entries of each chunk that are not zero are copied to the end of growing arrays at once:
    small arrays that are kept between large temporary ones would fragment the memory.
    """
    data, indices, starts = np.empty(0, dtype), np.empty(0, np.int32), np.zeros(1, np.int64)
    n_rows, n_entries = 0, 0
    for z in chunks:
        rows, columns = z.nonzero(as_tuple=True)
        end = n_entries + len(rows)
        if end > len(data):
            data.resize(end + end // 4, refcheck=False)
            indices.resize(end + end // 4, refcheck=False)
        data[n_entries:end] = z[rows, columns].cpu().numpy()
        indices[n_entries:end] = columns.cpu().numpy()
        starts.resize(n_rows + len(z) + 1, refcheck=False)
        counts = rows.bincount(minlength=len(z)).cpu().numpy()
        starts[n_rows + 1 :] = n_entries + counts.cumsum()
        n_rows, n_entries = n_rows + len(z), end
    data.resize(n_entries, refcheck=False)
    indices.resize(n_entries, refcheck=False)
    codes = sparse.csr_array((data, indices, starts), shape=(n_rows, n_components))
    return _align_api_if_sparse(codes)


def linear_decoder(module: AutoencoderModule) -> tuple[Tensor, Tensor] | None:
    """Return weights (n_outputs, n_components) and bias of a linear decoder; else None."""
    axes = None if module.encoder_shortcut is None else module.output_axes
    found = _linear_map(module.decoder, axes)
    return None if found is None else (found[0], found[1] + module.output_bias.detach())


def linear_encoder(module: AutoencoderModule) -> tuple[Tensor, Tensor] | None:
    """Return weights (n_code, n_inputs) and bias of a linear encoder; else None."""
    axes = None if module.encoder_shortcut is None else module.input_axes
    return _linear_map(module.encoder, axes)


def _linear_map(network: Any, axes: Tensor | None) -> tuple[Tensor, Tensor] | None:
    """Return weights and bias of a network of one linear layer, with a linear shortcut."""
    if type(network) is nn.Sequential and len(network) == 1:
        network = network[0]
    if type(network) not in (nn.Linear, UnitLinear):
        return None
    weight = network.columns if isinstance(network, UnitLinear) else network.weight
    bias = torch.zeros_like(weight[:, 0]) if network.bias is None else network.bias
    return (weight if axes is None else weight + axes).detach(), bias.detach()


@torch.no_grad()
def decode_csr(estimator: Any, module: AutoencoderModule, codes: Any) -> NDArray:
    """Return the reconstructions of a CSR matrix of codes, chunk by chunk.

    A linear decoder multiplies the stored entries alone; other decoders are given dense chunks.
    """
    fitted, linear = estimator._with_fit_params(), linear_decoder(module)
    (n_samples, n_components), n_features = codes.shape, estimator.n_features_in_
    if linear is None:

        def decoded(chunk: slice) -> NDArray:
            z = torch.tensor(codes[chunk].toarray(), device=module.output_bias.device)
            return fitted._decode(module, z).cpu().numpy()

        size = max(n_components, n_features)
    else:
        columns, bias = linear[0].T.cpu().contiguous().numpy(), linear[1].cpu().numpy()

        def decoded(chunk: slice) -> NDArray:
            return module.loss.link(torch.from_numpy(codes[chunk] @ columns + bias)).numpy()

        size = n_features
    return concatenate_chunks(n_samples, map(decoded, gen_chunks(n_samples, size)))

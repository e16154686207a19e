"""Files that SAELens reads: cfg.json and sae_weights.safetensors in one folder."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save

from skae._file_format import replace_file
from skae.autoencoders._sparse_codes import linear_decoder, linear_encoder
from skae.training import AutoencoderModule

MAX_ROUNDING = 1e-4  # of offsets in float32, in units of the network


def check_supported(condition: bool, name: str, what: str) -> None:
    """Raise ValueError where SAELens has no such autoencoder."""
    if not condition:
        raise ValueError(f"SAELens has no autoencoders like this {name}: {what}")


def folded_weights(module: AutoencoderModule, name: str) -> dict[str, NDArray]:
    """Return the weights for samples in their own units, in float32.

    SAELens subtracts ``b_dec``, the reconstruction of the code 0, from its inputs.
    """
    encoder, decoder = linear_encoder(module), linear_decoder(module)
    check_supported(
        bool(module.loss.power), name, "choose loss='squared_error' or 'absolute_error'."
    )
    check_supported(
        encoder is not None and decoder is not None,
        name,
        "encoder and decoder must have one linear layer each, as by default.",
    )
    assert encoder is not None
    assert decoder is not None
    (w_in, b_in), (w_out, b_out) = (
        (weight.double().cpu(), bias.double().cpu()) for weight, bias in (encoder, decoder)
    )
    shift, scale = module.shift.double().cpu(), module.scale.double().cpu()
    weights = {
        "W_enc": w_in.T / scale,
        "b_enc": b_in + w_in @ b_out,
        "W_dec": w_out.T * scale,
        "b_dec": b_out * scale + shift,
    }
    finite = all(bool(value.float().isfinite().all()) for value in weights.values())
    check_supported(finite, name, "its weights overflow float32; multiply X by a constant first.")
    rounding = (weights["b_dec"].float().double() - weights["b_dec"]).abs().max()
    check_supported(
        bool(rounding <= MAX_ROUNDING * scale),
        name,
        "its offset is too large for float32; subtract a constant from X first.",
    )
    return {key: value.float().contiguous().numpy() for key, value in weights.items()}


@torch.no_grad()
def write_saelens(
    path: str | os.PathLike[str], module: AutoencoderModule, name: str, activation: dict[str, Any]
) -> None:
    """Write a folder that SAELens reads; ``activation`` has the settings of its architecture."""
    weights, config = folded_weights(module, name), dict(activation)
    threshold = config.pop("threshold", None)
    if threshold is not None:
        # SAELens keeps what is above the threshold, skae what is at least as large.
        below = np.nextafter(np.float32(threshold), np.float32(-np.inf))
        weights["threshold"] = np.full(len(weights["b_enc"]), below, dtype=np.float32)
    d_in, d_sae = weights["W_enc"].shape
    config |= {
        "d_in": d_in,
        "d_sae": d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {},
    }
    os.makedirs(path, exist_ok=True)
    replace_file(os.path.join(path, "sae_weights.safetensors"), save(weights))
    replace_file(os.path.join(path, "cfg.json"), json.dumps(config, indent=2).encode())

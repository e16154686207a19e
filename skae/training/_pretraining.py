"""Greedy layer-wise pretraining: each hidden layer first as a shallow autoencoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from skae.data import Batch, Conditioning, concatenate_chunks
from skae.data._dataset import InMemoryDataset, RowDataset
from skae.losses import LOSSES
from skae.training._module import AutoencoderModule


def pretrain(
    module: AutoencoderModule,
    rows: RowDataset,
    train: Callable[[AutoencoderModule, RowDataset], None],
) -> None:
    """Train each hidden layer as a shallow autoencoder of what the one before it answers.

    The decoder's layer that mirrors it is the shallow decoder. The loss is the squared error, of
    the observed cells for the first layer.

    Parameters
    ----------
    module : AutoencoderModule
        Of dense networks, each layer but the last followed by its activation.
    rows : RowDataset
    train : callable
        Trains a shallow module on rows.

    Raises
    ------
    ValueError
        If the networks are not made of such layers, or do not mirror each other.
    """
    encoder, decoder = (
        list(cast(nn.Sequential, module.encoder)),
        cast(nn.Sequential, module.decoder),
    )
    mirrored = list(decoder)[::-2]
    check(encoder, mirrored, rows.n_features)
    for layer, activation, back in zip(encoder[:-1:2], encoder[1::2], mirrored, strict=False):
        n_in, n_out = cast(nn.Linear, layer).in_features, cast(nn.Linear, layer).out_features
        shallow = AutoencoderModule(
            nn.Sequential(layer, activation),
            nn.Sequential(back),
            n_inputs=n_in,
            n_code=n_out,
            n_components=n_out,
            n_outputs=n_in,
            linear_shortcut=False,
            loss=LOSSES["squared_error"],
            conditioning=Conditioning(np.zeros(n_in), 1.0),
        )
        shallow.objective = plain_objective
        train(shallow, rows)
        shallow.cpu().eval()
        with torch.no_grad():
            codes = (shallow.encode(rows.values(chunk)[0]).numpy() for chunk in rows.gen_chunks())
            x = torch.from_numpy(concatenate_chunks(len(rows), codes))
        rows = InMemoryDataset(x, None, rows.weight)


def check(encoder: list[nn.Module], mirrored: list[nn.Module], width: int) -> None:
    """Refuse networks whose layers cannot be trained one by one."""
    fits = len(mirrored) > len(encoder[1::2])
    for layer, activation, back in zip(encoder[:-1:2], encoder[1::2], mirrored, strict=False):
        fits = fits and isinstance(layer, nn.Linear) and layer.in_features == width
        if not fits:
            break
        width = cast(nn.Linear, layer).out_features
        try:
            with torch.no_grad():
                x = torch.zeros_like(cast(nn.Linear, layer).weight[:1])
                fits = back(activation(layer(x))).shape == x.shape
        except RuntimeError:
            fits = False
    if not fits:
        raise ValueError(
            "pretraining_epochs trains each hidden layer as a shallow autoencoder, for which the "
            "encoder must see the rows and nothing else, be made of dense layers, each followed by "
            "its activation, and the decoder mirror it; set pretraining_epochs=0, or change the "
            "architecture (decoder_hidden_layer_sizes=None, one noise_level instead of a range)."
        )


def plain_objective(module: AutoencoderModule, batch: Batch) -> Tensor:
    """Return the reconstruction loss of each row, (n,), without any variant's hook."""
    return module.reconstruction_loss(module.decode(module.encode(batch.x)), batch)

from __future__ import annotations

from numbers import Real
from typing import Any

import torch
from torch import nn

from skae._sklearn import Interval
from skae._training_parameters import N_COMPONENTS, N_COMPONENTS_DOC
from skae.architectures import MLP
from skae.architectures._layers import UnitLinear
from skae.autoencoders._autoencoder import Autoencoder
from skae.data import Batch, RowDataset
from skae.hyperparameters import hyperparameters, one_of, param
from skae.training import AutoencoderModule


def layers_of(network: Any) -> list[Any]:
    """Return the layers of a network, or itself if it has none."""
    return list(network.children()) or [network]


@hyperparameters
class DictionaryAutoencoder(Autoencoder):
    """Base of the autoencoders whose code picks a few columns of a wide decoder.

    Parameters
    ----------
    {parameters}
    """

    n_components: Any = param(
        *N_COMPONENTS,
        one_of("auto"),
        default="auto",
        kw_only=False,
        doc=f"{N_COMPONENTS_DOC}\n'auto' is twice the number of features.",
    )
    architecture: Any = param(
        *Autoencoder._parameter_constraints["architecture"],
        default=None,
        doc="""
        Recipe that builds encoder and decoder, such as `MLP`; None is ``MLP(hidden_layer_sizes,
        activation, decoder_hidden_layer_sizes=(), unit_norm="l2")``: a decoder of one layer whose
        columns have norm 1. Give either a recipe or its parameters here.""",
    )
    hidden_layer_sizes: Any = param(
        *Autoencoder._parameter_constraints["hidden_layer_sizes"],
        default=None,
        doc="""
        Width of each hidden layer of the encoder; the decoder has none. None leaves it to the
        architecture, whose default here is (): both are one layer.""",
    )
    linear_shortcut: bool = param(
        "boolean",
        default=False,
        doc="Whether a linear map runs beside the encoder, and another beside the decoder.",
    )

    mask_ratio: float = param(
        Interval(Real, 0, 1, closed="left"),
        default=0.0,
        doc="""
        Share of the cells that training hides from the encoder, as masking noise does: their
        column's mean stands for them. Units then answer to patterns that are told by a part of
        them, which makes better features, at some cost in reconstruction.""",
    )

    _linear_code = False

    def _default_architecture(self, **flat: Any) -> Any:
        flat = {"hidden_layer_sizes": (), "unit_norm": "l2"} | flat
        return MLP(decoder_hidden_layer_sizes=(), **flat)

    def _auto_n_components(self, n_features: int) -> int:
        return 2 * n_features

    def _corrupt(self, module: AutoencoderModule, batch: Batch) -> Batch:
        if not self.mask_ratio:
            return batch
        seen = batch.random.uniform(*batch.x.shape) >= self.mask_ratio
        return batch._replace(x=batch.x * seen)

    def _before_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        """Let each unit of a single layer look for the pattern that it writes."""
        layers = layers_of(module.encoder), layers_of(module.decoder)
        if any(len(network) > 1 for network in layers):
            return
        (encoder,), (decoder,) = layers
        unit = isinstance(decoder, UnitLinear) and decoder.length == 1
        if isinstance(encoder, nn.Linear) and unit:
            with torch.no_grad():
                encoder.weight.copy_(decoder.columns.T)
                encoder.bias.zero_()
                decoder.bias.zero_()

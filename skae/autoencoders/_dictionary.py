from __future__ import annotations

from numbers import Real
from typing import Any

import torch
from torch import nn

from skae._sklearn import Interval
from skae._training_parameters import N_COMPONENTS, N_COMPONENTS_DOC
from skae.architectures import MLP, UnitLinear
from skae.autoencoders._autoencoder import Autoencoder
from skae.autoencoders._corruption import hide_cells
from skae.data import Batch, RowDataset
from skae.hyperparameters import hyperparameters, one_of, param
from skae.training import AutoencoderModule


def layers_of(network: Any) -> list[Any]:
    """Return the layers of a network, or the network itself if it has none."""
    return list(network.children()) or [network]


@hyperparameters
class DictionaryAutoencoder(Autoencoder):
    """Base of the autoencoders with a wide, sparse code.

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
        Builds encoder and decoder. If None, ``MLP(hidden_layer_sizes, activation,
        decoder_hidden_layer_sizes=(), unit_norm="l2")``: a decoder of one layer whose columns have
        norm 1. Set either an architecture or these parameters.""",
    )
    hidden_layer_sizes: Any = param(
        *Autoencoder._parameter_constraints["hidden_layer_sizes"],
        default=None,
        doc="""
        Number of units of each hidden layer of the encoder; the decoder has none. If None, the
        default of the architecture, which is () here: encoder and decoder have one layer each.""",
    )
    linear_shortcut: bool = param(
        "boolean",
        default=False,
        doc="Whether linear maps are added to the encoder and to the decoder.",
    )

    mask_ratio: float = param(
        Interval(Real, 0, 1, closed="left"),
        default=0.0,
        doc="""
        Fraction of the cells that are replaced by the mean of their column in the input of the
        encoder in training, as by masking noise. Units then respond to patterns that are visible in
        part only. This improves the features and increases the reconstruction error a little.""",
    )

    _linear_code = False

    def _default_architecture(self, **flat: Any) -> Any:
        flat = {"hidden_layer_sizes": (), "unit_norm": "l2"} | flat
        return MLP(decoder_hidden_layer_sizes=(), **flat)

    def _auto_n_components(self, n_features: int) -> int:
        return 2 * n_features

    def _corrupt(self, module: AutoencoderModule, batch: Batch) -> Batch:
        return hide_cells(batch, self.mask_ratio)

    def _before_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        """Initialise a single layer of the encoder by the transposed weights of the decoder."""
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

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from numbers import Integral
from typing import cast

import torch
from torch import nn

from skae._schema import persistent
from skae._sklearn import Interval
from skae.architectures._base import (
    Architecture,
    PretrainingStage,
    hidden_sizes,
    last_layer_parameters,
)
from skae.architectures._layers import ACTIVATIONS, Transposed, UnitLinear
from skae.hyperparameters import POSITIVE_INT, hyperparameters, one_of, param

HIDDEN_LAYER_SIZES = ("array-like", POSITIVE_INT)
ACTIVATION = one_of(*ACTIVATIONS)


@persistent
@hyperparameters
class MLP(Architecture):
    r"""Dense encoder, and dense decoder that mirrors it.

    With hidden layers of :math:`n_1, \dots, n_L` units, the encoder is

    .. math:: h_l = \phi(W_l h_{l-1} + b_l), \quad h_0 = x, \quad z = W_{L+1} h_L + b_{L+1},

    and the decoder is the same with the layers in reverse order. The code and the output are
    linear. Weights are initialised uniformly in :math:`\pm 1 / \sqrt{\text{fan-in}}`.

    Parameters
    ----------
    {parameters}

    See Also
    --------
    FunctionArchitecture : Networks built by user-defined functions.
    Autoencoder : Has an ``architecture`` parameter.

    References
    ----------
    Bengio, Y., Lamblin, P., Popovici, D. and Larochelle, H. (2007). "Greedy layer-wise training of
    deep networks". Advances in Neural Information Processing Systems 19, 153-160.

    Examples
    --------
    >>> from skae import MLP
    >>> encoder, decoder = MLP(hidden_layer_sizes=(16,)).build(
    ...     n_inputs=8, n_code=3, n_components=3, n_outputs=8
    ... )
    >>> encoder
    Sequential(
      (0): Linear(in_features=8, out_features=16, bias=True)
      (1): SiLU()
      (2): Linear(in_features=16, out_features=3, bias=True)
    )
    """

    hidden_layer_sizes: Sequence[int] | int = param(
        *HIDDEN_LAYER_SIZES,
        default=(128, 64),
        kw_only=False,
        doc="""
        Number of units of each hidden layer of the encoder, from the input on; the decoder mirrors
        them. With ``()``, both are linear.""",
    )
    activation: str = param(
        ACTIVATION, default="silu", doc="Activation function of the hidden layers."
    )
    decoder_hidden_layer_sizes: Sequence[int] | int | None = param(
        *HIDDEN_LAYER_SIZES,
        None,
        default=None,
        doc="""
        Number of units of each hidden layer of the decoder, from the code on. With ``()``, it is
        linear. If None, those of the encoder in reverse order.""",
    )
    unit_norm: str | None = param(
        one_of("l2", "rms"),
        None,
        default=None,
        doc="""
        Normalise each column of the decoder's weights to Euclidean norm 1 ('l2') or root mean
        square 1 ('rms'), so that a large decoder cannot compensate for a small code. Not compatible
        with a start at PCA.""",
    )
    tied: bool = param(
        "boolean",
        default=False,
        doc="""
        Whether the decoder has the transposed weights of the encoder. Its biases are separate and
        start at zero.""",
    )
    pretraining_epochs: int = param(
        Interval(Integral, 0, None, closed="left"),
        default=0,
        doc="""
        Number of epochs of greedy pretraining (Bengio et al. 2007): before the whole is trained,
        each hidden layer in turn is trained as a shallow autoencoder of the output of the layer
        before it. A start at PCA still sets the last layers to zero afterwards.""",
    )

    def build(
        self, n_inputs: int, n_code: int, n_components: int, n_outputs: int
    ) -> tuple[nn.Module, nn.Module]:
        widths = hidden_sizes(self, "hidden_layer_sizes")
        encoder = self._stack([n_inputs, *widths, n_code])
        if self.tied:
            if self.unit_norm is not None or self.decoder_hidden_layer_sizes is not None:
                raise ValueError(
                    "tied=True determines the layers of the decoder; set "
                    "decoder_hidden_layer_sizes=None and unit_norm=None, or tied=False."
                )
            if (n_inputs, n_code) != (n_outputs, n_components):
                raise ValueError(
                    "tied=True needs an encoder and a decoder of mirrored shapes, but they map "
                    f"{n_inputs} to {n_code} and {n_components} to {n_outputs}; set tied=False."
                )
            return encoder, self._mirror(encoder)
        back = widths[::-1]
        if self.decoder_hidden_layer_sizes is not None:
            back = hidden_sizes(self, "decoder_hidden_layer_sizes")
        return encoder, self._stack([n_components, *back, n_outputs], self._decoder_layer)

    def zero_init_parameters(self, encoder: nn.Module, decoder: nn.Module) -> list[nn.Parameter]:
        if self.unit_norm is not None:
            raise ValueError(
                "A start at PCA sets the last layers to zero, which unit_norm does not allow; set "
                "unit_norm=None or use init='random'."
            )
        if (
            self.tied
        ):  # the last weights belong to the encoder, so the layers before must output zero
            return [*last_layer_parameters(encoder), *decoder.parameters()]
        return super().zero_init_parameters(encoder, decoder)

    def pretraining_stages(
        self, encoder: nn.Module, decoder: nn.Module, n_features: int
    ) -> list[PretrainingStage]:
        if not self.pretraining_epochs:
            return []
        layers, mirrored = list(encoder.children()), list(decoder.children())[::-2]
        stages: list[PretrainingStage] = []
        fits = len(mirrored) > len(layers[1::2])
        for layer, activation, back in zip(layers[:-1:2], layers[1::2], mirrored, strict=False):
            fits = fits and isinstance(layer, nn.Linear) and layer.in_features == n_features
            if not (fits and _inverts(layer, activation, back)):
                fits = False
                break
            n_features = cast(nn.Linear, layer).out_features
            parts = nn.Sequential(layer, activation), nn.Sequential(back)
            stages.append(PretrainingStage(*parts, n_features, self.pretraining_epochs))
        if not fits:
            raise ValueError(
                "pretraining_epochs trains each hidden layer as a shallow autoencoder, for which "
                "the inputs of the encoder must be the samples alone, the encoder be made of dense "
                "layers, each followed by its activation, and the decoder mirror it; set "
                "pretraining_epochs=0, or change the architecture "
                "(decoder_hidden_layer_sizes=None, one noise_level instead of a range)."
            )
        return stages

    def _n_layers(self) -> int:
        """Return a lower bound on the number of layers with weights."""
        n = len(hidden_sizes(self, "hidden_layer_sizes"))
        if self.decoder_hidden_layer_sizes is None:
            return 2 * (n + 1)
        return n + len(hidden_sizes(self, "decoder_hidden_layer_sizes")) + 2

    def _decoder_layer(self, n_in: int, n_out: int) -> nn.Linear:
        if self.unit_norm is None:
            return nn.Linear(n_in, n_out)
        return UnitLinear(n_in, n_out, 1.0 if self.unit_norm == "l2" else math.sqrt(n_out))

    def _mirror(self, encoder: nn.Sequential) -> nn.Sequential:
        layers: list[nn.Module] = []
        for layer in reversed([layer for layer in encoder if isinstance(layer, nn.Linear)]):
            layers += [Transposed(layer), ACTIVATIONS[self.activation]()]
        return nn.Sequential(*layers[:-1])

    def _stack(
        self, widths: Sequence[int], layer: Callable[[int, int], nn.Linear] = nn.Linear
    ) -> nn.Sequential:
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            layers += [layer(n_in, n_out), ACTIVATIONS[self.activation]()]
        return nn.Sequential(*layers[:-1])


@torch.no_grad()
def _inverts(layer: nn.Module, activation: nn.Module, back: nn.Module) -> bool:
    """Whether a layer of the decoder maps the output of a layer of the encoder to its input."""
    x = torch.zeros_like(cast(nn.Linear, layer).weight[:1])
    try:
        return back(activation(layer(x))).shape == x.shape
    except RuntimeError:
        return False

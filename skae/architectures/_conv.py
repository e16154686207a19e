from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from numbers import Integral
from typing import Any

from torch import Tensor, nn

from skae._schema import persistent
from skae.architectures._base import Architecture, hidden_sizes, last_layer_parameters
from skae.architectures._images import ToMaps, ToRows, WithFurtherInputs, resolve_image_shape
from skae.architectures._layers import ACTIVATIONS
from skae.architectures._mlp import ACTIVATION, HIDDEN_LAYER_SIZES
from skae.hyperparameters import IntegerInterval, hyperparameters, one_of, param


@persistent
@hyperparameters
class Conv(Architecture):
    r"""Convolutional encoder of images, and decoder that mirrors it.

    Each layer of the encoder halves height and width by a convolution with stride 2,

    .. math:: h_l = \phi(W_l * h_{l-1} + b_l), \quad h_0 = x, \quad
              z = W \phi(V \operatorname{vec}(h_L) + c) + b,

    where :math:`V` is a dense layer; `hidden_layer_sizes` can ask for several or none. Sizes are
    rounded up, so that any height and width is possible; a size of 1 stays 1. The decoder has the
    same layers in reverse order, with upsampling in place of stride. The code and the output are
    linear. Inputs of the encoder beyond the pixels, such as the noise level of a
    `DenoisingAutoencoder`, are mapped linearly and added to the first feature maps, as a constant
    for each channel.

    A row of ``X`` is an image in C order, channels last: ``image.reshape(-1)`` of an array of shape
    (height, width, channels). There is no batch normalisation: the code of a sample does not depend
    on others. With ``max_iter="auto"``, there are at least 10 epochs.

    Parameters
    ----------
    {parameters}

    See Also
    --------
    MLP : Dense networks.

    Notes
    -----
    ``fit`` raises ValueError if ``image_shape`` does not match the number of columns, if
    ``channels`` or ``hidden_layer_sizes`` do not hold positive integers, or if ``kernel_size`` is
    even.

    References
    ----------
    Masci, J., Meier, U., Ciresan, D. and Schmidhuber, J. (2011). "Stacked convolutional
    auto-encoders for hierarchical feature extraction". International Conference on Artificial
    Neural Networks, 52-59.

    Odena, A., Dumoulin, V. and Olah, C. (2016). "Deconvolution and checkerboard artifacts".
    Distill.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import Autoencoder, Conv
    >>> X = load_digits().data  # (1797, 64), images of 8 x 8
    >>> model = Autoencoder(8, architecture=Conv(channels=(8, 16)), max_iter=5, random_state=0)
    >>> model.fit_transform(X).shape
    (1797, 8)
    """

    _budget = (4000, 10)

    channels: Sequence[int] | int = param(
        *HIDDEN_LAYER_SIZES,
        default=(32, 64),
        kw_only=False,
        doc="""
        Number of channels of each convolution of the encoder, each with half the height and width
        of the one before.""",
    )
    image_shape: Sequence[int] | None = param(
        "array-like",
        None,
        default=None,
        doc="""
        Height, width and, if not 1, number of channels of the images that the rows hold. If None,
        they are square and grey if the number of columns is a square number; otherwise, a row is a
        signal, an image of height 1.""",
    )
    kernel_size: int = param(
        IntegerInterval(Integral, 3, None, closed="left"),
        default=3,
        doc="Height and width of the kernels, an odd number.",
    )
    activation: str = param(
        ACTIVATION, default="silu", doc="Activation function of all layers but the last ones."
    )
    hidden_layer_sizes: Sequence[int] | int = param(
        *HIDDEN_LAYER_SIZES,
        default=(256,),
        doc="""
        Number of units of each dense layer between the convolutions of the encoder and the code;
        the decoder mirrors them. With ``()``, there is none.""",
    )
    n_residual_blocks: int = param(
        IntegerInterval(Integral, 0, None, closed="left"),
        default=0,
        doc="""
        Number of residual blocks after each convolution of the encoder, and before each one of the
        decoder. They have two convolutions, and start as the identity.""",
    )
    upsampling: str = param(
        one_of("transposed", "resize"),
        default="transposed",
        doc="""
        How the decoder doubles height and width: 'transposed' by transposed convolutions; 'resize'
        by repeated pixels and a convolution, which takes longer and avoids checkerboard
        patterns.""",
    )

    def build(
        self, n_inputs: int, n_code: int, n_components: int, n_outputs: int
    ) -> tuple[nn.Module, nn.Module]:
        height, width, n_channels = resolve_image_shape(self.image_shape, n_outputs)
        channels = hidden_sizes(self, "channels")
        dense = hidden_sizes(self, "hidden_layer_sizes")
        if not channels:
            raise ValueError(
                "The 'channels' parameter is empty; give at least one number of channels, or use "
                "MLP for dense layers alone."
            )
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, such as 3 or 5; got {self.kernel_size}.")
        sizes = [(height, width)]
        for _ in channels:
            sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
        pixels = ToMaps(height, width, n_channels)
        maps = [n_channels, *channels]
        down: list[nn.Module] = []
        for level, (n_in, n_out) in enumerate(pairwise(maps)):
            down += [self._down(n_in, n_out, sizes[level]), *self._blocks(n_out, sizes[level + 1])]
            down.append(self._activation())
        first = nn.Sequential(pixels, down[0])
        down[0] = WithFurtherInputs(first, n_outputs, n_inputs, channels[0], axis=1)
        up: list[nn.Module] = []
        for level in reversed(range(len(channels))):
            n_in, n_out = maps[level + 1], maps[level]
            up += [*self._blocks(n_in, sizes[level + 1]), self._activation()]
            up.append(self._up(n_in, n_out, sizes[level]))
        smallest = ToMaps(*sizes[-1], channels[-1])
        n_flat = sizes[-1][0] * sizes[-1][1] * channels[-1]
        encoder = nn.Sequential(*down, ToRows(), *self._dense([n_flat, *dense, n_code]))
        decoder = self._dense([n_components, *dense[::-1], n_flat])
        return encoder, nn.Sequential(*decoder, smallest, *up, ToRows())

    def zero_init_parameters(self, encoder: nn.Module, decoder: nn.Module) -> list[nn.Parameter]:
        assert isinstance(decoder, nn.Sequential)
        return [*last_layer_parameters(encoder), *decoder[-2].parameters()]

    def _n_layers(self) -> int:
        """Return the number of layers with weights, but for that of further inputs."""
        n_convolutions = len(hidden_sizes(self, "channels")) * (1 + 2 * self.n_residual_blocks)
        return 2 * (n_convolutions + len(hidden_sizes(self, "hidden_layer_sizes")) + 1)

    def _activation(self) -> nn.Module:
        return ACTIVATIONS[self.activation]()

    def _kernel(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the height and width of a kernel: 1 where the images' is 1."""
        height, width = (self.kernel_size if n > 1 else 1 for n in size)
        return height, width

    def _down(self, n_in: int, n_out: int, size: tuple[int, int]) -> nn.Conv2d:
        return nn.Conv2d(n_in, n_out, **_geometry(self._kernel(size), stride=2))

    def _up(self, n_in: int, n_out: int, size: tuple[int, int]) -> nn.Module:
        """Return the layer whose output has the given height and width."""
        kernel = self._kernel(size)
        if self.upsampling == "resize":
            convolution = nn.Conv2d(n_in, n_out, **_geometry(kernel, stride=1))
            return nn.Sequential(nn.Upsample(size), convolution)
        even = (1 - size[0] % 2, 1 - size[1] % 2)
        return nn.ConvTranspose2d(n_in, n_out, **_geometry(kernel, stride=2), output_padding=even)

    def _blocks(self, n_channels: int, size: tuple[int, int]) -> list[nn.Module]:
        kernel = self._kernel(size)
        return [
            ResidualBlock(n_channels, kernel, self._activation())
            for _ in range(self.n_residual_blocks)
        ]

    def _dense(self, widths: Sequence[int]) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            layers += [nn.Linear(n_in, n_out), self._activation()]
        return layers[:-1]


class ResidualBlock(nn.Module):
    """Two convolutions of activations, added to their input; at first they add zero."""

    def __init__(self, n_channels: int, kernel: tuple[int, int], activation: nn.Module):
        super().__init__()
        self.activation = activation
        self.first = nn.Conv2d(n_channels, n_channels, **_geometry(kernel, stride=1))
        self.second = nn.Conv2d(n_channels, n_channels, **_geometry(kernel, stride=1))
        for parameter in self.second.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Return the input plus its residual."""
        return x + self.second(self.activation(self.first(self.activation(x))))


def _geometry(kernel: tuple[int, int], stride: int) -> dict[str, Any]:
    """Return kernel, stride and padding with which a size n becomes ceil(n / stride)."""
    return {
        "kernel_size": kernel,
        "stride": (stride if kernel[0] > 1 else 1, stride if kernel[1] > 1 else 1),
        "padding": (kernel[0] // 2, kernel[1] // 2),
    }

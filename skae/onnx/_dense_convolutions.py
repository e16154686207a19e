"""Convolutions as products with matrices, for engines without kernels for float64."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class DenseConvolution(nn.Module):
    """The same map as a convolution, computed from the cells that each output depends on.

    A transposed convolution is a convolution, with the flipped kernel, of the input with zeros
    between its cells, which are inserted by an index, too.

    Parameters
    ----------
    layer : Conv2d or ConvTranspose2d
        Without groups and dilation.
    """

    def __init__(self, layer: nn.Conv2d | nn.ConvTranspose2d):
        super().__init__()
        self.transposed = isinstance(layer, nn.ConvTranspose2d)
        self.kernel, self.stride = tuple(layer.kernel_size), tuple(layer.stride)
        self.padding = tuple(map(int, layer.padding))
        self.output_padding = tuple(layer.output_padding)
        weight = layer.weight.detach()
        if self.transposed:
            weight = weight.flip(2, 3).transpose(0, 1)
        self.register_buffer("matrix", weight.flatten(1).T.contiguous())
        self.bias = layer.bias

    def _index(self, axis: int, size: int) -> Tensor:
        """Return the input of each output and position of the kernel, `size` if it is zero."""
        k, s, p = self.kernel[axis], self.stride[axis], self.padding[axis]
        if self.transposed:
            n_out = (size - 1) * s - 2 * p + k + self.output_padding[axis]
            at = torch.arange(n_out)[:, None] + torch.arange(k) - (k - 1 - p)
            valid, at = (at >= 0) & (at % s == 0), at // s
        else:
            n_out = (size + 2 * p - k) // s + 1
            at = torch.arange(n_out)[:, None] * s + torch.arange(k) - p
            valid = at >= 0
        return torch.where(valid & (at < size), at, size)

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps, (n, channels, height, width), of maps."""
        height, width = x.shape[2:]
        rows = self._index(0, height)
        columns = self._index(1, width)
        padded = F.pad(x, (0, 1, 0, 1))
        cells = padded[:, :, rows.flatten()][:, :, :, columns.flatten()]
        cells = cells.unflatten(2, rows.shape).unflatten(4, columns.shape)  # (n, c, h, k, w, l)
        cells = cells.permute(0, 2, 4, 1, 3, 5).flatten(3)
        out = cells @ self.matrix
        return (out if self.bias is None else out + self.bias).permute(0, 3, 1, 2)


def without_convolutions(network: nn.Module) -> None:
    """Replace the plain convolutions of a network, in place."""
    for name, layer in network.named_children():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            if _is_plain(layer):
                setattr(network, name, DenseConvolution(layer))
        else:
            without_convolutions(layer)


def _is_plain(layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    return (
        layer.groups == 1
        and set(layer.dilation) == {1}
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )

"""Rows as images: their shape, and layers between the two."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any

import numpy as np
from torch import Tensor, nn


def resolve_image_shape(image_shape: Any, n_columns: int) -> tuple[int, int, int]:
    """Return the height, width and number of channels of the images that rows hold.

    Parameters
    ----------
    image_shape : array-like of two or three int, or None
        Height, width and, if not 1, number of channels. If None, images are square and grey if the
        number of columns allows it; otherwise, they have one row: a signal.
    n_columns : int

    Returns
    -------
    height, width, channels : int

    Raises
    ------
    ValueError
        If these are not two or three positive integers, or their product is not the number of
        columns.
    """
    if image_shape is None:
        side = math.isqrt(n_columns)
        return (side, side, 1) if side**2 == n_columns else (1, n_columns, 1)
    sizes = np.atleast_1d(np.asarray(image_shape, dtype=object)).tolist()
    if len(sizes) not in (2, 3) or not all(
        isinstance(n, Integral) and not isinstance(n, bool) and int(n) > 0 for n in sizes
    ):
        raise ValueError(
            "image_shape must be (height, width) or (height, width, channels), positive integers; "
            f"got {image_shape!r}."
        )
    height, width, channels = (int(n) for n in (*sizes, 1)[:3])
    if height * width * channels != n_columns:
        raise ValueError(
            f"Images of image_shape={tuple(int(n) for n in sizes)} have "
            f"{height * width * channels} values, but there are {n_columns} columns; set "
            "image_shape to the height, width and number of channels of an image."
        )
    return height, width, channels


class ToMaps(nn.Module):
    """Rows, channels last, to maps of shape (n, channels, height, width)."""

    def __init__(self, height: int, width: int, channels: int):
        super().__init__()
        self.shape = (height, width, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps."""
        return x.unflatten(1, self.shape).permute(0, 3, 1, 2)


class ToRows(nn.Module):
    """Maps of shape (n, channels, height, width) to rows, channels last."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return the rows."""
        return maps.permute(0, 2, 3, 1).flatten(1)


class WithFurtherInputs(nn.Module):
    """A layer of the pixels, plus a linear map of the inputs beyond them.

    The map adds a constant to each channel of the layer's output, so that neither the number of
    further inputs nor their meaning (a noise level, a mask) depends on the layer.

    Parameters
    ----------
    layer : Module
        Maps rows of pixels to an array with one axis for samples, one for channels and others.
    n_pixels, n_inputs : int
        Number of columns that are pixels, and of all.
    n_channels : int
    axis : int
        Axis of the channels.

    Raises
    ------
    ValueError
        If there are fewer columns than pixels.
    """

    def __init__(self, layer: nn.Module, n_pixels: int, n_inputs: int, n_channels: int, axis: int):
        super().__init__()
        if n_inputs < n_pixels:
            raise ValueError(
                f"The encoder of images has all their {n_pixels} values as inputs, and possibly "
                f"further ones; got {n_inputs} inputs."
            )
        self.layer = layer
        self.n_pixels = n_pixels
        self.axis = axis
        self.further: nn.Linear | None = None
        if n_inputs > n_pixels:
            self.further = nn.Linear(n_inputs - n_pixels, n_channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the layer, shifted by the further inputs."""
        output = self.layer(x[:, : self.n_pixels])
        if self.further is None:
            return output
        shift = self.further(x[:, self.n_pixels :])
        shape = [1] * output.ndim
        shape[0], shape[self.axis] = shift.shape
        return output + shift.view(shape)

"""The networks of a masked autoencoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from skae.architectures import CellMap, Positions, TokenArchitecture, TokenLayout
from skae.autoencoders._masking import Masks


class Visible(NamedTuple):
    """The tokens that the encoder is given."""

    which: Tensor  # (n, n_visible), their numbers
    ignored: Tensor | None  # (n, n_visible), 1 for those that are missing nevertheless


class MaskedEncoder(nn.Module):
    """Encode visible tokens; the code is a linear map of all tokens."""

    center: Tensor

    def __init__(
        self, architecture: TokenArchitecture, layout: TokenLayout, n_code: int, masks: Masks
    ):
        super().__init__()
        self.masks = masks
        self.tokenizer = architecture.tokenizer(layout)
        self.transformer = architecture.transformer()
        self.out = nn.Linear(layout.n_tokens * architecture.width, n_code)
        # The mean of each encoded token in the training samples, in place of missing ones.
        self.register_buffer("center", torch.zeros(layout.n_tokens, architecture.width))

    def visible(self, x: Tensor, visible: Visible) -> Tensor:
        """Return the encoded visible tokens, (n, n_visible, width)."""
        tokens = self.tokenizer(x)
        index = visible.which[:, :, None].expand(-1, -1, tokens.shape[2])
        return self.transformer(tokens.gather(1, index), visible.ignored)

    def tokens(self, x: Tensor, missing: Tensor | None = None) -> Tensor:
        """Return all encoded tokens, (n, n_tokens, width)."""
        tokens = self.transformer(self.tokenizer(x), missing)
        return (
            tokens if missing is None else torch.where(missing[:, :, None] > 0, self.center, tokens)
        )

    def code(self, x: Tensor, missing: Tensor | None = None) -> Tensor:
        """Return the code, (n, n_code)."""
        if missing is not None:  # an empty row is the mean, none of whose tokens is missing
            missing = missing * (1 - missing.amin(1, keepdim=True))
        return self.out(self.tokens(x, missing).flatten(1))

    def partial_code(self, x: Tensor, visible: Visible) -> Tensor:
        """Return the code, (n, n_code), estimated from some of the tokens."""
        index = visible.which[:, :, None].expand(-1, -1, self.center.shape[1])
        center = self.center.expand(len(x), -1, -1)
        deviation = self.visible(x, visible) - center.gather(1, index)
        if visible.ignored is not None:
            deviation = deviation * (1 - visible.ignored[:, :, None])
        share = visible.which.shape[1] / len(self.center)
        return self.out(center.scatter_add(1, index, deviation / share).flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the code, (n, n_code), of rows without missing values."""
        return self.code(x)


class MaskedDecoder(nn.Module):
    """Predict the cells of hidden tokens; rows are a linear map of the code."""

    def __init__(
        self, architecture: TokenArchitecture, layout: TokenLayout, n_components: int, shared: bool
    ):
        super().__init__()
        width = architecture.decoder_width
        self.out = nn.Linear(n_components, layout.n_features, bias=False)
        self.entry = nn.Linear(architecture.width, width)
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.positions = Positions(layout, width, fixed=shared)
        self.transformer = architecture.transformer(decoder=True)
        self.cells = CellMap(layout, width, layout.n_cells, shared=shared)

    def predict(self, which: Tensor, encoded: Tensor, visible: Visible) -> Tensor:
        """Return the cells of some tokens, (n, t, n_cells), given encoded visible ones.

        These tokens, with the numbers (n, t), attend to the visible ones, not to each other.
        """
        memory = self.positions(self.entry(encoded), visible.which)
        tokens = self.positions(self.mask_token, which)
        decoded = self.transformer(tokens, visible.ignored, memory)
        return self.cells(decoded, which)

    def forward(self, z: Tensor) -> Tensor:
        """Return rows, (n, n_features), of codes."""
        return self.out(z)


class MaskedNetworks:
    """Build the networks of a masked autoencoder from the parts of an architecture.

    Parameters
    ----------
    architecture : TokenArchitecture
    masks_of : callable
        Returns the masks for a layout of tokens.
    """

    def __init__(self, architecture: TokenArchitecture, masks_of: Callable[[TokenLayout], Masks]):
        self.architecture = architecture
        self.masks_of = masks_of

    def build(
        self, n_inputs: int, n_code: int, n_components: int, n_outputs: int
    ) -> tuple[nn.Module, nn.Module]:
        """Return encoder and decoder."""
        architecture = self.architecture
        layout = architecture.layout(n_outputs)
        size = layout.n_tokens * architecture.width
        if n_code > size:
            raise ValueError(
                f"n_components={n_code} is more than the {size} outputs of the encoder, "
                f"{layout.n_tokens} tokens of width={architecture.width}; lower it, or raise width."
            )
        encoder = MaskedEncoder(architecture, layout, n_code, self.masks_of(layout))
        return encoder, MaskedDecoder(architecture, layout, n_components, architecture._shared)

    def _n_layers(self) -> int | None:
        return self.architecture._n_layers()

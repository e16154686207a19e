"""The networks of a masked autoencoder."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from skae.architectures import CellMap, Positions, TokenArchitecture, TokenLayout


class Visible(NamedTuple):
    """The tokens that the encoder is given."""

    which: Tensor  # (n, n_visible), their numbers
    ignored: Tensor | None  # (n, n_visible), 1 for those that are missing nevertheless


class MaskedEncoder(nn.Module):
    """Encode visible tokens; the code is a linear map of the mean of all tokens."""

    sums: Tensor

    def __init__(self, architecture: TokenArchitecture, layout: TokenLayout, n_code: int):
        super().__init__()
        self.tokenizer = architecture.tokenizer(layout)
        self.transformer = architecture.transformer(layout)
        self.out = nn.Linear(architecture.width, n_code)
        # Of the pooled tokens and rows that the code was fitted to, see `products`.
        size = 1 + architecture.width
        self.register_buffer("sums", torch.zeros(size, size + layout.n_features))

    def visible(self, x: Tensor, visible: Visible) -> Tensor:
        """Return the encoded visible tokens, (n, n_visible, width)."""
        tokens = self.tokenizer(x)
        index = visible.which[:, :, None].expand(-1, -1, tokens.shape[2])
        return self.transformer(tokens.gather(1, index), visible.ignored, visible.which)

    def pooled(self, x: Tensor, missing: Tensor | None = None) -> Tensor:
        """Return the mean of the encoded tokens, (n, width), without the missing ones."""
        tokens = self.transformer(self.tokenizer(x), missing)
        if missing is None:
            return tokens.mean(1)
        weight = 1 - missing
        weight = torch.where(weight.sum(1, keepdim=True) > 0, weight, 1)  # an empty row is the mean
        return (tokens * weight[:, :, None]).sum(1) / weight.sum(1, keepdim=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the code, (n, n_code)."""
        return self.out(self.pooled(x))


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
        self.transformer = architecture.transformer(layout, decoder=True)
        self.cells = CellMap(layout, width, layout.n_cells, shared=shared)

    def predict(self, which: Tensor, encoded: Tensor, visible: Visible) -> Tensor:
        """Return the cells of some tokens, (n, t, n_cells), given encoded visible ones.

        These tokens, with the numbers (n, t), attend to the visible ones, not to each other.
        """
        memory = self.positions(self.entry(encoded), visible.which)
        tokens = self.positions(self.mask_token, which)
        decoded = self.transformer(tokens, visible.ignored, which, memory, visible.which)
        return self.cells(decoded, which)

    def forward(self, z: Tensor) -> Tensor:
        """Return rows, (n, n_features), of codes."""
        return self.out(z)


class MaskedNetworks:
    """Build the networks of a masked autoencoder from the parts of an architecture."""

    def __init__(self, architecture: TokenArchitecture):
        self.architecture = architecture

    def build(
        self, n_inputs: int, n_code: int, n_components: int, n_outputs: int
    ) -> tuple[nn.Module, nn.Module]:
        """Return encoder and decoder."""
        architecture = self.architecture
        if n_code > architecture.width:
            raise ValueError(
                f"n_components={n_code} is more than the width={architecture.width} of the "
                f"{type(architecture).__name__}, whose tokens the code is a linear map of; lower "
                "it, or raise width."
            )
        layout = architecture.layout(n_outputs)
        encoder = MaskedEncoder(architecture, layout, n_code)
        return encoder, MaskedDecoder(architecture, layout, n_components, architecture._shared)

    def _n_layers(self) -> int | None:
        return self.architecture._n_layers()

"""Rows as sequences of tokens: which cells belong to a token, and maps between both."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from skae.architectures._layout import TokenLayout
from skae.architectures._transformer import Transformer


class Cells(nn.Module):
    """Map rows to the cells of their tokens, and back."""

    index: Tensor
    inverse: Tensor
    is_cell: Tensor

    def __init__(self, layout: TokenLayout):
        super().__init__()
        self.layout = layout
        flat = layout.cells.ravel()
        inverse = np.empty(layout.n_features + 1, dtype=np.int64)
        inverse[flat] = np.arange(len(flat))
        # From numpy, so that they have values even if the module is built on the meta device; they
        # follow from the layout, so that files do not have them.
        buffers = {
            "index": flat,
            "inverse": inverse[:-1],
            "is_cell": (layout.cells < layout.n_features).astype(np.float32),
        }
        for name, value in buffers.items():
            self.register_buffer(name, torch.from_numpy(value), persistent=False)
        self.is_padded = bool((flat == layout.n_features).any())

    def forward(self, x: Tensor) -> Tensor:
        """Return the cells of each token, (n, n_tokens, n_cells), of rows (n, n_features)."""
        if self.is_padded:
            x = torch.cat([x, torch.zeros_like(x[:, :1])], dim=1)
        return x[:, self.index].unflatten(1, self.layout.cells.shape)

    def rows(self, cells: Tensor) -> Tensor:
        """Return rows, (n, n_features), of the cells of each token."""
        return cells.flatten(1)[:, self.inverse]


class Tokenizer(nn.Module):
    """Linear map of the cells of each token, plus its position.

    Parameters
    ----------
    layout : TokenLayout
    width : int
        Size of a token.
    shared : bool
        Whether all tokens have the same weights and fixed sine-cosine positions; otherwise each has
        its own weights, and its position is learned.
    """

    def __init__(self, layout: TokenLayout, width: int, *, shared: bool):
        super().__init__()
        self.cells = Cells(layout)
        self.maps = CellMap(layout, layout.n_cells, width, shared=shared)
        self.positions = Positions(layout, width, fixed=shared)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens, (n, n_tokens, width), of rows (n, n_features)."""
        return self.positions(self.maps(self.cells(x)))


class CellMap(nn.Module):
    """Linear map of the last axis of arrays (n, n_tokens, n_in), shared by all tokens or not."""

    def __init__(self, layout: TokenLayout, n_in: int, n_out: int, *, shared: bool):
        super().__init__()
        each = () if shared else (layout.n_tokens,)
        self.weight = nn.Parameter(torch.empty(*each, n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(*each, n_out))
        bound = 1 / math.sqrt(n_in)
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, values: Tensor, which: Tensor | None = None) -> Tensor:
        """Return arrays (n, t, n_out), of all tokens or of those with the numbers (n, t)."""
        if self.weight.ndim == 2:
            return F.linear(values, self.weight.T, self.bias)
        if which is not None:
            return (values[:, :, None] @ self.weight[which])[:, :, 0] + self.bias[which]
        if self.weight.shape[1] == 1:
            return torch.addcmul(self.bias, values, self.weight[:, 0])
        return torch.einsum("nti,tio->nto", values, self.weight) + self.bias


class Positions(nn.Module):
    """Add the position of each token: fixed sines and cosines on the grid, or learned vectors."""

    positions: Tensor

    def __init__(self, layout: TokenLayout, width: int, *, fixed: bool):
        super().__init__()
        if fixed:
            self.register_buffer("positions", sine_cosine(layout.grid, width))
        else:
            self.positions = nn.Parameter(torch.empty(layout.n_tokens, width).normal_())

    def forward(self, tokens: Tensor, which: Tensor | None = None) -> Tensor:
        """Return tokens (n, t, width) plus the positions of all, or those of the numbers (n, t)."""
        return tokens + (self.positions if which is None else self.positions[which])


class TokenEncoder(nn.Module):
    """Tokens of rows, a transformer, and the mean of linear maps of each token to the code."""

    def __init__(
        self, tokenizer: nn.Module, transformer: Transformer, n_code: int, n_tokens: int, width: int
    ):
        super().__init__()
        self.tokenizer = tokenizer
        self.transformer = transformer
        self.n_tokens = n_tokens
        self.out = nn.Linear(self.n_tokens * width, n_code)
        bound = math.sqrt(self.n_tokens / width)
        nn.init.uniform_(self.out.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Return codes, (n, n_code)."""
        tokens = self.transformer(self.tokenizer(x))
        # A mean, so that a step of Adam changes the code as little as with one token.
        return self.out(tokens.flatten(1) / self.n_tokens)


class TokenDecoder(nn.Module):
    """A linear map of the code to tokens, a transformer, and a linear map of each to its cells."""

    def __init__(
        self,
        layout: TokenLayout,
        transformer: Transformer,
        n_components: int,
        width: int,
        *,
        shared: bool,
    ):
        super().__init__()
        self.start = nn.Linear(n_components, layout.n_tokens * width)
        self.positions = Positions(layout, width, fixed=shared)
        self.transformer = transformer
        self.cells = Cells(layout)
        self.out = CellMap(layout, width, layout.n_cells, shared=shared)

    def forward(self, z: Tensor) -> Tensor:
        """Return rows, (n, n_features)."""
        tokens = self.start(z).unflatten(1, (self.cells.layout.n_tokens, -1))
        return self.cells.rows(self.out(self.transformer(self.positions(tokens))))


def sine_cosine(grid: tuple[int, int], width: int) -> Tensor:
    """Return sines and cosines of the row and column of each token, (n_tokens, width).

    Half of the columns are for the row and half for the column, with wavelengths from 2 pi to
    20,000 pi (Vaswani et al. 2017); all are for the column if there is one row of tokens.
    """
    rows, columns = grid
    places = torch.arange(rows * columns)
    axes = [places % columns] if rows == 1 else [places // columns, places % columns]
    parts = []
    for i, place in enumerate(axes):
        size = width // len(axes) + (i < width % len(axes))
        n_frequencies = -(-size // 2)
        frequency = 10_000.0 ** (-torch.arange(n_frequencies) / n_frequencies)
        angle = place[:, None] * frequency
        parts.append(torch.cat([angle.sin(), angle.cos()], dim=1)[:, :size])
    return torch.cat(parts, dim=1).to(torch.get_default_dtype())

"""Which tokens a masked autoencoder hides."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skae.architectures import TokenLayout
from skae.data import Batch


class Masks(nn.Module):
    """Base of the ways to choose which tokens of each row are hidden."""

    def __init__(self, layout: TokenLayout, n_hidden: int):
        super().__init__()
        self.n_tokens = layout.n_tokens
        self.n_hidden = n_hidden
        self.n_visible = layout.n_tokens - n_hidden

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Return an order of the tokens, (n, n_tokens), and which of them are hidden.

        The first `n_visible` are visible and the last `n_hidden` are hidden. If these overlap,
        the second result is 1 for the tokens that are hidden, (n, n_tokens), else it is None.
        """
        raise NotImplementedError


class RandomMasks(Masks):
    """Hide tokens drawn at random."""

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        return batch.random.uniform(len(batch.x), self.n_tokens).argsort(1), None


class BlockMasks(Masks):
    """Hide a block of adjacent tokens, at a random position of the grid."""

    def __init__(self, layout: TokenLayout, n_hidden: int):
        rows, columns = layout.grid
        share = n_hidden / layout.n_tokens
        height = 1 if rows == 1 else min(rows, max(1, round(rows * share**0.5)))
        width = min(columns, max(1, round(n_hidden / height)))
        if height * width == layout.n_tokens:  # leave a token visible
            height, width = (height, width - 1) if width > 1 else (height - 1, width)
        super().__init__(layout, height * width)
        self.grid, self.block = (rows, columns), (height, width)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        token = torch.arange(self.n_tokens, device=batch.x.device)
        inside = torch.ones(len(batch.x), self.n_tokens, dtype=torch.bool, device=batch.x.device)
        for place, n, size in zip(
            (token // self.grid[1], token % self.grid[1]), self.grid, self.block, strict=True
        ):
            first = batch.random.integers(n - size + 1, len(batch.x), 1)
            inside = inside & (place >= first) & (place < first + size)
        return inside.to(torch.int8).argsort(dim=1, stable=True), None


class GivenMasks(Masks):
    """Hide the tokens of one of the given masks, drawn at random."""

    hidden: Tensor

    def __init__(self, layout: TokenLayout, hidden: NDArray):
        super().__init__(layout, int(hidden.sum(1).min()))
        self.n_hidden = int(hidden.sum(1).max())
        self.register_buffer("hidden", torch.from_numpy(hidden), persistent=False)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        which = batch.random.integers(len(self.hidden), len(batch.x))
        hidden = self.hidden[which].to(batch.x.dtype)
        return hidden.argsort(dim=1, stable=True), hidden


def hidden_tokens(masks: NDArray, layout: TokenLayout) -> NDArray:
    """Return which tokens have a hidden cell, (m, n_tokens), given hidden cells (m, n_features)."""
    padded = np.concatenate([masks, np.zeros((len(masks), 1), dtype=bool)], axis=1)
    return np.asarray(padded[:, layout.cells].any(axis=2))


def resolve_masks(masking: Any, mask_ratio: float, layout: TokenLayout, auto: bool) -> Masks:
    """Return the masks that parameters describe.

    Parameters
    ----------
    masking : {'random', 'block'} or array-like of bool of shape (n_masks, n_features)
    mask_ratio : float
        Fraction of the tokens to hide.
    layout : TokenLayout
    auto : bool
        Whether the ratio is a default, so that at least one token is hidden and one is visible.

    Raises
    ------
    ValueError
        If no token is hidden or visible, or if given masks do not fit the columns.
    """
    n_tokens, n_features = layout.n_tokens, layout.n_features
    if n_tokens == 1:
        raise ValueError(
            "A MaskedAutoencoder predicts tokens from other tokens, but its architecture makes one "
            f"token of n_features={n_features}; use smaller patches or groups."
        )
    if not isinstance(masking, str):
        return GivenMasks(layout, _check_masks(masking, layout))
    n_hidden = round(mask_ratio * n_tokens)
    if auto:
        n_hidden = min(max(1, n_hidden), n_tokens - 1)
    if not 0 < n_hidden < n_tokens:
        left = "hides none" if n_hidden == 0 else "leaves none visible"
        raise ValueError(
            f"mask_ratio={mask_ratio:g} {left} of the {n_tokens} tokens of a row; choose a ratio "
            f"from {1 / n_tokens:.2g} to {1 - 1 / n_tokens:.2g}."
        )
    return (BlockMasks if masking == "block" else RandomMasks)(layout, n_hidden)


def _check_masks(masking: Any, layout: TokenLayout) -> NDArray:
    """Return the tokens that given masks hide, (n_masks, n_tokens)."""
    masks = np.atleast_2d(np.asarray(masking))
    n_features = layout.n_features
    if masks.dtype != bool or masks.ndim != 2 or masks.shape[1] != n_features or not len(masks):
        raise ValueError(
            "A given masking must be boolean, True where a column is hidden, of shape "
            f"({n_features},) or (n_masks, {n_features}); got {masks.dtype} of shape {masks.shape}."
        )
    hidden = hidden_tokens(masks, layout)
    for i in np.flatnonzero(hidden.all(axis=1) | ~hidden.any(axis=1)):
        left = "hides no token" if not hidden[i].any() else "leaves no token visible"
        raise ValueError(f"Mask {i} of the given masking {left}; a token is hidden if a cell is.")
    return hidden


def complementary(n_tokens: int, mask_ratio: float) -> list[NDArray]:
    """Return sets of tokens that are hidden one after the other, each token once."""
    n_sets = min(n_tokens, max(2, round(1 / mask_ratio)))
    return np.array_split(np.random.RandomState(0).permutation(n_tokens), n_sets)

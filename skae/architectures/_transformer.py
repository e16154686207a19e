"""Transformer blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

CACHE_ROWS = 256  # rows at a time in inference: larger arrays do not fit into the cache of a CPU


class Block(nn.Module):
    """Pre-norm transformer block (Xiong et al. 2020) without dropout."""

    uses_fused_kernel = True  # see `without_fused_kernel`

    def __init__(self, width: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(
        self, tokens: Tensor, bias: Tensor | None = None, memory: Tensor | None = None
    ) -> Tensor:
        """Return tokens of the same shape, (n, t, width), attending to themselves or a memory."""
        q, k, v = (
            part.unflatten(2, (self.n_heads, -1)).transpose(1, 2)  # (n, heads, t, width / heads)
            for part in self._projections(tokens, memory)
        )
        if self.uses_fused_kernel:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        else:
            logits = q @ k.transpose(2, 3) / math.sqrt(q.shape[3])
            mixed = (logits if bias is None else logits + bias).softmax(3) @ v
        tokens = tokens + self.out(mixed.transpose(1, 2).flatten(2))
        return tokens + self.mlp(tokens)

    def _projections(self, tokens: Tensor, memory: Tensor | None) -> tuple[Tensor, ...]:
        """Return queries of the tokens, and keys and values of what they attend to."""
        if memory is None:
            return self.qkv(self.attention_norm(tokens)).chunk(3, dim=2)
        weight, bias, width = self.qkv.weight, self.qkv.bias, tokens.shape[2]
        queries = F.linear(self.attention_norm(tokens), weight[:width], bias[:width])
        attended = F.linear(self.attention_norm(memory), weight[width:], bias[width:])
        return queries, *attended.chunk(2, dim=2)


@contextmanager
def without_fused_kernel(network: nn.Module) -> Iterator[None]:
    """Context in which attention is computed by plain operations.

    PyTorch's fused kernel has neither second derivatives nor a rule for vmap.
    """
    blocks = [layer for layer in network.modules() if isinstance(layer, Block)]
    for block in blocks:
        block.uses_fused_kernel = False
    try:
        yield
    finally:
        for block in blocks:
            block.uses_fused_kernel = True


class Transformer(nn.Module):
    """Blocks, followed by a layer normalisation.

    Parameters
    ----------
    width, n_heads, n_layers : int
    """

    def __init__(self, width: int, n_heads: int, n_layers: int):
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, n_heads) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                for weight in layer.weight.chunk(3 if layer.out_features == 3 * width else 1):
                    nn.init.xavier_uniform_(weight)
                nn.init.zeros_(layer.bias)

    def forward(
        self, tokens: Tensor, ignored: Tensor | None = None, memory: Tensor | None = None
    ) -> Tensor:
        """Transform tokens.

        Parameters
        ----------
        tokens : Tensor of shape (n, t, width)
        ignored : Tensor of shape (n, m), default=None
            1 for attended tokens that are ignored, else 0; where all are, none is. If None, there
            are none.
        memory : Tensor of shape (n, m, width), default=None
            Tokens that the others attend to instead of themselves, the same in all blocks.

        Returns
        -------
        tokens : Tensor of shape (n, t, width)
        """
        if not (torch.is_grad_enabled() or torch.compiler.is_exporting()) and (
            len(tokens) > CACHE_ROWS
        ):
            arrays = (_split(array, len(tokens)) for array in (tokens, ignored, memory))
            return torch.cat([self(*parts) for parts in zip(*arrays, strict=True)])
        bias = None
        if ignored is not None:
            ignored = ignored * (1 - ignored.amin(1, keepdim=True))
            # Of any precision, also where float64 is converted to another format as float32.
            lowest = max(torch.finfo(tokens.dtype).min / 2, -1e30)
            bias = (ignored * lowest)[:, None, None]
        for block in self.blocks:
            tokens = block(tokens, bias, memory)
        return self.norm(tokens)


def _split(array: Tensor | None, n: int) -> Sequence[Tensor | None]:
    return [None] * -(-n // CACHE_ROWS) if array is None else array.split(CACHE_ROWS)

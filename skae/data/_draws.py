"""Random draws that are made before they are used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from skae.data._random import Random

Draw = tuple[Callable[..., Tensor], tuple[int, ...], torch.dtype | None]


class Recorder(Random):
    """A generator that lists what is drawn from it."""

    def __init__(self, like: Tensor):
        super().__init__(0, like)
        self.draws: list[Draw] = []

    def _drawn(
        self, draw: Callable[..., Tensor], shape: tuple[int, ...], dtype: torch.dtype | None = None
    ) -> Tensor:
        self.draws.append((draw, shape, dtype))
        return super()._drawn(draw, shape, dtype)


class Replay(Random):
    """Draws that were made before, in their order."""

    def __init__(self, drawn: Sequence[Tensor], like: Tensor):
        self.dtype, self.device = like.dtype, like.device
        self._left = list(drawn)

    def _drawn(self, *_: Any) -> Tensor:
        return self._left.pop(0)

"""Random draws of several models, each from its own generator, for one vectorised step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from skae.data import Random

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


def draw_for_all(randoms: Sequence[Random], draws: Sequence[Draw]) -> list[Tensor]:
    """Return each of the draws, stacked over the models, (n_models, ...)."""
    each = [[random._drawn(*draw) for draw in draws] for random in randoms]
    return [torch.stack(of_all) for of_all in zip(*each, strict=True)]

"""Random draws of several models, each from its own generator, for one vectorised step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from skae.data import Draw, Random


def draw_for_all(randoms: Sequence[Random], draws: Sequence[Draw]) -> list[Tensor]:
    """Return each of the draws, stacked over the models, (n_models, ...)."""
    each = [[random._drawn(*draw) for draw in draws] for random in randoms]
    return [torch.stack(of_all) for of_all in zip(*each, strict=True)]

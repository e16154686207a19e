"""Learning rate schedules: factors as functions of the completed fraction of the training."""

from __future__ import annotations

import math
from collections.abc import Callable

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda _: 1.0,
    "linear": lambda progress: 1 - progress,
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
}

WARM_UP = 0.1


def _warm_up_cosine(progress: float) -> float:
    if progress < WARM_UP:
        return progress / WARM_UP
    return SCHEDULES["cosine"]((progress - WARM_UP) / (1 - WARM_UP))


SCHEDULES["warm_up_cosine"] = _warm_up_cosine

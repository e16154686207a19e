"""The samples and the random numbers that an objective is given."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from skae.data._random import Random

NO_RANDOM = cast(Random, None)  # outside of training, where nothing is drawn


class Batch(NamedTuple):
    """A batch of samples, in conditioned units."""

    x: Tensor  # (n, d), 0 (the mean) where a value is missing
    observed: Tensor | None  # (n, d), 1 where a value is observed; None if all are
    weight: Tensor  # (n,)
    progress: Tensor  # (), completed fraction of the training
    context: Tensor | None = None  # (n, c), further inputs of the encoder, set by `_corrupt`
    random: Random = NO_RANDOM  # random numbers for objectives

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on a device; the copy is asynchronous from pinned memory."""
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=True)
            for name, value in self._asdict().items()
            if isinstance(value, Tensor)
        }
        return self._replace(**moved)

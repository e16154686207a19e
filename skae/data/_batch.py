"""What an objective sees of some rows, and what it draws from."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from skae.data._random import Random

NO_RANDOM = cast(Random, None)  # outside training, where nothing is drawn


class Batch(NamedTuple):
    """What an objective sees of some rows, in conditioned units."""

    x: Tensor  # (n, d), holes hold 0, the mean
    observed: Tensor | None  # (n, d), 1 where a value is known, or None if all are
    weight: Tensor  # (n,)
    progress: Tensor  # (), the share of the training that is done
    context: Tensor | None = None  # (n, c), further inputs of the encoder, set by `_corrupt`
    random: Random = NO_RANDOM  # what objectives draw from

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on a device; from pinned memory, copied while others compute."""
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=True)
            for name, value in self._asdict().items()
            if isinstance(value, Tensor)
        }
        return self._replace(**moved)

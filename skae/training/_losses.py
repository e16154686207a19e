"""From the terms of an objective to the loss of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn


class WeightedMean(nn.Module):
    """The loss of a batch: sum(w * loss) / (n_samples * mean training weight)."""

    def __init__(self, mean_weight: float):
        super().__init__()
        self.mean_weight = mean_weight

    def forward(self, losses: Tensor, weight: Tensor) -> Tensor:
        return losses @ weight / (len(weight) * self.mean_weight)


def total_of(terms: Mapping[str, Tensor]) -> Tensor:
    """Return the sum of the terms of an objective, (n,)."""
    if not isinstance(terms, dict):
        raise TypeError(
            "_objective must return a dict of the terms of the loss by name, each of shape (n,); "
            f"got a {type(terms).__name__}."
        )
    return reduce(add, terms.values())


@torch.no_grad()
def sums_of(terms: Mapping[str, Tensor], loss: Tensor, weight: Tensor) -> Tensor:
    """Return the loss, times the number of samples, and the sum of each term but the first one."""
    _, *further = terms.values()
    return torch.stack([loss * len(weight), *(term @ weight for term in further)])

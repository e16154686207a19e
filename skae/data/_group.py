"""The processes that a fit is divided among, and their parts of batches."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

from torch import Tensor


class Group:
    """The processes that a fit is divided among; here, this process alone.

    All processes of a group call its methods in the same order, with tensors of equal shapes.
    """

    rank = 0  # of this process
    size = 1  # number of processes

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum over the processes, through which gradients flow."""
        return value

    def sum_(self, value: Tensor) -> None:
        """Change a contiguous tensor to its sum over the processes."""

    def maximum(self, value: Tensor) -> Tensor:
        """Return the maximum over the processes, without gradients."""
        return value

    def gather(self, value: Tensor) -> Tensor:
        """Return the values of all processes, joined along the first axis, without gradients."""
        return value

    def first(self, value: Tensor) -> Tensor:
        """Return the value of the process of rank 0, without gradients."""
        return value

    def check_same(self, facts: Mapping[str, Any]) -> None:
        """Raise ValueError, in each process, unless all were given the same facts."""


ALONE = Group()

# The processes that each hold a part of the samples, in a fit of samples that are divided.
HOLDERS: ContextVar[Group] = ContextVar("HOLDERS", default=ALONE)


class Share(NamedTuple):
    """The part of a batch that a process computes.

    Attributes
    ----------
    group : Group
    n_samples : int
        Number of samples of the whole batch.
    positions : Tensor of int
        Which of them are in this part. A part without samples has one row of weight 0.
    """

    group: Group
    n_samples: int
    positions: Tensor

"""Separate random generators for each fit, instead of torch's global generator.

Objectives draw from `Batch.random`. Functions of torch that use the global generator are
redirected: those that initialise weights by `drawing_from`, in this thread only; layers of user
networks that draw random numbers, such as dropout, by `seeded`, for the duration of a step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from skae._lock import ForkSafeLock

LOCK = ForkSafeLock()  # protects torch's global generator


class drawing_from(TorchFunctionMode):  # noqa: N801  a context manager
    """Context in which the random functions of torch on the CPU use a generator, in this thread.

    This covers all functions that initialise weights. Torch's global generator is neither read nor
    changed, in this and in other threads.
    """

    NAMES = frozenset(
        (
            *("bernoulli", "bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_"),
            *("multinomial", "normal", "normal_", "poisson", "rand", "rand_like", "randint"),
            *("randint_like", "randn", "randn_like", "random_", "randperm", "uniform_"),
            "kaiming_uniform_",
        )
    )

    def __init__(self, generator: torch.Generator):
        super().__init__()
        self.generator = generator

    def __torch_function__(
        self, func: Any, types: Any, args: Iterable[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in self.NAMES and kwargs.get("generator") is None:
            kwargs = kwargs | {"generator": self.generator}
        return func(*args, **kwargs)


@contextmanager
def seeded(seed: int, device: str | torch.device = "cpu") -> Iterator[None]:
    """Context in which torch's global generators are seeded, one thread at a time."""
    device = torch.device(device)
    devices = [device] if device.type == "cuda" else []
    with LOCK.held(), torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


# Modules of torch.nn whose layers draw no random numbers.
DETERMINISTIC = frozenset(
    (
        *("activation", "batchnorm", "container", "conv", "flatten", "instancenorm", "linear"),
        *("normalization", "padding", "upsampling"),
    )
)


def draws_by_itself(network: nn.Module) -> bool:
    """Whether a network may draw from torch's global generator, as dropout does."""
    for layer in network.modules():
        package, _, name = type(layer).__module__.rpartition(".")
        if isinstance(layer, (nn.RReLU, nn.MultiheadAttention)):
            return True
        if not (package == "torch.nn.modules" and name in DETERMINISTIC) and package[:4] != "skae":
            return True
    return False

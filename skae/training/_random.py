"""Randomness as a value: every fit draws from generators of its own.

Objectives draw from `Batch.random`. What asks torch's global generator all the same is given
another: functions that initialise weights, within `drawing_from`, in this thread alone; layers of
users' networks that draw by themselves, such as dropout, within `seeded`, for the length of a step.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

LOCK = RLock()  # of torch's global generator


def _renew_lock() -> None:
    """Give a forked child a lock of its own: the thread that holds the parent's is not in it."""
    global LOCK
    LOCK = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class drawing_from(TorchFunctionMode):  # noqa: N801  a context manager
    """Let the functions of torch that draw on the CPU do so from a generator, in this thread.

    Whatever initialises weights is made of these. Torch's global generator is neither read nor
    changed, also as other threads see it.
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
    """Seed torch's global generators for a while and put them back, one thread at a time."""
    device = torch.device(device)
    devices = [device] if device.type == "cuda" else []
    with LOCK, torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


# Modules of torch.nn with layers that draw nothing.
QUIET = frozenset(
    (
        *("activation", "batchnorm", "container", "conv", "flatten", "instancenorm", "linear"),
        *("normalization", "padding", "upsampling"),
    )
)


def draws_by_itself(network: nn.Module) -> bool:
    """Whether a layer may draw from torch's global generator, as dropout does."""
    for layer in network.modules():
        package, _, name = type(layer).__module__.rpartition(".")
        if isinstance(layer, (nn.RReLU, nn.MultiheadAttention)):
            return True
        if not (package == "torch.nn.modules" and name in QUIET) and package[:4] != "skae":
            return True
    return False

"""Randomness as a value: every fit draws from generators of its own.

Objectives draw from `Batch.random`. What asks torch's global generator all the same is given
another: functions that initialise weights, within `drawing_from`, in this thread alone; layers of
users' networks that draw by themselves, such as dropout, within `seeded`, for the length of a step.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import RLock
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

LOCK = RLock()  # of torch's global generator


def _renew_lock() -> None:
    """Give a forked child a lock of its own: the thread that holds the parent's is not in it."""
    global LOCK
    LOCK = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def random_state_of(seed: Any) -> np.random.RandomState:
    """Return scikit-learn's generator for a seed; None does not draw from numpy's global one."""
    return check_random_state(np.random.RandomState() if seed is None else seed)


class Random:
    """The random numbers of one fit.

    Parameters
    ----------
    seed : int
    like : Tensor
        Has the dtype and the device of what is drawn.
    """

    def __init__(self, seed: int, like: Tensor):
        self.dtype, self.device = like.dtype, like.device
        # Nothing is drawn on torch's meta device, which has no generator.
        device = "cpu" if self.device.type == "meta" else self.device
        self.generator = torch.Generator(device).manual_seed(seed)

    def uniform(self, *shape: int) -> Tensor:
        """Draw from [0, 1)."""
        return self._drawn(torch.rand, shape)

    def normal(self, *shape: int) -> Tensor:
        """Draw from N(0, 1)."""
        return self._drawn(torch.randn, shape)

    def signs(self, *shape: int) -> Tensor:
        """Draw from -1 and 1."""
        return self.integers(2, *shape).to(self.dtype) * 2 - 1

    def integers(self, high: int, *shape: int) -> Tensor:
        """Draw integers of at least 0 and less than `high`."""
        return self._drawn(partial(torch.randint, high), shape, torch.int64)

    def choices(self, weight: Tensor, n: int) -> Tensor:
        """Draw n indices with replacement, by their weight."""
        upto = weight.double().cumsum(0)
        index = torch.searchsorted(upto, self.uniform(n).double() * upto[-1], right=True)
        return index.clamp_max(len(weight) - 1)

    def _drawn(
        self, draw: Callable[..., Tensor], shape: tuple[int, ...], dtype: torch.dtype | None = None
    ) -> Tensor:
        options: dict[str, Any] = {"dtype": dtype or self.dtype, "device": self.device}
        if self.device.type != "meta":
            options["generator"] = self.generator
        return draw(shape, **options)


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

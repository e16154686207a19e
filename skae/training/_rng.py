"""Torch's generator, borrowed: seeded inside, as it was outside.

There is one generator for all threads, so one thread at a time has it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state

LOCK = RLock()


def _renew_lock() -> None:
    """Give a forked child a lock of its own: the thread that holds the parent's is not in it."""
    global LOCK
    LOCK = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def random_state_of(seed: Any) -> np.random.RandomState:
    """Return scikit-learn's generator for a seed; None does not draw from numpy's global one."""
    return check_random_state(np.random.RandomState() if seed is None else seed)


@contextmanager
def seeded(seed: int, device: str | torch.device = "cpu") -> Iterator[None]:
    """Seed torch's generators for a while and put them back."""
    device = torch.device(device)
    devices = [device] if device.type == "cuda" else []
    with LOCK, torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield

"""Keyboard interrupts and forked processes."""

from __future__ import annotations

import math
import os
import sys
import time

import torch

SECOND_INTERRUPT = 2.0  # seconds within which a second Ctrl-C stops everything
# Packages that train several networks, and parts of them that do not.
COMPOSITES = (
    *("skae.outlier", "skae.impute", "skae.multiple_imputation", "skae.semi_supervised"),
    *("skae.compression", "skae.retrieval", "skae.training._pretraining", "sklearn", "joblib"),
)
TRANSPARENT = (
    "joblib.memory",
    "sklearn.base",
    "sklearn.callback",
    "sklearn.pipeline",
    "sklearn.utils",
)

_last = -math.inf  # time of the last interrupt of a training


def keeps_best_epoch() -> bool:
    """Whether a training that is interrupted now keeps its best epoch and ends normally.

    It does if the user called `fit` of this network. If the network is one of several, as in a grid
    search, or if this is a second interrupt, KeyboardInterrupt is raised instead: a search would
    otherwise continue with a network that is not fully trained.
    """
    global _last
    before, _last = _last, time.monotonic()
    return _last - before >= SECOND_INTERRUPT and not _is_one_of_several()


def _is_one_of_several() -> bool:
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        module = frame.f_globals.get("__name__", "")
        if _within(module, COMPOSITES) and not _within(module, TRANSPARENT):
            return True
    return False


def _within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _use_one_thread() -> None:
    """Make torch use one thread in a forked child.

    The threads of the parent do not exist in the child, and OpenMP would wait for them forever.
    """
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_use_one_thread)

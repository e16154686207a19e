"""Ctrl-C, and processes that are forked."""

from __future__ import annotations

import math
import os
import sys
import time

import torch

AGAIN = 2.0  # seconds within which a second Ctrl-C stops everything
# Packages that train several networks, or one after another, and parts of them that do not.
COMPOSITES = (
    *("skae.outlier", "skae.impute", "skae.multiple_imputation", "skae.training._pretraining"),
    *("sklearn", "joblib"),
)
TRANSPARENT = (
    "joblib.memory",
    "sklearn.base",
    "sklearn.callback",
    "sklearn.pipeline",
    "sklearn.utils",
)

_last = -math.inf  # when a training was interrupted


def keeps_best_epoch() -> bool:
    """Whether a training that is interrupted now keeps its best epoch and ends as usual.

    It does if it is all that the user asked for. If it is one of several, such as those of a grid
    search, or if the last interrupt was just now, the interrupt is for the whole: a search would
    take the network for trained, and go on.
    """
    global _last
    before, _last = _last, time.monotonic()
    return _last - before >= AGAIN and not _is_one_of_several()


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
    """Let torch compute in one thread, in a forked child.

    The threads of the parent's pool are not in it, and OpenMP would wait for them for ever.
    """
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_use_one_thread)

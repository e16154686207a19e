"""Warnings that point at the line of the user's code."""

from __future__ import annotations

import sys
import warnings

from skae.exceptions import AutoencoderWarning

INTERNAL_PACKAGES = ("skae", "sklearn", "joblib", "contextlib", "functools")


def warn(message: str, category: type[Warning] = AutoencoderWarning) -> None:
    """Warn at the innermost line outside skae and the packages that call it."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _is_internal(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_internal(module: str) -> bool:
    return module.partition(".")[0] in INTERNAL_PACKAGES

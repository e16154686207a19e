"""Warnings that point at the line of the user."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from skae.exceptions import AutoencoderWarning

# Packages whose frames lie between the user's call and the warning.
INTERNAL = frozenset(("skae", "sklearn", "skorch", "joblib", "torch", "contextlib", "functools"))


# Where warnings go, if another process is to issue them.
_messages: ContextVar[list[tuple[str, type[Warning]]] | None] = ContextVar("messages", default=None)


@contextmanager
def collected() -> Iterator[list[tuple[str, type[Warning]]]]:
    """Context in which warnings of this thread are appended to a list instead of being issued."""
    messages: list[tuple[str, type[Warning]]] = []
    token = _messages.set(messages)
    try:
        yield messages
    finally:
        _messages.reset(token)


def warn(message: str, category: type[Warning] = AutoencoderWarning) -> None:
    """Issue a warning at the innermost line outside of skae and the libraries that it calls."""
    if (messages := _messages.get()) is not None:
        messages.append((message, category))
        return
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _package(frame.f_globals) in INTERNAL:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _package(module: dict) -> str:
    return str(module.get("__name__", "")).partition(".")[0]

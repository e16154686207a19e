"""Warnings and errors of skae's own, so that they can be filtered apart from others."""

__all__ = ["AutoencoderWarning", "DivergenceError"]


class AutoencoderWarning(UserWarning):
    """A fit that went through but is probably not what was wanted; the message has the remedy."""


class DivergenceError(ValueError):
    """A fit whose loss grew far beyond that of its start; the message has the remedy."""

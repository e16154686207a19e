"""Warnings of skae's own, so that they can be filtered apart from everybody else's."""

__all__ = ["AutoencoderWarning"]


class AutoencoderWarning(UserWarning):
    """A fit that went through but is probably not what was wanted; the message has the remedy."""

"""Warnings and errors specific to skae, so that they can be filtered."""

__all__ = ["AutoencoderWarning", "DivergenceError", "ProcessError"]


class AutoencoderWarning(UserWarning):
    """A fit that succeeded but is probably not as intended; the message suggests a remedy.

    Examples
    --------
    >>> import warnings
    >>> from skae import AutoencoderWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", AutoencoderWarning)  # or "error"
    """


class DivergenceError(ValueError):
    """A fit whose loss grew far beyond its initial value; the message suggests a remedy."""


class ProcessError(RuntimeError):
    """A fit in several processes of which one ended, or did not answer; names the reason."""

"""Devices and their precision."""

from __future__ import annotations

import torch


def device_of(name: str) -> torch.device:
    """Return the device of a name.

    Parameters
    ----------
    name : str
        Name of a device of torch, or 'auto' for the GPU if there is one, else the CPU.

    Raises
    ------
    ValueError
        If the name is not valid, or the device is not available.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device={name!r} is not available here ({reason}); use device='auto' or 'cpu'."
        ) from error
    return device


def check_precision(device: torch.device, dtype: torch.dtype, what: str) -> None:
    """Raise ValueError if a device does not support a precision."""
    if device.type == "mps" and dtype == torch.float64:
        raise ValueError(
            f"device='mps' does not support float64, and {what} float64; use float32, or "
            "device='cpu'."
        )

"""Where to compute."""

from __future__ import annotations

import torch


def device_of(name: str) -> torch.device:
    """Return the device that a name stands for.

    Parameters
    ----------
    name : str
        One of torch's, or 'auto': the GPU if there is one.

    Raises
    ------
    ValueError
        If torch does not know the name, or there is no such device here.
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
    """Raise ValueError where a device does not know a precision."""
    if device.type == "mps" and dtype == torch.float64:
        raise ValueError(
            f"device='mps' knows no float64, and {what} float64; use float32, or device='cpu'."
        )

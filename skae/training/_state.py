"""Fitted state without torch objects: arrays, numbers and names."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from skae.training._module import AutoencoderModule, build
from skae.training._rng import drawing_from
from skae.training._rows import Conditioning


def state_of(module: AutoencoderModule) -> dict[str, Any]:
    """Return a module's weights as arrays, and which of them are trained."""
    return {
        "values": {name: t.cpu().numpy() for name, t in module.state_dict().items()},
        "trainable": [name for name, _ in module.named_parameters()],
    }


def restore(
    architecture: Any, conditioning: Conditioning, spec: dict[str, Any], state: dict[str, Any]
) -> AutoencoderModule:
    """Return the module that `state_of` was asked about."""
    with drawing_from(torch.Generator()):  # weights that are replaced at once
        module = build(architecture, conditioning, **spec)
    # torch.tensor copies: the arrays may be a read-only memmap.
    values = {name: torch.tensor(array) for name, array in state["values"].items()}
    for name in values.keys() - module.state_dict().keys():
        if name in state["trainable"]:
            module.register_parameter(name, nn.Parameter(values[name]))
        else:
            module.register_buffer(name, values[name])
    module.load_state_dict(values, assign=True)
    return module.eval()

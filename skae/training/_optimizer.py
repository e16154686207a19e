"""The arguments of the optimiser, and its state as arrays."""

from __future__ import annotations

import hashlib
import inspect
from typing import Any

import numpy as np
import torch

CHANGEABLE = ("params", "lr", "weight_decay")  # options that may change while moments are kept


def with_optimizer(params: dict[str, Any], weight_decay: float) -> dict[str, Any]:
    """Return the parameters of a net with the optimiser as a class, fused if possible."""
    optimizer = params["optimizer"]
    if isinstance(optimizer, str):
        named = getattr(torch.optim, optimizer, None)
        if not (isinstance(named, type) and issubclass(named, torch.optim.Optimizer)):
            raise ValueError(
                f"net_params['optimizer'] = {optimizer!r} is not the name of a class in "
                "torch.optim, such as 'AdamW' or 'SGD'."
            )
        optimizer = named
    takes = inspect.signature(optimizer).parameters
    if "fused" in takes and not params.get("optimizer__foreach"):
        params = {"optimizer__fused": True} | params
    if "weight_decay" in takes:
        params = {"optimizer__weight_decay": weight_decay} | params
    elif weight_decay:
        raise ValueError(
            f"The optimiser {optimizer.__name__} has no weight_decay; set weight_decay=0."
        )
    return params | {"optimizer": optimizer}


def options_of(net: Any) -> dict[str, str]:
    """Return a digest of the optimiser and its options for each weight, by name."""
    kind, names = type(net.optimizer_), _names(net)
    options: dict[str, str] = {}
    for group in net.optimizer_.param_groups:
        options_of_group = [(name, group[name]) for name in sorted(group) if name not in CHANGEABLE]
        text = f"{kind.__module__}.{kind.__qualname__} {options_of_group}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        options |= {names[id(weight)]: digest for weight in group["params"]}
    return options


def state_of_optimizer(net: Any) -> dict[str, Any]:
    """Return the moments of an optimiser as arrays, by the names of their weights."""
    names = _names(net)
    state = net.optimizer_.state.items()
    moments = {names[id(w)]: _to_array(values) for w, values in state if id(w) in names}
    return {"options": net.options_, "moments": moments}


def load_optimizer(net: Any, state: dict[str, Any]) -> None:
    """Load the moments of a former optimiser, unless its class or options differ."""
    if state["options"] != net.options_:
        return
    names = _names(net)
    weights = [w for group in net.optimizer_.param_groups for w in group["params"]]
    whole = net.optimizer_.state_dict()
    for position, weight in enumerate(weights):
        if (moments := state["moments"].get(names[id(weight)])) is not None:
            whole["state"][position] = _to_tensor(moments)
    net.optimizer_.load_state_dict(whole)


def _names(net: Any) -> dict[int, str]:
    return {id(weight): name for name, weight in net.get_all_learnable_params()}


def _to_array(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy().copy()
    if isinstance(value, dict):
        return {k: _to_array(v) for k, v in value.items()}
    return [_to_array(v) for v in value] if isinstance(value, (list, tuple)) else value


def _to_tensor(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return torch.tensor(value)
    if isinstance(value, dict):
        return {k: _to_tensor(v) for k, v in value.items()}
    return [_to_tensor(v) for v in value] if isinstance(value, list) else value

"""The state of a module without torch objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skae.data import Conditioning
from skae.training._module import AutoencoderModule, LayerSizes, build
from skae.training._random import drawing_from

MOMENTS = ("exp_avg", "exp_avg_sq")


def state_of(module: AutoencoderModule) -> dict[str, Any]:
    """Return the weights of a module as arrays, and the names of those that are trained."""
    return {
        "values": {name: t.cpu().numpy() for name, t in module.state_dict().items()},
        "trainable": [name for name, _ in module.named_parameters()],
    }


def moments_fit(moments: dict[str, dict[str, Any]], shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether the moments of the default optimiser have the shapes of the weights.

    The state of other optimisers may have any shape.
    """
    return all(
        name in shapes and all(np.shape(of[k]) == shapes[name] for k in MOMENTS if k in of)
        for name, of in moments.items()
    )


def restore(
    architecture: Any,
    conditioning: Conditioning,
    spec: dict[str, Any],
    state: dict[str, Any],
    added: Mapping[str, Tensor],
) -> AutoencoderModule:
    """Return the module whose state `state_of` returned.

    It is first built on torch's meta device, without random draws and memory, and compared with the
    arrays.

    Parameters
    ----------
    architecture, conditioning, spec : object
        Arguments of `build`.
    state : dict
        Output of `state_of`.
    added : dict of Tensor
        Parameters and buffers that the variant adds to the module, on the meta device. The state
        may lack some and contain further ones.

    Raises
    ------
    ValueError
        If the arrays do not fit the module.
    """
    n_layers = 0 if architecture is None else architecture._n_layers()
    is_ours = type(architecture).__module__.startswith("skae.")
    ours = architecture is None or (n_layers is not None and is_ours)
    if n_layers is not None and n_layers > len(state["values"]):
        raise ValueError("its architecture has more layers than there are weights")
    try:
        with torch.device("meta"):
            module = build(architecture, conditioning, **spec)
    except Exception as error:
        if ours:
            raise ValueError(f"there are no networks of the sizes {spec['layer_sizes']}") from error
    else:
        module = _filled(module, state, added, strict=ours)
        if ours or _is_whole(module, spec["layer_sizes"]):
            return module
    # Networks of users may need real tensors, or have tensors outside of their state.
    if max(spec["layer_sizes"].values()) > sum(array.size for array in state["values"].values()):
        raise ValueError("its networks are wider than there are weights")
    with drawing_from(torch.Generator()):  # these weights are replaced
        module = build(architecture, conditioning, **spec)
    return _filled(module, state, added, strict=False)


def _filled(
    module: AutoencoderModule, state: dict[str, Any], added: Mapping[str, Tensor], strict: bool
) -> AutoencoderModule:
    """Load a state into a module, with the tensors that the variant added to it."""
    values: dict[str, NDArray] = state["values"]
    own = set(module.state_dict()) if strict else set()
    for name in added.keys() & values.keys():
        _register(module, name, added[name])
    expected = module.state_dict()
    dtype = values["output_bias"].dtype if "output_bias" in values else None
    for name, tensor in expected.items():
        fits = name in values and values[name].shape == tuple(tensor.shape)
        if not fits or values[name].dtype not in _dtypes(tensor, dtype, name in own):
            raise ValueError(f"it lacks the weights {name!r} of shape {tuple(tensor.shape)}")
    # torch.tensor copies: the arrays may be a read-only memmap.
    tensors = {name: torch.tensor(array) for name, array in values.items()}
    for name in values:
        if name not in expected:
            is_trained = name in state["trainable"] and tensors[name].is_floating_point()
            _register(module, name, nn.Parameter(tensors[name]) if is_trained else tensors[name])
    module.load_state_dict(tensors, assign=True)
    return module.eval()


def _dtypes(tensor: Tensor, trained_in: np.dtype | None, strict: bool) -> list[np.dtype | None]:
    """Return the valid dtypes of a tensor, as the default dtype in training may have differed."""
    as_built = np.dtype(str(tensor.dtype).removeprefix("torch."))
    if tensor.dtype != torch.get_default_dtype() or trained_in is None or trained_in.kind != "f":
        return [as_built]
    # Networks of users and added tensors may have their own dtype.
    return [trained_in] if strict else [trained_in, as_built]


def _register(module: AutoencoderModule, name: str, tensor: Tensor) -> None:
    if not name.isidentifier() or hasattr(module, name):
        raise ValueError(f"{name!r} cannot be the name of further weights")
    if isinstance(tensor, nn.Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


@torch.no_grad()
def _is_whole(module: AutoencoderModule, layer_sizes: LayerSizes) -> bool:
    """Whether networks of users compute their output without tensors on the meta device."""
    for part in module.modules():
        held = (*vars(part).values(), *part.buffers(recurse=False))
        if any(isinstance(tensor, Tensor) and tensor.is_meta for tensor in held):
            return False
    try:
        for network, n_inputs in (
            (module.encoder, layer_sizes["n_inputs"]),
            (module.decoder, layer_sizes["n_components"]),
        ):
            if network is not None and network(module.shift.new_zeros(2, n_inputs)).is_meta:
                return False
    except Exception:
        return False
    return True

"""Files of arrays by safetensors and of everything else as JSON, and no code."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from sklearn.base import BaseEstimator
from sklearn.utils.metadata_routing import MetadataRequest

FORMAT = "1"
HARMLESS = ("torch.nn:Linear",)  # functions that any file may name


def check_place(path: str | os.PathLike[str], what: str) -> None:
    """Raise ValueError where no file can be written."""
    where = os.fsdecode(path)
    folder = os.path.dirname(where) or "."
    if not where or os.path.isdir(where):
        raise ValueError(f"{what}={where!r} is no name of a file; give one, in a folder there is.")
    if not os.access(folder, os.W_OK):
        raise ValueError(
            f"{what}={where!r} cannot be written: there is no folder {folder!r}, or it is not "
            "yours to write to; create it or choose another."
        )


def write(path: str | os.PathLike[str], kind: str, value: Any) -> None:
    """Write a value to a file, which appears at once and whole, in place of a former one."""
    arrays: dict[str, NDArray] = {}
    structure = json.dumps(_encode(value, arrays, type(value).__name__))
    metadata = {"skae": FORMAT, "kind": kind, "structure": structure}
    metadata["digest"] = _digest(structure, arrays)
    part = Path(f"{os.fspath(path)}.part")
    try:
        save_file(arrays, part, metadata=metadata)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def read(path: str | os.PathLike[str], kind: str, trusted: Collection[str] = ()) -> Any:
    """Read what `write` wrote as the same kind, or raise ValueError.

    Functions that the file names are imported and called only if they are `trusted`.
    """
    open(path, "rb").close()  # that there is no such file is no damage
    try:
        with safe_open(os.fspath(path), framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(_damaged(path, kind)) from error
    if (metadata.get("skae"), metadata.get("kind")) != (FORMAT, kind):
        raise ValueError(f"{path} is no {kind} of skae, or one of a newer version.")
    structure = metadata.get("structure", "")
    if metadata.get("digest") != _digest(structure, arrays):
        raise ValueError(_damaged(path, kind))
    return _decode(json.loads(structure), arrays, [*HARMLESS, *trusted])


def _damaged(path: str | os.PathLike[str], kind: str) -> str:
    return f"{path} cannot be read as {kind} of skae: it is damaged."


def _digest(structure: str, arrays: dict[str, NDArray]) -> str:
    """Return a checksum of all that a file holds."""
    digest = hashlib.sha256(structure.encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def _encode(value: Any, arrays: dict[str, NDArray], where: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        items = [_encode(v, arrays, f"{where}[{i}]") for i, v in enumerate(value)]
        return {"list" if isinstance(value, list) else "tuple": items}
    if isinstance(value, dict):
        return {"dict": [[k, _encode(v, arrays, f"{where}.{k}")] for k, v in value.items()]}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        name = str(len(arrays))
        arrays[name] = value if value.flags.c_contiguous else value.copy(order="C")
        return {"array": name}
    if isinstance(value, np.ndarray) and all(isinstance(v, str) for v in value.flat):
        return {"strings": value.tolist()}
    if _class(type(value).__name__) is type(value):
        state = dict(value.__getstate__())  # type: ignore[call-overload]
        for name in ("_skl_callbacks", "_parent_callback_ctx"):
            state.pop(name, None)
        if requests := state.pop("_metadata_request", {}):
            requests = requests._serialize()
        return {
            "class": type(value).__name__,
            "state": _encode(state, arrays, where),
            "requests": requests,
        }
    raise TypeError(
        f"skae.save writes numbers, text, arrays and skae's own types, but {where} is a "
        f"{type(value).__name__}; replace it, or use pickle."
    )


def _decode(value: Any, arrays: dict[str, NDArray], trusted: list[str]) -> Any:
    if not isinstance(value, dict):
        return value
    if "class" in value:
        cls = _class(value["class"])
        if cls is None:
            raise ValueError(f"The file holds a {value['class']!r}, which is not a type of skae.")
        state = _decode(value["state"], arrays, trusted)
        for name in getattr(cls, "_functions", ()):
            if name in state and state[name] not in trusted:
                raise ValueError(
                    f"The file names the function {state[name]!r}, which would be imported and "
                    f"called; if you trust it, load with trusted=[{state[name]!r}]."
                )
        instance: Any = object.__new__(cls)
        instance.__setstate__(state)
        if value["requests"]:
            instance._metadata_request = MetadataRequest(owner=instance)
            for method, requests in value["requests"].items():
                for name, alias in requests.items():
                    request = getattr(instance._metadata_request, method)
                    request.add_request(param=name, alias=alias)
        return instance
    ((kind, content),) = value.items()
    if kind == "array":
        return arrays[content]
    if kind == "strings":
        return np.array(content, dtype=object)
    if kind == "dict":
        return {k: _decode(v, arrays, trusted) for k, v in content}
    items = [_decode(v, arrays, trusted) for v in content]
    return tuple(items) if kind == "tuple" else items


def _class(name: str) -> type | None:
    """Return the estimator of that name, public or part of a public one, if there is one."""
    import skae
    from skae.tasks import _imputer

    found = getattr(skae, name, None) if name in skae.__all__ else _imputer.PARTS.get(name)
    return found if isinstance(found, type) and issubclass(found, BaseEstimator) else None

"""Conversion of values to JSON and arrays and back, for a fixed set of types."""

from __future__ import annotations

import math
import os
import reprlib
import sys
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.metadata_routing import MetadataRequest

from skae._schema import TYPES, check_state, type_name, type_of
from skae._sklearn_types import BaseEstimator

MAX_DEPTH = 40  # of nested values
MAX_INTEGER = 2**1024  # larger ones are slow to parse
CALLBACKS = ("_skl_callbacks", "_parent_callback_ctx")  # of scikit-learn; may be any objects
ARRAY_KINDS = "biuf"  # kinds of dtypes, of up to 8 bytes
ARRAY_FORMS = ("scalar", "swapped", "text", "transposed")


# ------------------------------------------------------------------------------------- to JSON


def encode(value: Any, arrays: dict[str, NDArray], where: str, depth: int = 0) -> Any:
    """Return a value in a form that JSON can represent, and add its arrays to `arrays`.

    Raises
    ------
    TypeError
        If files cannot contain the value.
    ValueError
        If the state of an instance is not valid.
    """
    if depth > MAX_DEPTH:
        raise TypeError(
            f"skae.save writes values that are nested up to {MAX_DEPTH} deep; {where} is deeper."
        )
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, np.str_):
        value = str(value)
    kind = type(value)
    if value is None or kind in (bool, float, str) or (kind is int and abs(value) < MAX_INTEGER):
        return value
    if value is pd.NA:
        return {"NA": None}
    if kind in (list, tuple):
        items = [encode(v, arrays, f"{where}[{i}]", depth + 1) for i, v in enumerate(value)]
        return {kind.__name__: items}
    if kind is dict:
        return {"dict": [_encode_item(k, v, arrays, where, depth + 1) for k, v in value.items()]}
    if (written := _encode_array(value, arrays)) is not None:
        return written
    if TYPES.get(type_name(kind)) is kind:
        return _encode_instance(value, arrays, where, depth + 1)
    advice = "replace it, or use pickle"
    if isinstance(value, BaseEstimator):
        advice = "use skops.io.dump, which writes estimators of scikit-learn without pickle"
    raise TypeError(
        f"skae.save writes numbers, text, arrays and skae's own types, but {where} is a "
        f"{_described(value)}; {advice}."
    )


def _described(value: Any) -> str:
    if isinstance(value, (np.ndarray, np.generic)):
        return f"{type(value).__name__} of dtype {value.dtype}"
    return f"{'very large ' if type(value) is int else ''}{type(value).__name__}"


def _encode_item(key: Any, value: Any, arrays: dict[str, NDArray], where: str, depth: int) -> Any:
    where = f"{where}.{key}" if isinstance(key, str) else f"{where}[{reprlib.repr(key)}]"
    written = encode(key, arrays, f"a key, {where},", depth)
    if not _hashable(key):
        raise TypeError(
            f"skae.save writes keys that are numbers or text, but {where} has another one."
        )
    return [written, encode(value, arrays, where, depth)]


def _encode_array(value: Any, arrays: dict[str, NDArray]) -> Any:
    """Return the form of an array or number of numpy for JSON, or None for other values."""
    if type(value) not in (np.ndarray, np.memmap) and not isinstance(value, np.generic):
        return None
    if value.dtype.kind == "O":
        if not all(type(v) in (str, np.str_) for v in value.flat):
            return None
        return {"strings": [str(v) for v in value.flat], "shape": list(value.shape)}
    forms = ["scalar"] if isinstance(value, np.generic) else []
    value = np.asarray(value)
    if not value.dtype.isnative:
        value = value.astype(value.dtype.newbyteorder("="))
        forms.append("swapped")
    if value.flags.f_contiguous and not value.flags.c_contiguous:
        value = value.T
        forms.append("transposed")
    elif not value.flags.c_contiguous:
        value = value.copy(order="C")
    if value.dtype.kind == "U":
        value = value[..., None].view(np.uint32)
        forms.append("text")
    if value.dtype.kind not in ARRAY_KINDS or value.dtype.itemsize > 8:
        return None
    name = str(len(arrays))
    arrays[name] = value
    return {"array": name, "as": forms} if forms else {"array": name}


def _encode_instance(value: Any, arrays: dict[str, NDArray], where: str, depth: int) -> Any:
    state = {k: v for k, v in value.__getstate__().items() if k not in CALLBACKS}
    requests = state.pop("_metadata_request", None)
    written = encode(state, arrays, where, depth)
    try:
        check_state(type(value), state)
    except ValueError as error:
        raise ValueError(f"{where} cannot be written by skae.save: {error}.") from None
    return {
        "class": type_name(type(value)),
        "state": written,
        "requests": requests._serialize() if requests else {},
    }


# ----------------------------------------------------------------------------------- from JSON


class Decoder:
    """Build values from the output of `encode`; each array belongs to exactly one of them.

    Methods raise ValueError if the JSON is not the output of `encode` for some value.
    """

    def __init__(self, arrays: dict[str, NDArray]):
        self.arrays = dict(arrays)

    def whole(self, node: Any) -> Any:
        """Return the value that the whole JSON represents, which uses all arrays."""
        value = self.value(node)
        if self.arrays:
            raise ValueError("it contains arrays that are not used")
        return value

    def value(self, node: Any) -> Any:
        """Return the value that a part of the JSON represents."""
        match node:
            case None | bool() | int() | float() | str():
                return node
            case {"list": list(items)} if len(node) == 1:
                return [self.value(item) for item in items]
            case {"tuple": list(items)} if len(node) == 1:
                return tuple([self.value(item) for item in items])
            case {"dict": list(items)} if len(node) == 1:
                return self._dict(items)
            case {"array": str(name)} if node.keys() <= {"array", "as"}:
                return self._array(name, node.get("as", []))
            case {"strings": list(items), "shape": list(shape)} if len(node) == 2:
                return _strings(items, shape)
            case {"NA": None} if len(node) == 1:
                return pd.NA
            case {"class": str(name), "state": state, "requests": requests} if len(node) == 3:
                return self._instance(name, state, requests)
        raise ValueError("it contains a value of unknown kind")

    def _dict(self, items: list) -> dict:
        if not all(isinstance(item, list) and len(item) == 2 for item in items):
            raise ValueError("it contains a dictionary that is not a list of pairs")
        result = {}
        for written, value in items:
            key = self.value(written)
            if not _hashable(key):
                raise ValueError("it contains a dictionary key that is neither a number nor text")
            result[key] = self.value(value)
        if len(result) < len(items):
            raise ValueError("it contains a dictionary with a duplicate key")
        return result

    def _array(self, name: str, forms: Any) -> Any:
        array = self.arrays.pop(name, None)
        if array is None:
            raise ValueError("it refers to an array that does not exist, or to one array twice")
        if not (isinstance(forms, list) and all(form in ARRAY_FORMS for form in forms)):
            raise ValueError("it contains an array of unknown form")
        if "text" in forms:
            points = array.dtype == np.uint32 and array.ndim and array.shape[-1]
            if not points or (array.size and array.max() > sys.maxunicode):
                raise ValueError("it contains an invalid array of text")
            array = array.view(f"U{points}")[..., 0]
        if "transposed" in forms:
            array = array.T
        if "swapped" in forms:
            array = array.astype(array.dtype.newbyteorder("S"), order="K")
        return array[()] if "scalar" in forms else array

    def _instance(self, name: str, written: Any, requests: Any) -> Any:
        cls: Any = type_of(name)
        state = self.value(written)
        check_state(cls, state)
        instance = object.__new__(cls)
        metadata = _requests(instance, requests)
        instance.__setstate__(state)
        if metadata is not None:
            instance._metadata_request = metadata
        return instance


def _hashable(key: Any) -> bool:
    if isinstance(key, tuple):
        return all(map(_hashable, key))
    return key is None or key is pd.NA or isinstance(key, (bool, int, float, str, np.generic))


def _strings(items: list, shape: list) -> NDArray:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    whole = all(type(n) is int and 0 <= n < 2**31 for n in shape) and len(shape) <= 32
    if not (whole and all(isinstance(item, str) for item in items)):
        raise ValueError("it contains an invalid array of strings")
    if math.prod(shape) != len(items):
        raise ValueError("it contains an array of strings of another shape")
    return array.reshape(shape)


def _requests(owner: Any, requests: Any) -> MetadataRequest | None:
    """Return the metadata requests of an estimator, if any."""
    if requests == {}:
        return None
    result = MetadataRequest(owner=owner)
    for method, params in requests.items() if isinstance(requests, dict) else [("", {})]:
        request = vars(result).get(method) if method != "owner" else None
        if request is None or not isinstance(params, dict):
            raise ValueError("it requests metadata for a method that accepts none")
        for name, alias in params.items():
            if not (name.isidentifier() and isinstance(alias, (str, bool, type(None)))):
                raise ValueError("it contains an invalid metadata request")
            request.add_request(param=name, alias=alias)
    return result

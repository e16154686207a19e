"""One file per estimator: arrays by safetensors, everything else as JSON, nothing that runs."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from sklearn.base import BaseEstimator

__all__ = ["load", "save"]

FORMAT = "1"


def save(estimator: BaseEstimator, path: str | os.PathLike[str]) -> None:
    """Write an estimator of skae to one file, without pickle.

    The file appears at once and whole, in place of a former one.

    Parameters
    ----------
    estimator : object
        Fitted or not.
    path : str or path
        Where to.

    Raises
    ------
    TypeError
        If the estimator holds something that is neither number, text, array nor of skae, such as
        a RandomState or a function.

    See Also
    --------
    load : Read it.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import skae
    >>> X = np.random.default_rng(0).normal(size=(50, 4))
    >>> linear = skae.LinearAutoencoder(2).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "linear.skae")
    ...     skae.save(linear, path)
    ...     again = skae.load(path)
    >>> bool((again.transform(X) == linear.transform(X)).all())
    True
    """
    arrays: dict[str, NDArray] = {}
    structure = _encode(estimator, arrays, type(estimator).__name__)
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    os.close(handle)
    try:
        save_file(arrays, temporary, metadata={"skae": FORMAT, "structure": json.dumps(structure)})
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def load(path: str | os.PathLike[str], device: str | None = None) -> Any:
    """Read an estimator that `save` wrote.

    Parameters
    ----------
    path : str or path
        The file.
    device : str, default=None
        What to set the estimator's ``device`` to; None leaves it.

    Returns
    -------
    estimator : object
        Equal, to the bit, to the one that was saved.

    Raises
    ------
    ValueError
        If the file was not written by `save`, or is damaged.

    See Also
    --------
    save : Write it.
    """
    try:
        with safe_open(os.fspath(path), framework="np") as file:
            metadata = file.metadata() or {}
            if metadata.get("skae") != FORMAT:
                raise ValueError(f"{path} was not written by skae.save, or by a newer skae.")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        estimator = _decode(json.loads(metadata["structure"]), arrays)
    except (SafetensorError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(
            f"{path} cannot be read as an estimator of skae: it is damaged, or not one."
        ) from error
    return estimator if device is None else estimator.set_params(device=device)


def _encode(value: Any, arrays: dict[str, NDArray], where: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
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
        state.pop("_skl_callbacks", None)
        return {"class": type(value).__name__, "state": _encode(state, arrays, where)}
    raise TypeError(
        f"skae.save writes numbers, text, arrays and skae's own types, but {where} is a "
        f"{type(value).__name__}; replace it, or use pickle."
    )


def _decode(value: Any, arrays: dict[str, NDArray]) -> Any:
    if not isinstance(value, dict):
        return value
    if "class" in value:
        cls = _class(value["class"])
        if cls is None:
            raise ValueError(f"The file holds a {value['class']!r}, which is not a type of skae.")
        instance: Any = object.__new__(cls)
        instance.__setstate__(_decode(value["state"], arrays))
        return instance
    ((kind, content),) = value.items()
    if kind == "array":
        return arrays[content]
    if kind == "strings":
        return np.array(content, dtype=object)
    if kind == "dict":
        return {k: _decode(v, arrays) for k, v in content}
    items = [_decode(v, arrays) for v in content]
    return tuple(items) if kind == "tuple" else items


def _class(name: str) -> type | None:
    """Return the public estimator of that name, if there is one."""
    import skae

    found = getattr(skae, name, None) if name in skae.__all__ else None
    return found if isinstance(found, type) and issubclass(found, BaseEstimator) else None

"""The types that files may contain, which register themselves, and checks of their state."""

from __future__ import annotations

import importlib
import reprlib
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np

from skae._sklearn import InvalidParameterError, validate_parameter_constraints

C = TypeVar("C", bound=type)
Check = Callable[[Any, Mapping[str, Any]], bool]  # of a value, given the state that contains it

TYPES: dict[str, type] = {}
ABSENT: Any = object()

# ------------------------------------------------------------------------------ trusted functions

TRUSTED_FUNCTIONS = ("torch.nn:Linear",)  # allowed in any file
_trusted: ContextVar[tuple[str, ...] | None] = ContextVar("trusted", default=None)


@contextmanager
def trusting(functions: Collection[str]) -> Iterator[None]:
    """Context in which only some functions may be imported by name, in this thread."""
    token = _trusted.set((*TRUSTED_FUNCTIONS, *functions))
    try:
        yield
    finally:
        _trusted.reset(token)


def check_trusted(name: str, kind: str = "function") -> None:
    """Raise ValueError if a file that is being read names something that is not trusted."""
    trusted = _trusted.get()
    if trusted is not None and name not in trusted:
        raise ValueError(
            f"it names the {kind} {name!r}, which would be imported and called; if you trust it, "
            f"load with trusted=[{name!r}]"
        )


# ---------------------------------------------------------------------------- types and state


def type_name(cls: type) -> str:
    """Return the name of a class in files, with its module unless it is a class of skae."""
    name = cls.__qualname__
    return name if cls.__module__.partition(".")[0] == "skae" else f"{cls.__module__}:{name}"


def persistent(cls: C) -> C:
    """Let files contain instances of a class.

    The state that ``__getstate__`` returns is written. It is checked before it is written and
    before anything is built from it: the parameters of the constructor by their constraints; the
    fitted attributes in ``_fitted_schema``, of which all or none must be present; and the whole
    state by ``_check_state``, if the class has that method.

    Subclasses of `Persistent`, such as all autoencoders and architectures, need no decorator.

    Parameters
    ----------
    cls : type
        The class.

    Returns
    -------
    cls : type
        The same class.

    Examples
    --------
    >>> from skae.extension import persistent
    >>> @persistent  # doctest: +SKIP
    ... class Threshold:
    ...     def __init__(self, value):
    ...         self.value = value
    ...
    ...     def __getstate__(self):
    ...         return {"value": self.value}
    """
    TYPES[type_name(cls)] = cls
    return cls


class Persistent:
    """Base of the classes whose subclasses outside of skae register themselves for files.

    See Also
    --------
    persistent : Registers any other class.

    Examples
    --------
    >>> from skae import Autoencoder
    >>> from skae.extension import Persistent
    >>> issubclass(Autoencoder, Persistent)
    True
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__.partition(".")[0] != "skae":
            persistent(cls)


def type_of(name: str) -> type:
    """Return the class of a name in a file; import its module if the name is trusted.

    Raises
    ------
    ValueError
        If there is no such class, or if it would have to be imported and is not trusted.
    """
    if name not in TYPES and ":" in name:
        check_trusted(name, "class")
        try:
            importlib.import_module(name.partition(":")[0])
        except ImportError as error:
            raise ValueError(
                f"it contains a {name!r}, which cannot be imported ({error})"
            ) from None
    if name not in TYPES:
        raise ValueError(f"it contains a {reprlib.repr(name)}, which is not a type of skae")
    return TYPES[name]


def check_state(cls: Any, state: Any) -> None:
    """Raise ValueError if a state is not valid for an instance of a persistent class."""
    name = cls.__name__
    if not (type(state) is dict and all(type(key) is str for key in state)):
        raise ValueError(f"the state of {name} is not a dictionary of attributes")
    parameters = cls._get_param_names()
    schema: dict[str, Check] = {}
    for base in reversed(cls.__mro__):
        schema |= vars(base).get("_fitted_schema", {})
    for key in state:
        is_declared = key in parameters or key in schema
        if not is_declared and (
            not key.isidentifier() or key.startswith("__") or hasattr(cls, key)
        ):
            raise ValueError(f"{key!r} cannot be an attribute of {name}")
    check_parameters(cls, {key: state.get(key, ABSENT) for key in parameters})
    if any(key in state for key in schema):
        check_values(f"a fitted {name}", schema, state)
    if hasattr(cls, "_check_state"):
        cls._check_state(state)


def check_parameters(cls: Any, values: Mapping[str, Any]) -> None:
    """Raise ValueError if a parameter is missing or violates its constraints."""
    for key, value in values.items():
        if value is ABSENT:
            raise ValueError(f"{cls.__name__} lacks its parameter {key!r}")
    try:
        constraints = getattr(cls, "_parameter_constraints", {})
        validate_parameter_constraints(constraints, dict(values), cls.__name__)
    except InvalidParameterError as error:
        raise ValueError(str(error).rstrip(".")) from None


def check_values(what: str, schema: Mapping[str, Check], state: Mapping[str, Any]) -> None:
    """Raise ValueError if a value does not pass its check."""
    for key, check in schema.items():
        if not check(state.get(key, ABSENT), state):
            raise ValueError(f"{key!r} is not valid for {what}")


# ---------------------------------------------------------------------------------- the checks


def boolean(value: Any, state: Mapping[str, Any]) -> bool:
    """Whether a value is True or False."""
    return isinstance(value, (bool, np.bool_))


def text(value: Any, state: Mapping[str, Any]) -> bool:
    """Whether a value is a string."""
    return isinstance(value, str)


def number(value: Any, state: Mapping[str, Any]) -> bool:
    """Whether a value is a real number, NaN and infinity included."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def positive(value: Any, state: Mapping[str, Any]) -> bool:
    """Whether a value is a finite number above 0."""
    return number(value, state) and 0 < value <= sys.float_info.max


def integer(low: int = 0) -> Check:
    """Return the check that a value is an integer of at least `low`, of 64 bits."""

    def check(value: Any, state: Mapping[str, Any]) -> bool:
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        return whole and low <= value < 2**63

    return check


def array(kinds: str, *shape: int | str | None, finite: bool = False) -> Check:
    """Return the check that a value is an array of some kinds of dtype and of a shape.

    A name in the shape refers to a number in the state; None allows any length.
    """

    def check(value: Any, state: Mapping[str, Any]) -> bool:
        if not (isinstance(value, np.ndarray) and value.dtype.kind in kinds):
            return False
        wanted = [state.get(n, ABSENT) if isinstance(n, str) else n for n in shape]
        if value.ndim != len(wanted):
            return False
        same = (w is None or n == w for n, w in zip(value.shape, wanted, strict=True))
        return all(same) and (not finite or bool(np.isfinite(value).all()))

    return check


def names(length: str) -> Check:
    """Return the check that a value is an array of strings, as many as `length` in the state."""
    shaped = array("OU", length)
    return lambda value, state: shaped(value, state) and all(map(_is_text, value.flat))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def tensor(value: Any, state: Mapping[str, Any]) -> bool:
    """Whether a value is an array that torch can represent."""
    kinds = ("b1", "u1", "i1", "i2", "i4", "i8", "f2", "f4", "f8")
    return isinstance(value, np.ndarray) and value.dtype in map(np.dtype, kinds)


def sequence(check: Check, *kinds: type) -> Check:
    """Return the check that a value is a list or tuple of values that pass a check."""
    allowed = kinds or (list, tuple)
    return lambda value, state: (
        type(value) in allowed and all(check(inner, state) for inner in value)
    )


def mapping(check: Check) -> Check:
    """Return the check that a value is a dictionary from strings to values that pass a check."""
    return lambda value, state: (
        type(value) is dict
        and all(isinstance(key, str) for key in value)
        and all(check(inner, value) for inner in value.values())
    )


def record(**checks: Check) -> Check:
    """Return the check that a value is a dictionary of exactly these keys, with valid values."""
    return lambda value, state: (
        type(value) is dict
        and value.keys() == checks.keys()
        and all(check(value[key], value) for key, check in checks.items())
    )


def instance(*classes: Any) -> Check:
    """Return the check that a value is an instance of one of some classes; None stands for None."""
    kinds = tuple(type(None) if cls is None else cls for cls in classes)
    return lambda value, state: isinstance(value, kinds)


def either(*checks: Check) -> Check:
    """Return the check that a value passes one of several."""
    return lambda value, state: any(check(value, state) for check in checks)


def optional(check: Check) -> Check:
    """Return the check that a value is absent or passes a check."""
    return lambda value, state: value is ABSENT or check(value, state)


def anything(value: Any, state: Mapping[str, Any]) -> bool:
    """Whether a value is present."""
    return value is not ABSENT

"""Hyperparameters that differ between models which are trained together."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor


class NotCommonError(Exception):
    """What a hook does with a hyperparameter differs between models.

    Parameters
    ----------
    message : str
    answers : sequence of bool, default=None
        Results of a comparison, by which the models may be divided.
    """

    def __init__(self, message: str, answers: Sequence[bool] | None = None):
        super().__init__(message)
        self.answers = answers


class Number:
    """A number of each of several models, of which hooks see one, and compute with a tensor.

    A comparison is answered if its result is the same for all models; otherwise, or where a number
    proper is needed, NotCommonError is raised.

    Parameters
    ----------
    values : sequence of float
        Of all models.
    tensor : Tensor of shape ()
        Of the model that is computed; under vmap, it stands for those of all.
    """

    def __init__(self, values: Sequence[float], tensor: Tensor):
        self.values = list(values)
        self.tensor = tensor

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Any, args: Any = (), kwargs: dict | None = None
    ) -> Any:
        plain = [a.tensor if isinstance(a, Number) else a for a in args]
        kwargs = {k: v.tensor if isinstance(v, Number) else v for k, v in (kwargs or {}).items()}
        return func(*plain, **kwargs)

    def _combined(self, other: Any, function: Callable[[Any, Any], Any]) -> Any:
        if isinstance(other, Tensor):
            return function(self.tensor, other)
        if isinstance(other, Number):
            values = [function(a, b) for a, b in zip(self.values, other.values, strict=True)]
            return Number(values, function(self.tensor, other.tensor))
        if isinstance(other, Real):
            return Number([function(v, other) for v in self.values], function(self.tensor, other))
        return NotImplemented

    def _same_for_all(self, answers: Sequence[bool]) -> bool:
        if len(set(answers)) > 1:
            raise NotCommonError("a comparison has different results", answers)
        return answers[0]

    def _compared(self, other: Any, function: Callable[[Any, Any], bool]) -> Any:
        if isinstance(other, Number):
            pairs = zip(self.values, other.values, strict=True)
            return self._same_for_all([function(a, b) for a, b in pairs])
        if isinstance(other, Real):
            return self._same_for_all([function(v, other) for v in self.values])
        if isinstance(other, Tensor):
            return function(self.tensor, other)
        return NotImplemented

    def __bool__(self) -> bool:
        return self._same_for_all([bool(v) for v in self.values])

    def _proper(self) -> Any:
        raise NotCommonError("a number is needed where a tensor will not do")

    __float__ = __int__ = __index__ = _proper
    __hash__ = None  # type: ignore[assignment]

    def __neg__(self) -> Number:
        return Number([-v for v in self.values], -self.tensor)


def _add_operators() -> None:
    """Add the arithmetic operators, in both orders, and the comparisons."""
    for name in ("add", "sub", "mul", "truediv", "pow"):
        function = getattr(operator, name)

        def forward(self: Number, other: Any, function: Any = function) -> Any:
            return self._combined(other, function)

        def backward(self: Number, other: Any, function: Any = function) -> Any:
            return self._combined(other, lambda a, b: function(b, a))

        setattr(Number, f"__{name}__", forward)
        setattr(Number, f"__r{name}__", backward)
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        function = getattr(operator, name)

        def compared(self: Number, other: Any, function: Any = function) -> Any:
            return self._compared(other, function)

        setattr(Number, f"__{name}__", compared)


_add_operators()
Real.register(Number)


def flat_numbers(value: Any) -> list[float] | None:
    """Return a number, or a tuple of them, as a list; None for other values."""
    values = value if isinstance(value, tuple) else (value,)
    if all(isinstance(v, Real) and not isinstance(v, bool) for v in values):
        return [float(v) for v in values]
    return None


def common_value(values: Sequence[list[float]], row: Tensor, as_tuple: bool) -> Any:
    """Return a hyperparameter of all models, given the tensors of one, (n_numbers,)."""
    numbers = [
        # A number that all models share stays one, which hooks may use without restriction.
        of_all[0] if len(set(of_all)) == 1 else Number(of_all, tensor)
        for of_all, tensor in zip(zip(*values, strict=True), row.unbind(), strict=True)
    ]
    return tuple(numbers) if as_tuple else numbers[0]


def stacked(values: Sequence[list[float]], like: Tensor) -> Tensor:
    """Return the numbers of all models, (n_models, n_numbers)."""
    return torch.tensor(values, dtype=like.dtype, device=like.device)

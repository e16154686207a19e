"""Recorded operations as a TorchScript program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Numbers of torch's enumerations, which TorchScript passes as integers.
ENUMERATIONS = {
    torch.strided: 0,
    torch.contiguous_format: 0,
    torch.preserve_format: 1,
    torch.channels_last: 2,
    torch.channels_last_3d: 3,
}


@dataclass(frozen=True)
class Slot:
    """A tensor of a recording, by its number."""

    number: int


@dataclass(frozen=True)
class Operation:
    """A call of an operator of torch, with slots instead of tensors.

    Attributes
    ----------
    func : OpOverload
    args, kwargs : tuple, dict
    n_results : int
        Number of results, which are the next slots.
    """

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    n_results: int

    def arguments(self) -> list[Any]:
        """Return the value of each argument of the operator's schema, defaults included."""
        given = dict(enumerate(self.args)) | self.kwargs
        of_numbers = not any(isinstance(value, (Slot, Tensor, list)) for value in given.values())
        return [
            _converted(given.get(a.name, given.get(i, a.default_value)), str(a.type), of_numbers)
            for i, a in enumerate(self.func._schema.arguments)
        ]


def _converted(value: Any, kind: str, of_numbers: bool) -> Any:
    """Return an argument of an operator in the type of its schema.

    TorchScript takes numbers for tensors only beside tensors, unless `of_numbers`.
    """
    if of_numbers and kind == "Tensor" and isinstance(value, (float, int)):
        return torch.tensor(value)
    if isinstance(value, (torch.layout, torch.memory_format)):
        return ENUMERATIONS[value]
    if kind in ("float", "Optional[float]") and isinstance(value, int):
        return float(value)
    return value


class _Builder:
    """A graph of TorchScript, to which operations are appended."""

    def __init__(self, arguments: Sequence[Tensor]):
        self.graph: Any = torch._C.Graph()
        self.values = [self.graph.addInput() for _ in arguments]  # by slot
        for value, argument in zip(self.values, arguments, strict=True):
            value.inferTypeFrom(argument)

    def append(self, operation: Operation) -> None:
        """Append an operation; its results become the next values."""
        given = [self.value(a) for a in operation.arguments()]
        returns = operation.func._schema.returns
        is_list = len(returns) == 1 and str(returns[0].type) == "List[Tensor]"
        results = self._node(operation.func._schema.name, given, len(returns))
        if is_list:
            results[0].setType(torch._C.ListType(torch._C.TensorType.get()))
            results = self._node("prim::ListUnpack", results, operation.n_results)
        self.values += results

    def value(self, given: Any) -> Any:
        """Return the value of an argument: of a slot, of a list, or a constant."""
        if isinstance(given, Slot):
            return self.values[given.number]
        if isinstance(given, (list, tuple)) and any(isinstance(i, (Slot, Tensor)) for i in given):
            kind: Any = torch._C.TensorType.get()
            if any(i is None for i in given):
                kind = torch._C.OptionalType(kind)
            return self._list([self.value(i) for i in given], kind)
        if isinstance(given, (list, tuple)) and not given:
            return self._list([], torch._C.IntType.get())
        return self.graph.insertConstant(given.detach() if isinstance(given, Tensor) else given)

    def function(self, results: Sequence[Any]) -> Callable[..., Any]:
        """Return the program, whose results are slots or constants."""
        outputs = [self.value(result) for result in results]
        joined = self._node("prim::TupleConstruct", outputs, 1)[0]
        joined.setType(torch._C.TupleType([torch._C.TensorType.get()] * len(outputs)))
        self.graph.registerOutput(joined)
        torch._C._jit_pass_dce(self.graph)
        torch._C._jit_pass_cse(self.graph)
        torch._C._jit_pass_constant_pooling(self.graph)  # type: ignore[attr-defined]
        return torch._C._create_function_from_graph("program", self.graph)

    def _list(self, values: list[Any], kind: Any) -> Any:
        node = self._node("prim::ListConstruct", values, 1)
        node[0].setType(torch._C.ListType(kind))
        return node[0]

    def _node(self, name: str, inputs: list[Any], n_outputs: int) -> list[Any]:
        node = self.graph.create(name, inputs, n_outputs)
        self.graph.appendNode(node)
        return list(node.outputs())


def compiled(
    operations: Sequence[Operation], results: Sequence[Any], arguments: Sequence[Tensor]
) -> Callable[..., tuple[Tensor, ...]]:
    """Return a program that repeats operations for other arguments, without gradients.

    Not by `torch.jit.trace`, which keeps each program and its intermediate results forever, and
    has no lists of booleans, an argument of many gradients.

    Parameters
    ----------
    operations : sequence of Operation
        The first slots are the arguments.
    results : sequence
        Slots, and tensors that are constants.
    arguments : sequence of Tensor
        Examples of them, whose shapes those of the program have.
    """
    builder = _Builder(arguments)
    for operation in operations:
        builder.append(operation)
    program = builder.function(results)

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        with torch.inference_mode():
            return tuple(program(*tensors))

    return run

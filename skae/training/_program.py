"""Functions of tensors as programs that run without Python."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from skae.training._graph import capture
from skae.training._torchscript import Operation, Slot, compiled

logger = logging.getLogger("skae")

Function = Callable[..., Sequence[Tensor]]
N_WARM_UP_CALLS = 3  # after which TorchScript does not optimise a program any more
TOLERANCE = 1e-4  # of the results of a program, relative to those of its function

ATEN = torch.ops.aten
UNCHANGED = (ATEN.detach.default, ATEN.alias.default)  # return their argument
VARYING = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
UNDECLARED = (ATEN.native_batch_norm.default,)  # change arguments although their schema has none
RANDOM = torch.Tag.nondeterministic_seeded


class Recording(TorchDispatchMode):
    """Context that records the operations of this thread on tensors, those of autograd included.

    Parameters
    ----------
    arguments : sequence of Tensor
        The first slots.
    """

    def __init__(self, arguments: Sequence[Tensor]):
        super().__init__()
        self.operations: list[Operation] = []
        self._slots = {id(tensor): Slot(i) for i, tensor in enumerate(arguments)}
        self._kept: list[Any] = [*arguments]  # so that no other tensor gets their id
        self._transposed: dict[Slot, Slot] = {}
        self.n_slots = len(arguments)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if any(tag in func.tags for tag in VARYING) and not _selects_by_number(func, args):
            raise ValueError(f"{func} depends on the values of a tensor")
        if func in UNDECLARED:
            raise ValueError(f"{func} changes its arguments")
        if RANDOM in func.tags and not _is_without_dropout(func, args, kwargs):
            raise ValueError(f"{func} draws random numbers")
        result = func(*args, **kwargs)
        first = self._slots.get(id(args[0])) if args else None
        if func in UNCHANGED and first is not None:
            self._keep(result, first)
        elif func is ATEN.t.default and first in self._transposed:
            self._keep(result, self._transposed[first])
        else:
            results = [result] if isinstance(result, Tensor) else list(result or ())
            own, named = self.slots_of((args, kwargs))
            self.operations.append(Operation(func, own, named, len(results)))
            for value in results:
                self._keep(value, Slot(self.n_slots))
                self.n_slots += 1
            if func is ATEN.t.default and first is not None:
                self._transposed[self._slots[id(result)]] = first
        return result

    def _keep(self, value: Any, slot: Slot) -> None:
        self._kept.append(value)
        if isinstance(value, Tensor):
            self._slots[id(value)] = slot

    def slots_of(self, values: Any) -> Any:
        """Return values with slots instead of the tensors that have one."""
        return tree_map_only(Tensor, lambda tensor: self._slots.get(id(tensor), tensor), values)


def _selects_by_number(func: Any, args: Any) -> bool:
    """Whether an operation is indexing by integers, whose result has a known shape."""
    if func not in (ATEN.index.Tensor, ATEN._unsafe_index.Tensor):
        return False
    return all(index is None or index.dtype == torch.int64 for index in args[1])


def _is_without_dropout(func: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    """Whether an operation draws numbers for dropout only, of which there is none."""
    arguments = {a.name: a.default_value for a in func._schema.arguments}
    arguments |= dict(zip(arguments, args, strict=False)) | kwargs
    return bool(arguments.get("dropout_p", 1) == 0)


def record(function: Function, arguments: Sequence[Tensor]) -> Function:
    """Return a program of the operations of a function, gradients included.

    The operations are those that the function calls for these arguments; the program repeats them
    for others of the same shapes, and has no gradients itself.

    Parameters
    ----------
    function : callable
        From tensors to a sequence of tensors. It may change its arguments in place.
    arguments : sequence of Tensor
        They are not changed.

    Returns
    -------
    program : callable
        From tensors to a tuple of tensors.

    Raises
    ------
    Exception
        If the function depends on the values of tensors in another way than by operations, or
        draws random numbers.
    """
    copies = [a.detach().clone() for a in arguments]
    with Recording(copies) as recording:
        results = recording.slots_of(list(function(*copies)))
    return compiled(recording.operations, results, copies)


class Recorded:
    """A function of tensors that becomes a program for each kind of arguments.

    A program is recorded in one call of its kind, and compared with the function in the next one.
    Where that fails, the function stays what it is, and the logger says why. On a GPU, a program is
    a CUDA graph, see `capture`; on the CPU, one of TorchScript, see `record`.

    Parameters
    ----------
    function : callable
        From tensors to a sequence of tensors. It may change its arguments in place.
    name : str
        What the function computes, for the logger.
    """

    def __init__(self, function: Function, name: str):
        self.function, self.name = function, name
        self._recorded: dict[Hashable, Function | None] = {}
        self._programs: dict[Hashable, Function] = {}

    def __call__(
        self, kind: Hashable, arguments: Sequence[Tensor], *, pays: bool = True
    ) -> Sequence[Tensor]:
        """Return the results for arguments, whose shapes and dtypes are those of their kind.

        `pays` is whether so many calls of this kind are left that a program is worth recording.
        """
        program = self._programs.get(kind)
        if program is not None:
            return program(*arguments)
        if kind in self._recorded:
            return self._compared(kind, arguments)
        if pays:
            try:
                make = capture if arguments[0].is_cuda else record
                self._recorded[kind] = make(self.function, arguments)
            except Exception as error:
                self._give_up(kind, repr(error))
        return self.function(*arguments)

    def _compared(self, kind: Hashable, arguments: Sequence[Tensor]) -> Sequence[Tensor]:
        """Call the function, and use its program from now on if that has the same results."""
        recorded = self._recorded[kind]
        if recorded is None:
            return self.function(*arguments)
        try:
            for _ in range(N_WARM_UP_CALLS):
                copies = [a.detach().clone() for a in arguments]
                by_program = recorded(*copies)
        except Exception as error:
            self._give_up(kind, repr(error))
            return self.function(*arguments)
        results = self.function(*arguments)
        if all(map(_equal, [*by_program, *copies], [*results, *arguments])):
            self._programs[kind] = recorded
        else:
            self._give_up(kind, "a program of its operations computes something else")
        return results

    def _give_up(self, kind: Hashable, reason: str) -> None:
        logger.info("%s of %s is not recorded: %s.", self.name, kind, reason)
        self._recorded[kind] = None


def _equal(found: Tensor, expected: Tensor) -> bool:
    """Whether two tensors are equal but for rounding."""
    found, expected = found.detach().double(), expected.detach().double()
    difference = torch.where(found == expected, 0, found - expected)
    size = torch.where(expected.isfinite(), expected, 0).norm()
    return bool(difference.norm() <= TOLERANCE * size)

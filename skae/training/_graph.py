"""Functions of tensors on a GPU as CUDA graphs."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

N_EAGER_CALLS = 3  # before the capture, in which libraries allocate what they keep


def capture(
    function: Callable[..., Sequence[Tensor]], arguments: Sequence[Tensor]
) -> Callable[..., tuple[Tensor, ...]]:
    """Return a program that launches all kernels of a function, gradients included, at once.

    Parameters
    ----------
    function : callable
        From tensors to a sequence of tensors. It may change its arguments in place.
    arguments : sequence of Tensor
        On one GPU. They are not changed; the program takes others of the same shapes.

    Returns
    -------
    program : callable
        From tensors to a tuple of tensors, which the next call overwrites.

    Raises
    ------
    Exception
        If the function waits for the GPU, as it does if it reads a value.
    """
    device = arguments[0].device
    given = [a.detach().clone() for a in arguments]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(N_EAGER_CALLS):
                copies = [a.clone() for a in given]
                function(*copies)
        torch.cuda.current_stream().wait_stream(stream)
    # Batch normalisation changes its statistics without counting it as a new version.
    pairs = enumerate(zip(copies, given, strict=True))
    changed = [i for i, (copy, own) in pairs if copy._version or not torch.equal(copy, own)]
    with (
        torch.cuda.device(device),
        _without_collection(),
        torch.cuda.graph(graph, capture_error_mode="thread_local"),  # other threads may train
    ):
        results = tuple(function(*given))

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        _copy(given, tensors)
        graph.replay()
        _copy([tensors[i] for i in changed], [given[i] for i in changed])
        return results

    return run


@contextmanager
def _without_collection() -> Iterator[None]:
    """Collect no garbage, since a graph that is freed makes another one's capture fail."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@torch.no_grad()
def _copy(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy tensors into others, by one kernel for all of a dtype."""
    by_dtype: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for target, source in zip(targets, sources, strict=True):
        both = by_dtype.setdefault(target.dtype, ([], []))
        both[0].append(target)
        both[1].append(source)
    for pair in by_dtype.values():
        torch._foreach_copy_(*pair)

"""From a module to an ONNX model by torch's exporter."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from skae._lock import ForkSafeLock
from skae.onnx._operators import decompositions

DEFAULT_OPSET = 18  # in which torch's exporter writes; others are converted from it
# That tell of packages that are not needed, of conversions that are checked, and of progress.
LOGGERS = (
    "torch.onnx._internal.exporter._registration",
    "torch.onnx._internal.exporter._compat",
    "onnxscript.version_converter",
    "onnx_ir.passes.common.initializer_deduplication",
)
LOCK = ForkSafeLock()  # torch's exporter is not for several threads


class RefusalError(ValueError):
    """An error of skae, within a conversion by skl2onnx."""


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type if there is none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def checked(model: Any) -> Any:
    """Return a model, if it is valid.

    Raises
    ------
    ValueError
        If a runtime could not load it.
    """
    from onnx.checker import check_model

    try:
        check_model(model, full_check=True)
    except Exception as error:  # of several types
        raise ValueError(
            "The ONNX model that the exporters of torch and skl2onnx make of this estimator is not "
            "valid, so that no runtime could load it; use other steps, or layers and hooks without "
            f"rare operations: {first_line(error)}"
        ) from error
    return model


def require(purpose: str, *modules: str) -> None:
    """Raise ImportError with one sentence where a package is not installed."""
    for name in modules:
        try:
            __import__(name)
        except ImportError as error:
            raise ImportError(
                f"{purpose} requires {name}. You can install what exporting to ONNX needs with "
                "`pip install skae[onnx]`"
            ) from error


class OtherThreads(logging.Filter):
    """Keep the records of other threads than the one that made the filter."""

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread != self.thread


@contextmanager
def _quietly() -> Iterator[None]:
    """Context without the notes of the exporter, for one thread at a time."""
    quiet = OtherThreads()
    with LOCK.held(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch, about its own functions
        for name in LOGGERS:
            logging.getLogger(name).addFilter(quiet)
        try:
            yield
        finally:
            for name in LOGGERS:
                logging.getLogger(name).removeFilter(quiet)


def export(
    graph: nn.Module, example: NDArray, outputs: Sequence[str], target_opset: int | None
) -> Any:
    """Return the ONNX model of a module, for any number of samples.

    Parameters
    ----------
    graph : Module
        Maps samples to a tuple of tensors.
    example : ndarray of shape (n_samples, n_features)
        At least two samples, in the dtype of the input.
    outputs : sequence of str
        Names of the outputs.
    target_opset : int or None
        Version of the operators.

    Returns
    -------
    model : onnx.ModelProto
        Its input is called 'X'.

    Raises
    ------
    ValueError
        If the module cannot be traced, or not be written with these operators.
    """
    from onnx.defs import onnx_opset_version

    opset = DEFAULT_OPSET if target_opset is None else target_opset
    x = torch.from_numpy(example)
    with _quietly(), torch.no_grad():
        graph(x)  # fixed random draws, which are made once, become constants
        dynamic = ({0: torch.export.Dim.DYNAMIC},)
        try:
            traced = torch.export.export(graph, (x,), dynamic_shapes=dynamic, strict=False)
        except Exception as error:
            raise ValueError(
                "torch.export cannot trace the networks for any number of samples; in networks and "
                "hooks of your own, write x.shape[0] for len(x), and no branch on values: "
                f"{first_line(error)}"
            ) from error
        model = _translated(traced.run_decompositions(decompositions(x.dtype)), outputs, opset)
    found = {entry.domain: entry.version for entry in model.opset_import}[""]
    if found != opset:
        raise ValueError(
            f"This model cannot be written with target_opset={opset!r}; pass None, or an integer "
            f"from {DEFAULT_OPSET} to {onnx_opset_version()}."
        )
    return checked(model)


def _translated(program: Any, outputs: Sequence[str], opset: int) -> Any:
    """Return the ONNX model of an exported program."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    translated = torch.onnx.export(
        program,
        (),
        dynamo=True,
        verbose=False,
        input_names=["X"],
        output_names=list(outputs),
        opset_version=opset,
    )
    assert translated is not None
    graph = translated.model.graph
    for value in [value for node in graph for value in node.inputs]:
        # Bounds of `clamp` are constants that the exporter leaves out of the graph.
        if value is not None and value.const_value is not None and value.producer() is None:
            graph.initializers.setdefault(str(value.name), value)
    # onnxruntime warns of constants of loops that are left.
    RemoveUnusedNodesPass()(translated.model)
    return translated.model_proto

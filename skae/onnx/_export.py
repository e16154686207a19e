"""From a module to an ONNX model by torch's exporter."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from skae.onnx._operators import decompositions

DEFAULT_OPSET = 18  # in which torch's exporter writes; others are converted from it


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


@contextmanager
def _silent() -> Iterator[None]:
    """Context without the progress reports and warnings of the exporter."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = {logger: logger.level for logger in loggers}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


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
        If the module cannot be traced.
    """
    x = torch.from_numpy(example)
    with _silent(), torch.no_grad():
        graph(x)  # fixed random draws, which are made once, become constants
        dynamic = ({0: torch.export.Dim.DYNAMIC},)
        try:
            traced = torch.export.export(graph, (x,), dynamic_shapes=dynamic, strict=False)
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(
                "torch.export cannot trace the networks for any number of samples; in networks and "
                f"hooks of your own, write x.shape[0] for len(x), and no branch on values: {reason}"
            ) from error
        program = torch.onnx.export(
            traced.run_decompositions(decompositions(x.dtype)),
            (),
            dynamo=True,
            verbose=False,
            input_names=["X"],
            output_names=list(outputs),
            opset_version=DEFAULT_OPSET if target_opset is None else target_opset,
        )
    assert program is not None
    return program.model_proto

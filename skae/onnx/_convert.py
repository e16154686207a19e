"""Conversion of fitted estimators and pipelines to ONNX models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skae._sklearn_types import BaseEstimator
from skae._validation import check_count
from skae.base import BaseAutoencoder
from skae.impute import AutoencoderImputer
from skae.onnx._export import DEFAULT_OPSET, RefusalError, checked, export, first_line, require
from skae.onnx._graphs import TORCH_DTYPE, AutoencoderGraph, DetectorGraph, example_of
from skae.onnx._imputer_graph import ImputerGraph
from skae.onnx._scalers import Affine, inverse_of
from skae.onnx._steps import convertible
from skae.outlier import AutoencoderOutlierDetector

OUTPUTS = ("code", "reconstruction", "score")
OF_DETECTORS = ("score", "label")
OF_IMPUTERS = ("imputed",)


def to_onnx(
    estimator: Any,
    *,
    outputs: Sequence[str] = OUTPUTS,
    dtype: str = "float32",
    target_opset: int | None = None,
) -> Any:
    """Convert a fitted autoencoder, detector or imputer to ONNX, or a pipeline with one at its end.

    The model is one graph from samples in their original units to all outputs, for any number of
    samples. Missing values, NaN, are handled in the graph as by the estimator.

    Parameters
    ----------
    estimator : BaseAutoencoder, AutoencoderOutlierDetector, AutoencoderImputer or Pipeline
        Fitted. The steps of a pipeline before the last one are converted by skl2onnx.
    outputs : sequence of str, default=("code", "reconstruction", "score")
        Outputs of the model, in this order. Of an autoencoder: 'code' is that of ``transform``,
        'reconstruction' that of ``reconstruct``, in a pipeline in the units of its input, and
        'score' that of ``score_samples``. Of a detector, for which the default stands for
        ``("score", "label")``: 'score' is that of ``score_samples``, 'decision' that of
        ``decision_function``, both in float64, and 'label' that of ``predict``. Of an imputer,
        for which the default stands for ``("imputed",)``: the result of ``transform``.
    dtype : {'float32', 'float64'}, default='float32'
        Type of the input 'X' and of the results.
    target_opset : int or None, default=None
        Version of ONNX's operators. If None, 18.

    Returns
    -------
    model : onnx.ModelProto
        Its ``SerializeToString()`` is the content of a file, which onnxruntime runs.

    Raises
    ------
    ImportError
        If onnx or onnxscript is not installed, or skl2onnx for a pipeline.
    ValueError
        If the estimator, a step before it or an output cannot be converted exactly, or not with
        these operators.
    NotFittedError
        If the estimator or a step is not fitted.

    See Also
    --------
    skae.save : Writes a file that is loaded as an estimator again.

    Notes
    -----
    In float64, the error function, in the activation 'gelu' and in transformers, has the precision
    of float32, since onnxruntime has no other.

    An imputer computes in float64 for either `dtype`, with a covariance matrix for each sample:
    pass large tables in parts. Its distances to the nearest rows, which `transform` rounds to
    float32, are not rounded.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skae import Autoencoder
    >>> from skae.onnx import to_onnx
    >>> X = load_iris().data.astype(np.float32)
    >>> autoencoder = Autoencoder(2, max_iter=5, early_stopping=False, random_state=0)
    >>> pipeline = make_pipeline(StandardScaler(), autoencoder).fit(X)
    >>> model = to_onnx(pipeline)
    >>> import onnxruntime
    >>> session = onnxruntime.InferenceSession(model.SerializeToString())
    >>> code, X_hat, score = session.run(None, {"X": X})
    >>> bool(np.abs(code - pipeline.transform(X)).max() < 1e-5)
    True
    """
    require("to_onnx", "onnx", "onnxscript")
    if dtype not in TORCH_DTYPE:
        raise ValueError(f"dtype must be 'float32' or 'float64'; got {dtype!r}.")
    if target_opset is not None:
        check_count(target_opset, "target_opset")
    steps = list(_steps(estimator))
    last = steps[-1] if steps else estimator
    names = resolve_outputs(last, outputs)
    for step in steps or [estimator]:
        check_is_fitted(step)
    if len(steps) == 1:
        graph = graph_of(last, names, dtype)
        return export(graph, example_of(last.n_features_in_, dtype), names, target_opset)
    inverse = None
    if "reconstruction" in names:
        inverse = inverse_of(steps[:-1], last.n_features_in_)
    return _pipeline_to_onnx(steps, names, dtype, target_opset, inverse)


def _steps(estimator: Any) -> Iterator[Any]:
    """Yield the steps of a pipeline, and of pipelines within it; or the estimator itself."""
    if not isinstance(estimator, Pipeline):
        yield estimator
        return
    for _, step in estimator.steps:
        if step is not None and step != "passthrough":
            yield from _steps(step)


def resolve_outputs(estimator: Any, outputs: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the outputs of an autoencoder, detector or imputer."""
    default: tuple[str, ...]
    known: tuple[str, ...]
    if isinstance(estimator, BaseAutoencoder):
        default, known = OUTPUTS, OUTPUTS
    elif isinstance(estimator, AutoencoderOutlierDetector):
        default, known = OF_DETECTORS, (*OF_DETECTORS, "decision")
    elif isinstance(estimator, AutoencoderImputer):
        default, known = OF_IMPUTERS, OF_IMPUTERS
    else:
        raise ValueError(
            "to_onnx converts autoencoders, AutoencoderOutlierDetector, AutoencoderImputer and "
            f"pipelines that end with one of them, not {type(estimator).__name__}."
        )
    names: tuple[Any, ...] = ()
    if isinstance(outputs, Iterable):
        names = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    names = default if names == OUTPUTS else names
    if not names or not all(name in known and names.count(name) == 1 for name in names):
        raise ValueError(
            f"outputs of {type(estimator).__name__} must be different ones of {known}; got "
            f"{outputs!r}."
        )
    if "reconstruction" in names and not hasattr(estimator, "reconstruct"):
        raise ValueError(
            f"This {type(estimator).__name__} has no reconstruct; leave 'reconstruction' out of "
            "outputs."
        )
    return names


def graph_of(
    estimator: Any, outputs: tuple[str, ...], dtype: str, inverse: Affine | None = None
) -> nn.Module:
    """Return the graph of a fitted autoencoder, detector or imputer."""
    if isinstance(estimator, AutoencoderImputer):
        return ImputerGraph(estimator, dtype)
    if isinstance(estimator, AutoencoderOutlierDetector):
        return DetectorGraph(estimator, outputs)
    return AutoencoderGraph(estimator, outputs, dtype, inverse)


class LastStep(BaseEstimator):
    """The last step of a pipeline, with the outputs that are wanted of it.

    Parameters
    ----------
    estimator : estimator
        Fitted autoencoder, detector or imputer.
    outputs : tuple of str
    inverse : Affine or None
    dtype : {'float32', 'float64'}
    """

    def __init__(
        self, estimator: Any, outputs: tuple[str, ...], inverse: Affine | None, dtype: str
    ):
        self.estimator = estimator
        self.outputs = outputs
        self.inverse = inverse
        self.dtype = dtype


def _pipeline_to_onnx(
    steps: list[Any],
    outputs: tuple[str, ...],
    dtype: str,
    target_opset: int | None,
    inverse: Affine | None,
) -> Any:
    require("to_onnx of a pipeline", "skl2onnx")
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    kind = FloatTensorType if dtype == "float32" else DoubleTensorType
    last = LastStep(steps[-1], outputs, inverse, dtype)
    before = [convertible(step) for step in steps[:-1]]
    try:
        model = convert_sklearn(
            Pipeline([(f"step{i}", step) for i, step in enumerate([*before, last])]),
            initial_types=[("X", kind([None, steps[0].n_features_in_]))],
            target_opset=DEFAULT_OPSET if target_opset is None else target_opset,
        )
    except RefusalError:
        raise
    except Exception as error:  # skl2onnx raises any
        names = ", ".join(type(step).__name__ for step in before)
        raise ValueError(
            f"skl2onnx, by which to_onnx converts {names}, refuses the pipeline; use other steps "
            f"or another target_opset, or convert the last step alone: {first_line(error)}"
        ) from error
    return checked(model)

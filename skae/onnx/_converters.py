"""Converters of skl2onnx for the estimators of skae."""

from __future__ import annotations

from typing import Any

import skae.autoencoders as variants
from skae.autoencoders import DeepAutoencoder
from skae.base import BaseAutoencoder
from skae.impute import AutoencoderImputer
from skae.onnx._convert import LastStep, graph_of
from skae.onnx._export import RefusalError, export, require
from skae.onnx._graphs import example_of
from skae.outlier import AutoencoderOutlierDetector
from skae.tables import TableEncoder

# Names of the outputs of a detector in skl2onnx, and in `to_onnx`.
DETECTOR_OUTPUTS = {"label": "label", "scores": "decision"}


def register() -> None:
    """Register converters for autoencoders and detectors with skl2onnx."""
    from skl2onnx import update_registered_converter

    found = [getattr(variants, name) for name in variants.__all__]
    autoencoders = [c for c in found if isinstance(c, type) and c is not DeepAutoencoder]
    for cls in (*autoencoders, AutoencoderOutlierDetector, AutoencoderImputer, LastStep):
        update_registered_converter(
            cls, f"Skae{cls.__name__}", _set_shapes, _convert, parser=_declare_outputs
        )
    update_registered_converter(
        TableEncoder, "SkaeTableEncoder", _set_shapes, _convert, parser=_refuse_tables
    )


def _refuse_tables(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
    raise RefusalError(
        "A TableEncoder cannot be converted to ONNX, whose text is never missing and whose models "
        "cannot refuse unknown categories; use StandardScaler for numbers, and a ColumnTransformer "
        "with StandardScaler and OneHotEncoder for tables of mixed columns."
    )


def _outputs_of(model: Any) -> tuple[Any, dict[str, str]]:
    """Return the estimator, and its outputs by their names in the graph of skl2onnx."""
    if isinstance(model, LastStep):
        return model.estimator, {name: name for name in model.outputs}
    if isinstance(model, AutoencoderOutlierDetector):
        return model, DETECTOR_OUTPUTS
    if isinstance(model, AutoencoderImputer):
        return model, {"variable": "imputed"}
    return model, {"variable": "code"}


def _numpy_dtype(model: Any, inputs: Any) -> str:
    from skl2onnx.common.data_types import DoubleTensorType

    if isinstance(model, LastStep):
        return model.dtype
    return "float64" if isinstance(inputs[0].type, DoubleTensorType) else "float32"


def _declare_outputs(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
    operator = scope.declare_local_operator(f"Skae{type(model).__name__}", model)
    operator.inputs = list(inputs)
    for name, kind in _types(model, inputs).items():
        operator.outputs.append(scope.declare_local_variable(name, kind))
    return operator.outputs


def _set_shapes(operator: Any) -> None:
    kinds = _types(operator.raw_operator, operator.inputs).values()
    for variable, kind in zip(operator.outputs, kinds, strict=True):
        variable.type = kind


def _types(model: Any, inputs: Any) -> dict[str, Any]:
    """Return the type of each output."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType

    real = DoubleTensorType if _numpy_dtype(model, inputs) == "float64" else FloatTensorType
    estimator, outputs = _outputs_of(model)
    n = inputs[0].get_first_dimension()
    n_features = estimator.n_features_in_
    if isinstance(estimator, BaseAutoencoder):
        of_autoencoder = {
            "code": real([n, estimator.n_components_]),
            "reconstruction": real([n, n_features]),
            "score": real([n]),
        }
        return {ours: of_autoencoder[name] for ours, name in outputs.items()}
    if isinstance(estimator, AutoencoderImputer):
        return {ours: real([n, len(estimator.get_feature_names_out())]) for ours in outputs}
    of_detector = {
        "label": Int64TensorType([n]),
        "score": DoubleTensorType([n]),
        "decision": DoubleTensorType([n]),
    }
    return {ours: of_detector[name] for ours, name in outputs.items()}


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of an estimator's own graph to that of skl2onnx."""
    require("The converter of an estimator of skae", "onnxscript")
    model = operator.raw_operator
    estimator, outputs = _outputs_of(model)
    dtype = _numpy_dtype(model, operator.inputs)
    inverse = model.inverse if isinstance(model, LastStep) else None
    names = tuple(outputs.values())
    opset = container.target_opset_any_domain("")
    try:
        graph = graph_of(estimator, names, dtype, inverse)
        exported = export(graph, example_of(estimator.n_features_in_, dtype), names, opset)
    except ValueError as error:
        raise RefusalError(str(error)) from error
    renamed = {"": "", "X": _joined_inputs(scope, operator, container, dtype)}
    ours = [variable.full_name for variable in operator.outputs]
    renamed |= dict(zip(names, ours, strict=True))
    _insert(exported, renamed, scope, container)


def _joined_inputs(scope: Any, operator: Any, container: Any, dtype: str) -> str:
    """Return the name of the matrix of all inputs, in a floating-point type."""
    from onnx import TensorProto

    wanted = TensorProto.DOUBLE if dtype == "float64" else TensorProto.FLOAT
    names = []
    for variable in operator.inputs:  # whose types may be others than skl2onnx declares
        names.append(scope.get_unique_variable_name("cast"))
        container.add_node("Cast", variable.full_name, names[-1], to=wanted, op_version=13)
    if len(names) == 1:
        return names[0]
    joined = scope.get_unique_variable_name("joined")
    container.add_node("Concat", names, joined, axis=1, op_version=13)
    return joined


def _insert(model: Any, renamed: dict[str, str], scope: Any, container: Any) -> None:
    """Insert the nodes and constants of a model, with new names for its values."""
    from onnx.inliner import inline_local_functions

    model = inline_local_functions(model)

    def new(name: str) -> str:
        if name not in renamed:
            renamed[name] = scope.get_unique_variable_name(f"skae_{name}")
        return renamed[name]

    def rename(graph: Any) -> None:
        for value in (*graph.initializer, *graph.input, *graph.output):
            value.name = new(value.name)
        del graph.value_info[:]
        for node in graph.node:
            inputs, outputs = list(map(new, node.input)), list(map(new, node.output))
            del node.input[:], node.output[:]
            node.input.extend(inputs)
            node.output.extend(outputs)
            node.name = scope.get_unique_operator_name(f"skae_{node.op_type}")
            container.node_domain_version_pair_sets.add((node.domain, versions[node.domain]))
            for attribute in node.attribute:
                if attribute.HasField("g"):  # the body of a loop
                    rename(attribute.g)

    versions = {opset.domain: opset.version for opset in model.opset_import}
    rename(model.graph)
    container.initializers.extend(model.graph.initializer)
    container.nodes.extend(model.graph.node)

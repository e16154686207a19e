"""The state of a fitted autoencoder in files, and its checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skae import _schema as schema
from skae._fit_start import module_spec
from skae.architectures import Architecture
from skae.training import moments_fit

FITTED_SCHEMA: dict[str, schema.Check] = {
    "n_features_in_": schema.integer(1),
    "feature_names_in_": schema.optional(schema.names("n_features_in_")),
    "n_components_": schema.integer(1),
    "mean_": schema.array("f", "n_features_in_", finite=True),
    "scale_": schema.positive,
    "architecture_": schema.instance(Architecture, None),
    "n_iter_": schema.integer(),
    "best_epoch_": schema.integer(),
    "loss_curve_": schema.sequence(schema.number, list),
    "loss_terms_": schema.mapping(schema.sequence(schema.number, list)),
    "validation_loss_curve_": schema.either(
        schema.instance(None), schema.sequence(schema.number, list)
    ),
    "initial_validation_loss_": schema.either(schema.instance(None), schema.number),
    "_fit_params": schema.mapping(schema.anything),
    "_spec": schema.record(
        loss=schema.text,
        layer_sizes=schema.record(
            n_inputs=schema.integer(1),
            n_code=schema.integer(1),
            n_components=schema.integer(1),
            n_outputs=schema.integer(1),
        ),
        linear_shortcut=schema.boolean,
        tied=schema.boolean,
    ),
    "_weights": schema.record(
        values=schema.mapping(schema.tensor), trainable=schema.sequence(schema.text)
    ),
    "_optimizer": schema.record(
        options=schema.mapping(schema.text),
        moments=schema.mapping(schema.mapping(schema.anything)),
    ),
    "_one_pass": schema.boolean,
    "_mean_loss": schema.number,
    "_n_steps": schema.integer(),
}


def check_fitted_state(cls: Any, state: Mapping[str, Any]) -> None:
    """Raise ValueError where fitted attributes in a file do not belong together."""
    if "_weights" not in state:
        return
    used = state["_fit_params"]
    if used.keys() != set(cls._own_parameter_names()):
        raise ValueError(f"'_fit_params' does not contain the parameters of {cls.__name__}")
    schema.check_parameters(cls, used)
    fitted = object.__new__(cls)
    fitted.__dict__ = {**state, **used, "n_components": state["n_components_"]}
    n_features = state["n_features_in_"]
    if module_spec(fitted, n_features) != state["_spec"]:
        raise ValueError(f"'_spec' does not follow from the parameters of {cls.__name__}")
    if state["architecture_"] is None and not state["_spec"]["linear_shortcut"]:
        raise ValueError("it has neither networks nor a linear shortcut")
    values = state["_weights"]["values"]
    if lacking := fitted._added_tensors(state["_spec"]["layer_sizes"]).keys() - values.keys():
        raise ValueError(f"it lacks the weights {min(lacking)!r}")
    shapes = {name: array.shape for name, array in values.items()}
    if not moments_fit(state["_optimizer"]["moments"], shapes):
        raise ValueError("the moments of its optimiser are not of the shapes of its weights")

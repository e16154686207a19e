"""What training starts from: a new module or a fitted one, its samples, and the plan."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from skae._fit_identity import fingerprint
from skae._hooks import Hooks
from skae.data import (
    ALONE,
    HOLDERS,
    Conditioning,
    DataSource,
    DividedRows,
    Group,
    Moments,
    RowDataset,
    principal_axes,
    resolve_n_components,
)
from skae.training import (
    AutoencoderModule,
    TrainingPlan,
    budget,
    build,
    device_of,
    drawing_from,
    mean_loss_of,
    pretrain,
)

ERRORS_TO_LEAVE_PCA = 3.0  # standard errors of the gain


@dataclass(frozen=True)
class Start:
    """What training starts from."""

    module: AutoencoderModule
    rows: RowDataset
    starts_at_pca: bool
    fitted: dict[str, Any]  # attributes that training does not change
    mean_loss: float = 0.0  # of the samples of the first fit, if this one resumes
    optimizer: dict[str, Any] | None = None  # state, if this fit resumes


def start_fit(
    estimator: Hooks,
    source: DataSource,
    weight: NDArray,
    random_state: np.random.RandomState,
    seed: int,
    group: Group = ALONE,
) -> Start:
    """Build a module for samples, and start it at the principal components or at random."""
    generator = torch.Generator().manual_seed(seed)
    architecture, loss = estimator._architecture(), estimator._loss()
    starts_at_pca = estimator._starts_from_pca()
    conditioning, rows = conditioned_rows(estimator, source, weight)
    asked, auto = estimator.n_components, estimator._auto_n_components
    estimator.n_components_ = resolve_n_components(asked, rows, auto)
    spec = module_spec(estimator, source.shape[1])
    axes = principal_axes(rows, estimator.n_components_, random_state) if starts_at_pca else None
    with drawing_from(generator):
        module = build(estimator._network_builder(architecture), conditioning, **spec)
        module.convert(rows.dtype, conditioning)
    zeroed: list[Any] = []
    if architecture is not None:
        networks = cast(nn.Module, module.encoder), cast(nn.Module, module.decoder)
        if stages := architecture.pretraining_stages(*networks, rows.n_features):
            whole = Start(module, rows, starts_at_pca=False, fitted={})
            seeds = (int(s) for s in random_state.randint(2**31 - 1, size=3))
            pretrain(stages, rows, make_plan(estimator, whole, random_state, *seeds), group)
        zeroed = architecture.zero_init_parameters(*networks) if starts_at_pca else []
    with drawing_from(generator):
        module.start(loss.bias(conditioning.shift), axes, zeroed)
        estimator._before_fit(module, rows)
    fitted = {
        "architecture_": architecture,
        "n_components_": estimator.n_components_,
        "mean_": conditioning.shift.astype(source.dtype),
        "scale_": conditioning.scale,
        "_spec": spec,
        "_fit_params": estimator._own_parameters(),
    }
    return Start(module, rows, starts_at_pca, fitted)


def conditioned_rows(
    estimator: Hooks, source: DataSource, weight: NDArray
) -> tuple[Conditioning, RowDataset]:
    """Return the conditioning of samples and the conditioned samples, if training can use them."""
    moments = Moments.of(source, weight, HOLDERS.get())
    names = getattr(estimator, "feature_names_in_", None)
    moments.check_magnitude(source.dtype, names)
    estimator._loss().check(moments.low, moments.high, names, estimator._loss_parameter)
    conditioning, dtype = moments.conditioning(), estimator._training_dtype(source.dtype)
    rows = RowDataset.of(source, weight, conditioning, dtype, moments.complete)
    if HOLDERS.get().size > 1:
        rows = DividedRows(rows, HOLDERS.get())
    return conditioning, rows


def resume_fit(estimator: Hooks, source: DataSource, weight: NDArray) -> Start:
    """Continue with a copy of the fitted module, on samples conditioned as in the first fit."""
    asked, had = (
        {**spec["layer_sizes"], **spec, **architecture_params(architecture)}
        for spec, architecture in (
            (module_spec(estimator, source.shape[1]), estimator._architecture()),
            (estimator._spec, estimator.architecture_),
        )
    )
    for name in ("n_components", *estimator._frozen_params):
        asked[name], had[name] = getattr(estimator, name), estimator._fit_params[name]
    if asked["n_components"] == estimator.n_components_:  # for example what a fraction resulted in
        had["n_components"] = asked["n_components"]
    for name in ("n_components", *had):
        if fingerprint(asked.get(name)) != fingerprint(had[name]):
            raise ValueError(
                f"{type(estimator).__name__} resumes a fit with {name}={had[name]!r}, but "
                f"{name}={asked.get(name)!r} is set now; set it back, or start a new fit: clone "
                "the estimator, or fit with warm_start=False."
            )
    module = copy.deepcopy(estimator.module_).cpu()
    names = getattr(estimator, "feature_names_in_", None)
    module.loss.check(*source.ranges(), names, estimator._loss_parameter)
    dtype = module.output_bias.dtype
    complete = not source.has_missing()
    rows = RowDataset.of(source, weight, estimator._conditioning, dtype, complete)
    with torch.no_grad():
        estimator._before_resume(module, rows)
    fitted = {"_fit_params": estimator._own_parameters()}
    return Start(module, rows, False, fitted, estimator._mean_loss, estimator._optimizer)


def module_spec(estimator: Hooks, n_features: int) -> dict[str, Any]:
    """Return what `build` needs in addition to the architecture."""
    return {
        "loss": estimator._loss().name,
        "layer_sizes": estimator._layer_sizes(n_features),
        "linear_shortcut": estimator._linear_shortcut(),
        "tied": estimator._tied(),
    }


def architecture_params(architecture: Any) -> dict[str, Any]:
    """Return the class of an architecture and its parameters, by the names users set them by."""
    parameters = {} if architecture is None else architecture.get_params()
    named = {f"architecture__{name}": value for name, value in parameters.items()}
    return {"architecture": type(architecture).__name__} | named


def make_plan(
    estimator: Hooks,
    start: Start,
    random_state: np.random.RandomState,
    seed: int,
    validation_seed: int,
    order_seed: int,
    *,
    one_pass: bool = False,
) -> TrainingPlan:
    """Return the plan that an estimator's training parameters describe."""
    rows = start.rows
    n = rows.n_samples
    held_out = np.empty(0, np.int64) if one_pass else estimator._held_out(n, random_state)
    n_kept = n - len(held_out)
    auto = budget.batch_size(n_kept)
    batch_size = min(budget.resolve_auto(estimator.batch_size, auto), n_kept)
    n_steps = -(-n_kept // batch_size)  # per epoch
    epochs = estimator._n_epochs(rows, n_steps, start.starts_at_pca)
    epochs = min(epochs, 1) if one_pass else epochs
    return TrainingPlan(
        max_epochs=epochs,
        batch_size=batch_size,
        learning_rate=estimator.learning_rate,
        schedule="constant" if one_pass else estimator.schedule,
        weight_decay=estimator.weight_decay,
        held_out=held_out,
        patience=budget.resolve_auto(estimator.n_iter_no_change, budget.patience(epochs)),
        start_patience=budget.resolve_auto(
            estimator.n_iter_no_change, budget.start_patience(epochs, n_steps)
        ),
        tol=estimator.tol,
        n_errors=ERRORS_TO_LEAVE_PCA if start.starts_at_pca else 0.0,
        warm_up=estimator._warm_up(),
        one_pass=one_pass,
        # All samples that a fit resumes with may be at the mean.
        mean_loss=max(mean_loss_of(start.module, rows), start.mean_loss),
        seed=seed,
        validation_seed=validation_seed,
        order_seed=order_seed,
        precision=estimator.precision,
        device=str(device_of(estimator.device)),
        verbose=estimator.verbose,
        net_params=dict(estimator.net_params or {}),
    )

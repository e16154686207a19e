"""One fit: from an estimator and its samples to a plan, a run and fitted attributes."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from numbers import Integral
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from skae._callbacks import CallbackBridge
from skae._hooks import Hooks
from skae._validation import random_state_of
from skae._warnings import warn
from skae.batched import outcomes_together
from skae.data import DataSource, Moments, RowDataset, principal_axes, resolve_n_components
from skae.training import (
    AutoencoderModule,
    Checkpoint,
    Job,
    TrainingPlan,
    TrainingResult,
    budget,
    build,
    check_precision,
    device_of,
    drawing_from,
    mean_loss_of,
    pretrain,
    run,
    state_of,
)

ERRORS_TO_LEAVE_PCA = 3.0  # standard errors of the gain
NOT_OF_THE_FIT = ("checkpoint", "verbose")  # hyperparameters that do not change its result


@dataclass(frozen=True)
class Start:
    """What training starts from."""

    module: AutoencoderModule
    rows: RowDataset
    starts_at_pca: bool
    fitted: dict[str, Any]  # attributes that training does not change
    mean_loss: float = 0.0  # of the samples of the first fit, if this one resumes
    optimizer: dict[str, Any] | None = None  # state, if this fit resumes


def train(
    estimator: Hooks,
    source: DataSource,
    weight: NDArray,
    *,
    bridge: CallbackBridge,
    resume: bool = False,
    one_pass: bool = False,
    start_only: bool = False,
) -> tuple[dict[str, Any], RowDataset]:
    """Train by an estimator's hooks and hyperparameters.

    Parameters
    ----------
    estimator : Hooks
        Changed only by its own hooks, and by `n_components_`, which hooks read.
    source : DataSource of shape (n, d)
        Samples, each with an observed value.
    weight : ndarray of shape (n,)
        In (0, 1).
    bridge : CallbackBridge
        Notifies scikit-learn's callbacks of each epoch.
    resume : bool, default=False
        Whether to continue from the estimator's fitted state.
    one_pass : bool, default=False
        Whether to use each sample once, at the initial learning rate, and hold out none.
    start_only : bool, default=False
        Whether to run no epoch.

    Returns
    -------
    fitted : dict
        Fitted attributes.
    rows : RowDataset
        The samples as training used them.
    """
    estimator._check()
    device = device_of(estimator.device)
    check_precision(device, estimator._training_dtype(source.dtype), "training would be in")
    random_state = random_state_of(estimator.random_state)
    several = estimator.n_init > 1 and not (resume or one_pass or start_only)
    checkpoint = None
    if estimator.checkpoint is not None and not (one_pass or start_only):
        fit = partial(fit_digest, estimator, source, weight, resume)
        checkpoint = checkpoint_of(estimator.checkpoint, estimator.n_init, fit)
        random_state = checkpoint.random_state(random_state)
    n_before = estimator._n_steps if resume else 0
    weights_seed, *seeds = (int(s) + n_before for s in random_state.randint(2**31 - 1, size=4))
    if resume:
        start = resume_fit(estimator, source, weight)
    else:
        start = start_fit(estimator, source, weight, random_state, weights_seed)
    plan = make_plan(estimator, start, random_state, *seeds, one_pass=one_pass)
    plan = replace(plan, device=str(device), max_epochs=0 if start_only else plan.max_epochs)
    attributes = partial(fitted_attributes, estimator, start, resume=resume, one_pass=one_pass)
    bridge.begin(plan.max_epochs, start.rows, attributes)
    callbacks = [("bridge", bridge)]
    objective, optimizer = estimator._objective, start.optimizer
    dataset = estimator._training_data(start.rows, plan.held_out, random_state)
    job = Job(start.module, objective, dataset, plan, callbacks, checkpoint, optimizer)
    if several:
        new_start = partial(start_fit, estimator, source, weight, random_state)
        others = [new_start(weights_seed + i).module for i in range(1, estimator.n_init)]
        result, module = best_of(job, others)
    else:
        result, module = run(job), start.module
    if start.starts_at_pca and result.best is not None and result.history:
        warn_if_still_pca(estimator, *result.best)
    return attributes(result) | {"module_": module}, start.rows


def checkpoint_of(
    path: str | os.PathLike[str], n_init: int, digest: Callable[[], str]
) -> Checkpoint:
    """Return the checkpoint of a fit with one training."""
    if n_init > 1:
        raise ValueError(
            f"A checkpoint holds one training, but n_init={n_init}; set n_init=1, or "
            "checkpoint=None."
        )
    return Checkpoint(path, digest())


def best_of(
    job: Job, others: Sequence[AutoencoderModule]
) -> tuple[TrainingResult, AutoencoderModule]:
    """Train a job, and other modules in the same way; return the best result and its module.

    All have the same validation samples, but their own order of samples and noise.
    """
    jobs, plan = [job], job.plan
    for i, module in enumerate(others, 1):
        own = replace(plan, seed=plan.seed + i, order_seed=plan.order_seed + i)
        jobs.append(replace(job, module=module, plan=own, callbacks=()))
    outcomes = outcomes_together([partial(run, job) for job in jobs])
    results = [
        (result, job.module)
        for result, job in zip(outcomes, jobs, strict=True)
        if isinstance(result, TrainingResult)
    ]
    if not results:
        raise cast(BaseException, outcomes[0])
    return min(results, key=lambda one: one[0].loss)


def fitted_attributes(
    estimator: Hooks, start: Start, result: TrainingResult, *, resume: bool, one_pass: bool
) -> dict[str, Any]:
    """Return the fitted attributes of the epochs run so far, except the module."""
    former = vars(estimator) if resume else {}
    curve, held_out = former.get("loss_curve_", []), former.get("validation_loss_curve_")
    losses = [epoch["train_loss"] for epoch in result.history]
    terms = {
        name: [epoch.get(f"train_{name}", epoch["train_loss"]) for epoch in result.history]
        for name in result.term_names
    }
    unknown = [math.nan] * len(curve)
    former_terms = former.get("loss_terms_", {})
    best_epoch = len(curve) + len(losses)
    if result.best is not None:
        epoch = result.best[0]
        best_epoch = len(curve) + epoch if epoch else former.get("best_epoch_", 0)
    if result.best is not None or held_out is not None:
        own = [epoch.get("valid_loss", math.nan) for epoch in result.history]
        held_out = (held_out or unknown) + own
    return {
        **start.fitted,
        "n_iter_": former.get("n_iter_", 0) + max(1, len(losses)),
        "best_epoch_": best_epoch,
        "loss_curve_": curve + losses,
        "loss_terms_": {
            name: former_terms.get(name, unknown) + terms.get(name, [math.nan] * len(losses))
            for name in [*former_terms, *(n for n in terms if n not in former_terms)]
        },
        "validation_loss_curve_": held_out,
        "initial_validation_loss_": (
            former["initial_validation_loss_"] if resume else result.initial_loss
        ),
        "_one_pass": one_pass,
        "_mean_loss": former.get("_mean_loss", result.mean_loss),
        "_n_steps": former.get("_n_steps", 0) + result.n_steps,
        "_optimizer": result.optimizer,
    }


def start_fit(
    estimator: Hooks,
    source: DataSource,
    weight: NDArray,
    random_state: np.random.RandomState,
    seed: int,
) -> Start:
    """Build a module for samples, and start it at the principal components or at random."""
    generator = torch.Generator().manual_seed(seed)
    architecture, loss = estimator._architecture(), estimator._loss()
    starts_at_pca = estimator._starts_from_pca()
    moments = Moments.of(source, weight)
    names = getattr(estimator, "feature_names_in_", None)
    moments.check_magnitude(source.dtype, names)
    loss.check(moments.low, moments.high, names, estimator._loss_parameter)
    conditioning = moments.conditioning()
    dtype = estimator._training_dtype(source.dtype)
    rows = RowDataset.of(source, weight, conditioning, dtype, moments.complete)
    asked, auto = estimator.n_components, estimator._auto_n_components
    estimator.n_components_ = resolve_n_components(asked, rows, auto)
    spec = module_spec(estimator, source.shape[1])
    axes = principal_axes(rows, estimator.n_components_, random_state) if starts_at_pca else None
    with drawing_from(generator):
        module = build(estimator._network_builder(architecture), conditioning, **spec)
        module.convert(dtype, conditioning)
    zeroed: list[Any] = []
    if architecture is not None:
        networks = cast(nn.Module, module.encoder), cast(nn.Module, module.decoder)
        if stages := architecture.pretraining_stages(*networks, rows.n_features):
            whole = Start(module, rows, starts_at_pca=False, fitted={})
            seeds = (int(s) for s in random_state.randint(2**31 - 1, size=3))
            pretrain(stages, rows, make_plan(estimator, whole, random_state, *seeds))
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
    held_out = np.empty(0, np.int64) if one_pass else estimator._held_out(len(rows), random_state)
    n_kept = len(rows) - len(held_out)
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


def warn_if_still_pca(estimator: Hooks, best_epoch: int, loss: float) -> None:
    """Warn that training did not improve on its start, unless the loss was 0 already."""
    if best_epoch == 0 and abs(loss) > torch.finfo(torch.float32).eps:
        warn(
            f"No epoch of {type(estimator).__name__} had a validation loss lower than its start "
            f"by more than three standard errors, so the fit is {estimator._init_name}. More "
            "samples or another architecture may help."
        )


# ------------------------------------------------------------------------------ identity of a fit


def fit_digest(estimator: Hooks, source: DataSource, weight: NDArray, resume: bool) -> str:
    """Return a digest of a fit: of parameters, samples and the state that it resumes from."""
    parameters = estimator.get_params(deep=False)
    parameters = {k: v for k, v in parameters.items() if k not in NOT_OF_THE_FIT}
    if not isinstance(parameters["random_state"], Integral):
        del parameters["random_state"]  # what it drew is in the file
    # Callbacks may be anything, and change from run to run, as a progress bar does.
    further = (parameters["net_params"] or {}).items()
    parameters["net_params"] = {k: v for k, v in further if k.split("__")[0] != "callbacks"}
    digest = hashlib.sha256(
        json.dumps([fingerprint(type(estimator)), fingerprint(parameters)]).encode()
    )
    for chunk in source.gen_chunks():
        digest.update(source[chunk].tobytes())
    digest.update(weight.tobytes())
    if resume:
        fitted = [estimator.mean_, np.float64(estimator.scale_), np.int64(estimator._n_steps)]
        for value in (*fitted, *state_of(estimator.module_)["values"].values()):
            digest.update(value.tobytes())
    return digest.hexdigest()


def fingerprint(value: Any) -> Any:
    """Return what JSON can write and what is the same, in any process, for equal parameters."""
    if isinstance(value, Mapping):
        return {str(k): fingerprint(value[k]) for k in sorted(value, key=str)}
    if isinstance(value, (list, tuple)):
        return [fingerprint(v) for v in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return fingerprint(value.tolist())
    if isinstance(value, partial):
        return ["partial", *map(fingerprint, (value.func, value.args, value.keywords))]
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}:{value.__qualname__}"
    kind = f"{type(value).__module__}:{type(value).__qualname__}"
    if hasattr(value, "get_params"):
        return [kind, fingerprint(value.get_params(deep=False))]
    # The representation that every object has is the address it has in this process.
    return kind if type(value).__repr__ is object.__repr__ else f"{kind} {value!r}"

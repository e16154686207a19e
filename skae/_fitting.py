"""One fit, from a table to a trained module."""

from __future__ import annotations

import copy
import math
import warnings
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from skae._callbacks import CallbackBridge
from skae._validation import random_state_of
from skae.data import MAX_CHUNK_ROWS, MAX_CHUNK_SIZE, principal_axes
from skae.data._dataset import Batches, RowDataset
from skae.data._moments import Moments
from skae.data._n_components import resolve_n_components
from skae.data._source import DataSource
from skae.exceptions import AutoencoderWarning
from skae.hyperparameters import fingerprint
from skae.training import _budget as budget
from skae.training._checkpoint import Checkpoint, identity
from skae.training._device import check_precision, device_of
from skae.training._module import AutoencoderModule, build
from skae.training._optimizer import load_optimizer, state_of_optimizer, with_optimizer
from skae.training._pretraining import pretrain
from skae.training._random import drawing_from
from skae.training._trainer import HoldOut, Trainer, WeightedMean

if TYPE_CHECKING:
    from skae.base import BaseAutoencoder

ERRORS_TO_LEAVE_PCA = 3.0  # standard errors of the gain


@dataclass(frozen=True)
class Start:
    """What training starts from."""

    module: AutoencoderModule
    rows: RowDataset
    starts_at_pca: bool
    fitted: dict[str, Any]  # attributes that training does not change
    mean_loss: float = 0.0  # of the rows of the first fit, where this one goes on


def train(
    estimator: BaseAutoencoder,
    table: DataSource,
    weight: NDArray,
    *,
    monitor: CallbackBridge,
    resume: bool = False,
    one_pass: bool = False,
    start_only: bool = False,
) -> tuple[dict[str, Any], RowDataset]:
    """Train by an estimator's hooks and hyperparameters.

    Parameters
    ----------
    estimator : BaseAutoencoder
        Not changed, but by its own hooks, and by `n_components_` for them to read.
    table : DataSource of shape (n, d)
        Rows with something observed.
    weight : ndarray of shape (n,)
        In (0, 1).
    monitor : Monitor
        Tells scikit-learn's callbacks of each epoch.
    resume : bool, default=False
        Whether to go on from the estimator's fitted state.
    one_pass : bool, default=False
        Whether to take each row once, at the initial learning rate, and hold out none.
    start_only : bool, default=False
        Whether to run no epoch.

    Returns
    -------
    fitted : dict
        Fitted attributes.
    rows : RowDataset
        The table as training saw it.
    """
    estimator._check()
    device = device_of(estimator.device)
    check_precision(device, estimator._training_dtype(table.dtype), "training would be in")
    random_state = random_state_of(estimator.random_state)
    n_before = estimator._n_steps if resume else 0
    checkpoint = None
    if estimator.checkpoint is not None and not (one_pass or start_only):
        fit = identity(estimator, table, weight, resume)
        checkpoint = Checkpoint(estimator.checkpoint, fit)
        random_state = checkpoint.random_state(random_state)
    weights_seed, *seeds = (int(s) + n_before for s in random_state.randint(2**31 - 1, size=4))
    if resume:
        start = resume_fit(estimator, table, weight)
    else:
        start = start_fit(estimator, table, weight, random_state, weights_seed)
    module = start.module
    net = make_trainer(estimator, start, random_state, *seeds, one_pass=one_pass)
    if start_only:
        net.set_params(max_epochs=0)
    so_far = partial(fitted_attributes, estimator, start, resume=resume, one_pass=one_pass)
    monitor.begin(net.max_epochs, start.rows, so_far)
    net.set_params(checkpoint=checkpoint)
    module.objective = estimator._objective
    module.equal_weights = bool((start.rows.weight == start.rows.weight[0]).all())
    try:
        initialize(net, device)
        net.callbacks_.append(("monitor", monitor))  # where others are disabled, too
        if resume:
            load_optimizer(net, estimator._optimizer)
        net.train(start.rows)
    finally:
        module.objective = None
    module.cpu().eval()
    best = net.best_
    if start.starts_at_pca and best is not None and net.n_epochs_:
        warn_if_still_pca(estimator, best.epoch, best.loss)
    return so_far(net) | {"module_": module}, start.rows


def fitted_attributes(
    estimator: BaseAutoencoder, start: Start, net: Trainer, *, resume: bool, one_pass: bool
) -> dict[str, Any]:
    """Return the fitted attributes that belong to the epochs run so far, but for the module."""
    former = vars(estimator) if resume else {}
    curve = former.get("loss_curve_", [])
    held_out = former.get("validation_loss_curve_")
    best, best_epoch = net.best_, len(curve) + net.n_epochs_
    if best is not None:
        best_epoch = len(curve) + best.epoch if best.epoch else former.get("best_epoch_", 0)
    if best is not None or held_out is not None:
        nothing = [math.nan] * len(curve)
        held_out = (held_out or nothing) + [e.get("valid_loss", math.nan) for e in net.history]
    return {
        **start.fitted,
        "n_iter_": former.get("n_iter_", 0) + max(1, net.n_epochs_),
        "best_epoch_": best_epoch,
        "loss_curve_": curve + [epoch["train_loss"] for epoch in net.history],
        "validation_loss_curve_": held_out,
        "_one_pass": one_pass,
        "_mean_loss": former.get("_mean_loss", net.mean_loss),
        "_n_steps": former.get("_n_steps", 0) + net.n_steps_,
        "_optimizer": state_of_optimizer(net),
    }


def start_fit(
    estimator: BaseAutoencoder,
    table: DataSource,
    weight: NDArray,
    random_state: np.random.RandomState,
    seed: int,
) -> Start:
    """Build a module for a table, and start it at the principal components or at random."""
    generator = torch.Generator().manual_seed(seed)
    architecture = estimator._architecture()
    loss = estimator._loss()
    starts_at_pca = estimator._starts_from_pca()
    moments = Moments.of(table, weight)
    names = getattr(estimator, "feature_names_in_", None)
    moments.check_magnitude(table.dtype, names)
    loss.check(moments.low, moments.high, names, estimator._loss_parameter)
    conditioning = moments.conditioning()
    dtype = estimator._training_dtype(table.dtype)
    rows = RowDataset.of(table, weight, conditioning, dtype, moments.complete)
    asked, auto = estimator.n_components, estimator._auto_n_components
    estimator.n_components_ = resolve_n_components(asked, rows, auto)
    spec = spec_of(estimator, table.shape[1])
    axes = principal_axes(rows, estimator.n_components_, random_state) if starts_at_pca else None
    with drawing_from(generator):
        module = build(architecture, conditioning, **spec).convert(dtype, conditioning)
    if epochs := getattr(architecture, "pretraining_epochs", 0):

        def train_layer(shallow: AutoencoderModule, rows: RowDataset) -> None:
            start = Start(shallow, rows, starts_at_pca=False, fitted={})
            seeds = (int(s) for s in random_state.randint(2**31 - 1, size=3))
            net = make_trainer(estimator, start, random_state, *seeds, one_pass=False)
            net.set_params(max_epochs=epochs, train_split=None, callbacks=None)
            initialize(net, device_of(estimator.device))
            net.train(rows)

        pretrain(module, rows, train_layer)
    with drawing_from(generator):
        module.start(loss.bias(conditioning.shift), axes)
        estimator._before_fit(module, rows)
    fitted = {
        "architecture_": architecture,
        "n_components_": estimator.n_components_,
        "mean_": conditioning.shift.astype(table.dtype),
        "scale_": conditioning.scale,
        "_spec": spec,
        "_fit_params": estimator._own_parameters(),
    }
    return Start(module, rows, starts_at_pca, fitted)


def spec_of(estimator: BaseAutoencoder, n_features: int) -> dict[str, Any]:
    """Return what `build` needs to know beside the architecture."""
    return {
        "loss": estimator._loss().name,
        "widths": estimator._layer_sizes(n_features),
        "linear_shortcut": estimator._linear_shortcut(),
        "tied": estimator._tied(),
    }


def described_architecture(architecture: Any) -> dict[str, Any]:
    """Return what a recipe is and its parameters, by the names that errors give them."""
    parameters = {} if architecture is None else architecture.get_params()
    named = {f"architecture__{name}": value for name, value in parameters.items()}
    return {"architecture": type(architecture).__name__} | named


def resume_fit(
    estimator: BaseAutoencoder,
    table: DataSource,
    weight: NDArray,
) -> Start:
    """Go on with a copy of the fitted module, on rows conditioned as those it was fitted to."""
    asked, had = (
        {**spec["widths"], **spec, **described_architecture(architecture)}
        for spec, architecture in (
            (spec_of(estimator, table.shape[1]), estimator._architecture()),
            (estimator._spec, estimator.architecture_),
        )
    )
    for name in ("n_components", *estimator._frozen_params):
        asked[name], had[name] = getattr(estimator, name), estimator._fit_params[name]
    if asked["n_components"] == estimator.n_components_:  # what a share, say, resulted in
        had["n_components"] = asked["n_components"]
    for name in ("n_components", *had):
        if fingerprint(asked.get(name)) != fingerprint(had[name]):
            raise ValueError(
                f"{type(estimator).__name__} goes on from a fit with "
                f"{name}={had[name]!r}, but is asked for {asked.get(name)!r}; set it back, or "
                "start anew: clone the estimator, or fit with warm_start=False."
            )
    module = copy.deepcopy(estimator.module_).cpu()
    with torch.no_grad():
        estimator._before_resume(module)
    names = getattr(estimator, "feature_names_in_", None)
    module.loss.check(*table.ranges(), names, estimator._loss_parameter)
    dtype = module.output_bias.dtype
    rows = RowDataset.of(table, weight, estimator._conditioning, dtype, not table.has_missing())
    return Start(
        module, rows, False, {"_fit_params": estimator._own_parameters()}, estimator._mean_loss
    )


def make_trainer(
    estimator: BaseAutoencoder,
    start: Start,
    random_state: np.random.RandomState,
    seed: int,
    validation_seed: int,
    order_seed: int,
    *,
    one_pass: bool,
) -> Trainer:
    """Return the net that an estimator's training parameters describe."""
    rows = start.rows
    n_held_out = 0 if one_pass else n_validation_samples(estimator, len(rows))
    order = random_state.permutation(len(rows))
    held_out, kept = order[:n_held_out], order[n_held_out:]
    batch_size = min(resolve_auto(estimator.batch_size, budget.batch_size(len(kept))), len(kept))
    epochs = estimator._n_epochs(rows, -(-len(kept) // batch_size), start.starts_at_pca)
    epochs = min(epochs, 1) if one_pass else epochs
    own: dict[str, Any] = {
        "criterion": WeightedMean,
        "criterion__mean_weight": float(rows.weight[torch.from_numpy(kept)].mean()),
        "optimizer": "AdamW",
        "lr": estimator.learning_rate,
        "max_epochs": epochs,
        "batch_size": batch_size,
        "iterator_train": Batches,
        "iterator_train__generator": torch.Generator().manual_seed(order_seed),
        "iterator_valid": Batches,
        "iterator_valid__batch_size": min(
            MAX_CHUNK_ROWS, max(1, MAX_CHUNK_SIZE // rows.n_features)
        ),
        "train_split": HoldOut(held_out) if n_held_out else None,
        "verbose": estimator.verbose,
        "schedule": "constant" if one_pass else estimator.schedule,
        "precision": estimator.precision,
        "seed": seed,
        "validation_seed": validation_seed,
        # Rows that a fit goes on with may all be at the mean.
        "mean_loss": max(mean_loss_of(start.module, rows), start.mean_loss),
        "warm_up": estimator._warm_up(),
        "endless": one_pass,
        "patience": resolve_auto(estimator.n_iter_no_change, budget.patience(epochs)),
        "tol": estimator.tol,
        "n_errors": ERRORS_TO_LEAVE_PCA if start.starts_at_pca else 0.0,
    }
    return Trainer(
        start.module, **with_optimizer(own | dict(estimator.net_params or {}), estimator)
    )


def initialize(net: Trainer, device: torch.device) -> None:
    """Initialise a net on a device; torch's first optimiser adds a warnings filter."""
    with warnings.catch_warnings():
        net.set_params(device=device).initialize()


def n_validation_samples(estimator: BaseAutoencoder, n_rows: int) -> int:
    """Return how many rows early stopping takes, 0 without."""
    if estimator.early_stopping == "auto":
        if n_rows < budget.ENOUGH_ROWS:
            return 0
    elif not estimator.early_stopping:
        return 0
    elif n_rows < 4:
        raise ValueError(
            f"early_stopping=True needs at least 4 rows, to hold out 2; got {n_rows}. "
            "Set early_stopping='auto' or False."
        )
    return budget.n_held_out(n_rows, estimator.validation_fraction)


def resolve_auto(value: Any, auto: int) -> int:
    """Return a parameter's value, or what 'auto' stands for."""
    return auto if value == "auto" else int(value)  # torch refuses numpy's integers


@torch.no_grad()
def mean_loss_of(module: AutoencoderModule, rows: RowDataset) -> float:
    """Return the loss of rows reconstructed by the output's bias alone, at first their mean."""
    total = 0.0
    for chunk in rows.gen_chunks():
        batch = rows.batch(chunk, progress=torch.zeros(()))
        output = module.output_bias.cpu().expand_as(batch.x)
        total += float(module.reconstruction_loss(output, batch) @ batch.weight)
    return total / float(rows.weight.sum())


def warn_if_still_pca(estimator: BaseAutoencoder, best_epoch: int, loss: float) -> None:
    """Warn that training brought nothing, unless there was nothing left to bring."""
    if best_epoch == 0 and abs(loss) > torch.finfo(torch.float32).eps:
        warnings.warn(
            f"No epoch of {type(estimator).__name__} did better on the held-out rows than its "
            f"start by more than three standard errors, so the fit is {estimator._init_name}. More "
            "rows or another architecture may help.",
            AutoencoderWarning,
            stacklevel=6,
        )

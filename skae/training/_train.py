"""One fit, from a table to a trained module."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from skae._validation import PIECE
from skae.exceptions import AutoencoderWarning
from skae.training import _budget as budget
from skae.training._module import AutoencoderModule, build
from skae.training._moments import Moments, principal_axes
from skae.training._net import HoldOut, Net, WeightedMean
from skae.training._rng import seeded
from skae.training._rows import Batches, Conditioning, Rows

if TYPE_CHECKING:
    from skae.base import BaseAutoencoder

ERRORS_TO_LEAVE_PCA = 3.0  # standard errors of the gain


def train(estimator: BaseAutoencoder, X: NDArray, weight: NDArray) -> tuple[dict[str, Any], Rows]:
    """Train by an estimator's hooks and hyperparameters.

    Parameters
    ----------
    estimator : BaseAutoencoder
        Not changed, but by its own hooks.
    X : ndarray of shape (n, d)
        Rows with something observed.
    weight : ndarray of shape (n,)
        In (0, 1).

    Returns
    -------
    fitted : dict
        Fitted attributes.
    rows : Rows
        X as training saw it.
    """
    architecture = estimator._architecture()
    loss = estimator._loss()
    from_pca = estimator._starts_from_pca()
    moments = Moments.of(X, weight)
    names = getattr(estimator, "feature_names_in_", None)
    moments.check_magnitude(X.dtype, names)
    loss.check(moments.low, moments.high, names)
    conditioning = moments.conditioning()
    rows = Rows.of(X, weight, conditioning, torch.get_default_dtype())
    # None must not draw from numpy's global generator.
    random_state = check_random_state(
        np.random.RandomState() if estimator.random_state is None else estimator.random_state
    )
    seed = int(random_state.randint(2**31 - 1))
    axes = principal_axes(rows, estimator.n_components, random_state) if from_pca else None
    spec: dict[str, Any] = {
        "loss": loss.name,
        "n_code": estimator._n_code(),
        "n_components": estimator.n_components,
        "linear_shortcut": estimator._linear_shortcut(),
    }
    with seeded(seed):
        module = build(architecture, conditioning, **spec)
        module.start(loss.bias(conditioning.shift), axes)
        estimator._setup(module, rows)
        net = make_net(estimator, module, rows, random_state, from_pca)
        module.objective = estimator._objective
        try:
            # Torch's first optimiser imports sympy, which adds a warnings filter.
            with warnings.catch_warnings():
                net.initialize()
            net.train(rows)
        finally:
            module.objective = None
    module.eval()
    best, curves = net.best_, list(net.history)
    if from_pca and best is not None and net.n_epochs_:
        warn_if_still_pca(estimator, best.epoch, best.loss)
    return {
        "module_": module,
        "architecture_": architecture,
        "n_components_": estimator.n_components,
        "mean_": conditioning.shift,
        "scale_": conditioning.scale,
        "n_iter_": max(1, net.n_epochs_),
        "best_epoch_": net.n_epochs_ if best is None else best.epoch,
        "loss_curve_": [epoch["train_loss"] for epoch in curves],
        "validation_loss_curve_": (
            None if best is None else [epoch["valid_loss"] for epoch in curves]
        ),
        "_spec": spec,
    }, rows


def make_net(
    estimator: BaseAutoencoder,
    module: AutoencoderModule,
    rows: Rows,
    random_state: np.random.RandomState,
    from_pca: bool,
) -> Net:
    """Return the net that an estimator's training parameters describe."""
    noise_seed, order_seed = (int(s) for s in random_state.randint(2**31 - 1, size=2))
    n_held_out = how_many_to_hold_out(estimator, len(rows))
    order = random_state.permutation(len(rows))
    held_out, kept = order[:n_held_out], order[n_held_out:]
    batch_size = min(or_auto(estimator.batch_size, budget.batch_size(len(kept))), len(kept))
    epochs = estimator._n_epochs(rows, -(-len(kept) // batch_size))
    own: dict[str, Any] = {
        "criterion": WeightedMean,
        "criterion__mean_weight": float(rows.weight[torch.from_numpy(kept)].mean()),
        "optimizer": partial(torch.optim.Adam, fused=True),
        "lr": estimator.learning_rate,
        "max_epochs": epochs,
        "batch_size": batch_size,
        "iterator_train": Batches,
        "iterator_train__generator": torch.Generator().manual_seed(order_seed),
        "iterator_valid": Batches,
        "iterator_valid__batch_size": PIECE,
        "train_split": HoldOut(held_out) if n_held_out else None,
        "verbose": estimator.verbose,
        "schedule": estimator.schedule,
        "noise_seed": noise_seed,
        "mean_loss": loss_of_the_mean(module, rows),
        "patience": or_auto(estimator.n_iter_no_change, budget.patience(epochs)),
        "tol": estimator.tol,
        "n_errors": ERRORS_TO_LEAVE_PCA if from_pca else 0.0,
    }
    return Net(module, **(own | dict(estimator.net_params or {})))


def how_many_to_hold_out(estimator: BaseAutoencoder, n_rows: int) -> int:
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


def or_auto(value: Any, auto: int) -> int:
    """Return a parameter's value, or what 'auto' stands for."""
    return auto if value == "auto" else value


@torch.no_grad()
def loss_of_the_mean(module: AutoencoderModule, rows: Rows) -> float:
    """Return the loss of rows reconstructed by their mean."""
    losses = [
        module.reconstruction_loss(module.output_bias.expand_as(batch.x), batch)
        for batch in Batches(rows, PIECE)
    ]
    return float(torch.cat(losses) @ rows.weight / rows.weight.sum())


def warn_if_still_pca(estimator: BaseAutoencoder, best_epoch: int, loss: float) -> None:
    """Warn that training brought nothing, unless there was nothing left to bring."""
    if best_epoch == 0 and loss > torch.finfo(torch.float32).eps:
        warnings.warn(
            f"No epoch of {type(estimator).__name__} reconstructed the held-out rows better than "
            "PCA by more than three standard errors, so the fit is PCA. More rows or another "
            "architecture may help.",
            AutoencoderWarning,
            stacklevel=5,
        )


def restore(
    architecture: Any, conditioning: Conditioning, spec: dict[str, Any], weights: dict[str, Any]
) -> AutoencoderModule:
    """Return the module that was trained, from what `state_of` kept of it."""
    with seeded(0):
        module = build(architecture, conditioning, **spec)
    # torch.tensor copies: the arrays may be a read-only memmap.
    values = {name: torch.tensor(array) for name, array in weights["values"].items()}
    for name in values.keys() - module.state_dict().keys():
        if name in weights["trainable"]:
            module.register_parameter(name, torch.nn.Parameter(values[name]))
        else:
            module.register_buffer(name, values[name])
    module.load_state_dict(values, assign=True)
    return module.eval()


def state_of(module: AutoencoderModule) -> dict[str, Any]:
    """Return a module's weights as arrays, and which of them are trained."""
    return {
        "values": {name: t.cpu().numpy() for name, t in module.state_dict().items()},
        "trainable": [name for name, _ in module.named_parameters()],
    }

"""Learning to complete standardised rows: which models are fitted, to which of the rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from skae._sklearn_types import clone
from skae._validation import random_state_of
from skae.data import subsample_evenly
from skae.impute._budget import ImputationBudget
from skae.impute._completion import (
    Completion,
    GaussianCompletion,
    NearestRowsCompletion,
    NetworkCompletion,
    SelfMaskedCompletion,
    completion_by,
)
from skae.impute._conditional_gaussian import fit_shrunk
from skae.impute._masked_examples import MAX_COPIES, MAX_EXAMPLE_CELLS, MaskedExamples, copies
from skae.impute._nearest_rows import NearestRows, n_stored_rows
from skae.impute._network import MAX_BINS, MAX_INPUTS, ImputationNetwork, NetworkStart
from skae.impute._residuals import ResidualQuantiles, masked_tensors
from skae.impute._self_masking import self_masking_slopes
from skae.tables import ColumnGroups
from skae.training import budget as training_budget

MAX_GAUSSIAN_CELLS = 2**18  # that the Gaussian is fitted to
MIN_GAUSSIAN_ROWS, MAX_GAUSSIAN_ROWS = 1000, 20_000
MAX_RIDGE_VALIDATION_ROWS = 500
VALIDATION_FRACTION = 0.1
MAX_CALIBRATION_ROWS, MAX_ERROR_ROWS = 500, 4096  # validation rows
MIN_EPOCHS = 8  # of which the best is chosen, each with the same masked examples
N_VALIDATION_COPIES, MAX_VALIDATION_CELLS = 8, 2**15  # of the network's examples


class TrainingRows(NamedTuple):
    """Standardised rows with something observed, and what is known of their columns."""

    Z: NDArray  # (n, d), NaN marks a missing value
    weight: NDArray  # (n,)
    groups: ColumnGroups
    varies: NDArray  # (d,), mask of the columns that are not constant

    def is_enough(self, budget: ImputationBudget) -> bool:
        """Whether an autoencoder can be fitted."""
        n_varying = len(np.unique(self.groups.group_start[self.varies]))
        return n_varying >= 2 and len(self.Z) >= budget.min_network_rows

    def n_steps(self, estimator: Any, budget: ImputationBudget) -> int:
        """Return the number of steps that `learn` announces."""
        if not self.Z.size:
            return 0
        if not self.is_enough(budget):
            return 2
        return 4 if estimator is None else 3


def learn(
    imputer: Any, rows: TrainingRows, step: Callable[..., Any], budget: ImputationBudget
) -> tuple[Completion, ResidualQuantiles]:
    """Fit a completion and the quantiles of its residuals.

    Parameters
    ----------
    imputer : AutoencoderImputer
        Its parameters ``estimator``, ``max_iter`` and ``random_state`` are used.
    rows : TrainingRows
        The training data.
    step : callable
        Context manager that announces a step of the fit, see `Composite._step`.
    budget : ImputationBudget
        Limits on the computation.
    """
    d = rows.Z.shape[1]
    if not rows.Z.size:
        nothing = GaussianCompletion(np.zeros(d), np.eye(d), rows.groups.group_start)
        return nothing, ResidualQuantiles.zero(d)
    rng, Z, weight = random_state_of(imputer.random_state), rows.Z, rows.weight
    train = validation = np.arange(len(Z))
    enough = rows.is_enough(budget)
    if enough:
        order = rng.permutation(len(Z))
        n_held_out = training_budget.n_held_out(len(Z), VALIDATION_FRACTION)
        validation, train = np.sort(order[:n_held_out]), np.sort(order[n_held_out:])
    seed = rng.randint(np.iinfo(np.int32).max)
    with step("Gaussian", n_tasks=None) as tick:
        gaussian = fit_gaussian_completion(rows, train, validation, rng, budget, tick)
    completion: Completion = gaussian
    if enough and imputer.estimator is None:
        by_network = fit_network(
            imputer, rows, gaussian, train, validation, rng, seed, step, budget
        )
        with step("nearest rows", n_tasks=None) as tick:
            completion = corrected(by_network, rows, train, validation, rng, budget, tick)
    elif enough:
        model = clone(imputer.estimator)
        if imputer.random_state is not None:
            model.set_params(random_state=seed)
        with step("autoencoder", model):
            model._fit_or_start(Z[train], sample_weight=weight[train])
        completion = completion_by(model, gaussian)
    with step("errors"):
        residuals = ResidualQuantiles.fit(
            completion.complete,
            gaussian.gaussian,
            Z[subsample_evenly(validation, MAX_ERROR_ROWS)],
            rows.groups,
            rng,
            budget.max_repeats,
        )
    completion.store_rows(Z, weight)
    if imputer.mechanism == "auto":
        completion = self_masked(completion, gaussian, residuals, Z, rng)
    return completion, residuals


def self_masked(
    completion: Completion,
    gaussian: GaussianCompletion,
    residuals: ResidualQuantiles,
    Z: NDArray,
    rng: np.random.RandomState,
) -> Completion:
    """Return the completion, corrected where values are missing because of their size."""
    slopes = self_masking_slopes(gaussian.complete, Z, gaussian.groups, rng)
    # The Gaussian's prediction bounds the variance, even if that of the completion is worse.
    relative = np.minimum(np.square(residuals.quantiles).mean(axis=1), 1.0)
    return SelfMaskedCompletion(completion, slopes, relative) if slopes.any() else completion


def fit_network(
    imputer: Any,
    rows: TrainingRows,
    gaussian: GaussianCompletion,
    train: NDArray,
    validation: NDArray,
    rng: np.random.RandomState,
    seed: int,
    step: Callable[..., Any],
    budget: ImputationBudget,
) -> NetworkCompletion:
    """Fit the imputation network, which starts at the Gaussian."""
    conditional = gaussian.gaussian

    def masked(index: NDArray, n_copies: int) -> MaskedExamples:
        def fill(Z: NDArray) -> NDArray:
            return conditional.fill(*masked_tensors(Z)).numpy()

        return MaskedExamples.of(
            rows.Z[index], rows.weight[index], rows.groups, fill, n_copies, rng
        )

    d = rows.Z.shape[1]
    train = subsample_evenly(train, max(1, MAX_EXAMPLE_CELLS // d))
    n_passes = budget.n_passes(len(train), imputer.max_iter)
    at_most = int(np.clip(n_passes // MIN_EPOCHS, 1, MAX_COPIES))
    n_copies = copies(len(train), d, at_most)
    held_out = subsample_evenly(validation, max(1, MAX_VALIDATION_CELLS // d))
    validating = masked(held_out, N_VALIDATION_COPIES)
    network = ImputationNetwork(
        n_bins=int(np.clip(MAX_INPUTS // d - 2, 1, MAX_BINS)),
        max_iter=max(1, round(n_passes / n_copies)),
        random_state=seed,
    )
    start = NetworkStart(rows.Z, rows.groups, gaussian.mean, len(validating.weight))
    with step("network", network):
        network.fit_examples(masked(train, n_copies).followed_by(validating), start)
    return NetworkCompletion(gaussian.mean, gaussian.covariance, gaussian.group_start, network)


def fit_gaussian_completion(
    rows: TrainingRows,
    train: NDArray,
    validation: NDArray,
    rng: np.random.RandomState,
    budget: ImputationBudget,
    tick: Callable[[str], None],
) -> GaussianCompletion:
    """Fit the Gaussian, with the ridge that is best for the validation rows.

    If there are too few rows to hold any out, the ridge is chosen by cross-validation.
    """
    Z, weight = rows.Z, rows.weight
    n_rows = int(np.clip(MAX_GAUSSIAN_CELLS // Z.shape[1], MIN_GAUSSIAN_ROWS, MAX_GAUSSIAN_ROWS))
    train = subsample_evenly(train, n_rows)
    folds = [(train, subsample_evenly(validation, MAX_RIDGE_VALIDATION_ROWS))]
    if len(validation) == len(Z):
        fold = rng.permutation(len(Z)) % budget.n_folds
        folds = [(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in np.unique(fold)]
    generator = torch.Generator().manual_seed(rng.randint(np.iinfo(np.int32).max))
    gaussian = fit_shrunk(
        *masked_tensors(Z),
        torch.from_numpy(weight),
        [(torch.from_numpy(a), torch.from_numpy(b)) for a, b in folds if len(a) and len(b)],
        generator,
        ridges=budget.ridges,
        max_iter=budget.max_em_iter,
        tick=tick,
    )
    return GaussianCompletion(
        gaussian.mean.numpy(), gaussian.covariance.numpy(), rows.groups.group_start
    )


def corrected(
    completion: NetworkCompletion,
    rows: TrainingRows,
    train: NDArray,
    validation: NDArray,
    rng: np.random.RandomState,
    budget: ImputationBudget,
    tick: Callable[[str], None],
) -> NearestRowsCompletion:
    """Fit the correction of a completion by the nearest rows."""
    stored = subsample_evenly(train, n_stored_rows(rows.Z.shape[1]))
    Z = rows.Z[stored]
    neighbors = NearestRows().fit(
        completion.complete(Z),
        ~np.isnan(Z),
        rows.weight[stored],
        completion.variance(Z),
        rows.groups,
        rng,
        n_steps=budget.n_metric_steps,
        tick=tick,
    )
    others = rows.Z[subsample_evenly(validation, MAX_CALIBRATION_ROWS)]
    neighbors.calibrate(completion.complete, completion.variance, others, rng)
    return NearestRowsCompletion(completion, neighbors)

"""What the units of a sparse code do on the training samples."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from skae.autoencoders._sparse_codes import linear_decoder
from skae.data import RowDataset, gen_chunks
from skae.training import AutoencoderModule

MAX_SAMPLES = 2**15  # whose reconstructions are compared with them
DENSE = 0.5  # a unit that is active more often is called dense
ROUNDING_OF_SUMS = 1e-6  # of weights, relative to the sum
ROUNDING = 1e-12  # of a variance, relative to the mean square

STATISTICS = """
activation_frequency_ : ndarray of shape (n_components,)
    Weighted fraction of the training samples of the last call for which each unit is active.
mean_n_active_ : float
    Mean number of active units of these samples, also called L0.
n_dead_ : int
    Number of units that are active for none of them.
n_dense_ : int
    Number of units that are active for more than half of them, by weight.
unexplained_variance_ratio_ : float
    Fraction of the variance of the training samples of the last call that their reconstructions
    leave unexplained: the squared errors divided by the squared deviations from the mean, both
    summed over the observed cells; of 32,768 evenly spaced samples if there are more. NaN if they
    do not vary.
coherence_ : float or None
    Largest absolute cosine between two columns of the decoder, the mutual coherence of a
    dictionary; 0 for a single unit. None if the decoder has hidden layers.
""".strip()


def code_statistics(estimator: Any, module: AutoencoderModule, rows: RowDataset) -> dict[str, Any]:
    """Return the fitted attributes above."""
    weight = rows.weight.double() / rows.total_weight
    frequency = torch.zeros(estimator.n_components_, dtype=torch.float64, device=weight.device)
    for chunk in gen_chunks(len(rows), max(rows.n_features, estimator.n_components_)):
        active = estimator._active(estimator._encode(module, rows[chunk]))
        frequency += weight[chunk] @ active.double()
    frequency = rows.sum(frequency)
    linear = linear_decoder(module)
    return {
        "activation_frequency_": frequency.cpu().numpy(),
        "mean_n_active_": float(frequency.sum()),
        "n_dead_": int((frequency == 0).sum()),
        "n_dense_": int((frequency > DENSE * (1 + ROUNDING_OF_SUMS)).sum()),
        "unexplained_variance_ratio_": unexplained_variance_ratio(estimator, module, rows),
        "coherence_": None if linear is None else coherence(linear[0]),
    }


def unexplained_variance_ratio(
    estimator: Any, module: AutoencoderModule, rows: RowDataset
) -> float:
    """Return the squared errors of reconstructions over the squared deviations from the mean."""
    some = rows.subsample(MAX_SAMPLES)
    total, first, second, error = torch.zeros(4, rows.n_features, dtype=torch.float64)
    # Several arrays of the size of a chunk are in double precision.
    for chunk in gen_chunks(len(some), 4 * max(rows.n_features, estimator.n_components_)):
        batch = some[chunk]
        x_hat = estimator._reconstruct(module, batch)
        if not module.loss.power:
            x_hat = (x_hat - module.shift) / module.scale
        observed = torch.ones_like(batch.x) if batch.observed is None else batch.observed
        weight, x = (observed * batch.weight[:, None]).double(), batch.x.double()
        total += weight.sum(0).cpu()
        first += (weight * x).sum(0).cpu()
        second += (weight * x.square()).sum(0).cpu()
        error += (weight * (x_hat - x).square()).sum(0).cpu()
    squares = second - first.square() / total.clamp_min(torch.finfo(total.dtype).tiny)
    squares = float(squares[squares > ROUNDING * second].sum())
    return float(error.sum()) / squares if squares > 0 else math.nan


def coherence(weight: Tensor) -> float:
    """Return the largest absolute cosine between two columns, without forming all cosines."""
    columns = weight / weight.norm(dim=0).clamp_min(torch.finfo(weight.dtype).tiny)
    n_columns, largest = columns.shape[1], 0.0
    for chunk in gen_chunks(n_columns, n_columns):
        # Cosines with the column itself and with those before it are zero.
        cosines = (columns[:, chunk].T @ columns[:, chunk.start :]).triu(1)
        largest = max(largest, float(cosines.abs().max()))
    return min(largest, 1.0)

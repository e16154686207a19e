"""What the units of a sparse code do on the training samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skae.autoencoders._sparse_codes import linear_decoder
from skae.data import RowDataset, gen_chunks, gen_slices, subsample_evenly
from skae.training import AutoencoderModule

MAX_SAMPLES = 2**15  # whose reconstructions are compared with them
MAX_ROWS = 2**10  # of them, and of units, at a time
DENSE = 0.5  # smallest frequency of a unit that is called dense

STATISTICS = """
activation_frequency_ : ndarray of shape (n_components,)
    Weighted fraction of the training samples of the last call for which each unit is active.
mean_n_active_ : float
    Mean number of active units of these samples, also called L0.
n_dead_ : int
    Number of units that are active for none of them.
n_dense_ : int
    Number of units that are active for more than half of them.
unexplained_variance_ratio_ : float
    Fraction of the variance of the training samples of the last call that their reconstructions
    leave unexplained: the squared errors divided by the squared deviations from the mean, both
    summed over the observed cells; of 32,768 evenly spaced samples if there are more. NaN if they
    do not vary.
coherence_ : float or None
    Largest absolute cosine of the angle between two columns of the decoder, the mutual coherence
    of a dictionary; 0 for a single unit. None if the decoder has hidden layers.
""".strip()


def code_statistics(estimator: Any, module: AutoencoderModule, rows: RowDataset) -> dict[str, Any]:
    """Return the fitted attributes above."""
    weight = (rows.weight / rows.weight.sum()).double()
    frequency = torch.zeros(estimator.n_components_, dtype=torch.float64, device=weight.device)
    for chunk in gen_chunks(len(rows), max(rows.n_features, estimator.n_components_)):
        active = estimator._active(estimator._encode(module, rows[chunk]))
        frequency += weight[chunk] @ active.double()
    linear = linear_decoder(module)
    return {
        "activation_frequency_": frequency.cpu().numpy(),
        "mean_n_active_": float(frequency.sum()),
        "n_dead_": int((frequency == 0).sum()),
        "n_dense_": int((frequency > DENSE).sum()),
        "unexplained_variance_ratio_": unexplained_variance_ratio(estimator, module, rows),
        "coherence_": None if linear is None else coherence(linear[0]),
    }


def unexplained_variance_ratio(
    estimator: Any, module: AutoencoderModule, rows: RowDataset
) -> float:
    """Return the squared errors of reconstructions over the squared deviations from the mean."""
    index = torch.from_numpy(subsample_evenly(np.arange(len(rows)), MAX_SAMPLES))
    moments = torch.zeros(4, rows.n_features, dtype=torch.float64)
    for chunk in gen_slices(len(index), MAX_ROWS):
        batch = rows[index[chunk]]
        x_hat = estimator._reconstruct(module, batch)
        if not module.loss.power:
            x_hat = (x_hat - module.shift) / module.scale
        observed = torch.ones_like(batch.x) if batch.observed is None else batch.observed
        weight, x = (observed * batch.weight[:, None]).double(), batch.x.double()
        powers = torch.stack([torch.ones_like(x), x, x.square(), (x_hat - x).square()])
        moments += (weight * powers).sum(1).cpu()
    total, first, second, error = moments
    squares = float((second - first.square() / total.clamp_min(1e-300)).sum())
    return float(error.sum()) / squares if squares > 0 else math.nan


def coherence(weight: Tensor) -> float:
    """Return the largest absolute cosine between two columns, without forming all cosines."""
    columns = weight / weight.norm(dim=0).clamp_min(torch.finfo(weight.dtype).tiny)
    largest = 0.0
    for chunk in gen_slices(columns.shape[1], MAX_ROWS):
        # Cosines with the column itself and with those before it are zero.
        cosines = (columns[:, chunk].T @ columns[:, chunk.start :]).triu(1)
        largest = max(largest, float(cosines.abs().max()))
    return min(largest, 1.0)

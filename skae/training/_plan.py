"""The plan of a training run: all that it needs besides the module, objective and data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


def _no_rows() -> NDArray:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class TrainingPlan:
    """Hyperparameters of one run, as numbers and names; it can be pickled.

    Attributes
    ----------
    max_epochs : int
        Upper bound on the number of epochs.
    batch_size : int
    learning_rate : float
    schedule : str
        Name of a learning-rate schedule, see `SCHEDULES`.
    weight_decay : float
        Decoupled weight decay coefficient (AdamW).
    held_out : ndarray of int
        Indices of the validation samples; empty without early stopping.
    patience, start_patience, tol, n_errors : int, int or None, float, float
        See `BestEpoch`; ignored without validation samples.
    warm_up : float
        Fraction of the training before which no epoch is a candidate for the best one.
    one_pass : bool
        Whether the dataset is a chunk of a stream: hooks see the progress of a finished training.
    mean_loss : float
        Loss of the reconstruction by the mean, to which a diverging loss is compared.
    seed, validation_seed, order_seed : int
        Seeds of the objective in training, of the objective on validation samples, and of the
        order of the batches.
    precision : {'full', 'bf16'}
    device : str
        A device of torch.
    verbose : int
    net_params : mapping
        Further arguments of ``skorch.NeuralNet``, which take precedence.
    """

    max_epochs: int
    batch_size: int
    learning_rate: float
    schedule: str = "constant"
    weight_decay: float = 0.0
    held_out: NDArray = field(default_factory=_no_rows)
    patience: int = 10
    start_patience: int | None = None
    tol: float = 0.0
    n_errors: float = 0.0
    warm_up: float = 0.0
    one_pass: bool = False
    mean_loss: float = 1.0
    seed: int = 0
    validation_seed: int = 0
    order_seed: int = 0
    precision: str = "full"
    device: str = "cpu"
    verbose: int = 0
    net_params: Mapping[str, Any] = field(default_factory=dict)

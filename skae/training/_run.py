"""One run of training, given a module, its objective, a dataset and a plan."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import Tensor

from skae._lock import ForkSafeLock
from skae.data import (
    ALONE,
    MAX_CHUNK_ROWS,
    MAX_CHUNK_SIZE,
    Batch,
    Batches,
    Group,
    RowDataset,
)
from skae.training._checkpoint import Checkpoint
from skae.training._division import callbacks_of
from skae.training._losses import WeightedMean
from skae.training._module import AutoencoderModule
from skae.training._optimizer import load_optimizer, with_optimizer
from skae.training._plan import TrainingPlan
from skae.training._result import TrainingResult
from skae.training._trainer import HoldOut, Trainer

FILTERS = ForkSafeLock()
Objective = Callable[[AutoencoderModule, Batch], dict[str, Tensor]]


@dataclass(frozen=True)
class Job:
    """The arguments of a run.

    Attributes
    ----------
    module : AutoencoderModule
        Trained in place; afterwards it is on the CPU, in evaluation mode.
    objective : callable
        Function of module and batch that returns the terms of the loss by name, each of shape (n,).
    dataset : RowDataset
    plan : TrainingPlan
    callbacks : sequence of (str, skorch.callbacks.Callback)
        Notified in addition to those of ``plan.net_params``, also if these are disabled.
    checkpoint : Checkpoint, default=None
        File to save the state to, and to resume from.
    optimizer : dict, default=None
        State of a former run's optimiser.
    group : Group
        The processes that the run is divided among.
    """

    module: AutoencoderModule
    objective: Objective
    dataset: RowDataset
    plan: TrainingPlan
    callbacks: Sequence[tuple[str, Callback]] = ()
    checkpoint: Checkpoint | None = None
    optimizer: dict[str, Any] | None = None
    group: Group = ALONE

    def run(self) -> TrainingResult:
        """Train the module."""
        trainer = make_trainer(self.module, self.dataset, self.plan, self.checkpoint, self.group)
        self.module.objective = self.objective
        try:
            # torch's first optimiser adds a warnings filter, which all threads have in common.
            with FILTERS.held(), warnings.catch_warnings():
                trainer.initialize()
            trainer.callbacks_.extend(callbacks_of(list(self.callbacks), self.group))
            if self.optimizer is not None:
                load_optimizer(trainer, self.optimizer)
            trainer.train(self.dataset)
        finally:
            self.module.objective = None
        self.module.cpu().eval()
        return trainer.result()


# What runs a job, in this thread; by default, the job itself.
RUNNER: ContextVar[Callable[[Job], TrainingResult]] = ContextVar("RUNNER", default=Job.run)


def run(job: Job) -> TrainingResult:
    """Run a job, or leave it to what gathers the jobs of this thread."""
    return RUNNER.get()(job)


def validation_batch_size(n_features: int) -> int:
    """Return the number of validation samples that are evaluated at once."""
    return min(MAX_CHUNK_ROWS, max(1, MAX_CHUNK_SIZE // n_features))


def make_trainer(
    module: AutoencoderModule,
    dataset: RowDataset,
    plan: TrainingPlan,
    checkpoint: Checkpoint | None = None,
    group: Group = ALONE,
) -> Trainer:
    """Return the net that a plan describes."""
    kept = np.setdiff1d(np.arange(dataset.n_samples), plan.held_out)
    own: dict[str, Any] = {
        "criterion": WeightedMean,
        "criterion__mean_weight": dataset.mean_weight(kept),
        "optimizer": "AdamW",
        "lr": plan.learning_rate,
        "max_epochs": plan.max_epochs,
        "batch_size": plan.batch_size,
        "iterator_train": Batches,
        "iterator_train__generator": torch.Generator().manual_seed(plan.order_seed),
        "iterator_valid": Batches,
        "iterator_valid__batch_size": validation_batch_size(dataset.n_features),
        "train_split": HoldOut(plan.held_out, kept) if len(plan.held_out) else None,
        "verbose": plan.verbose if group.rank == 0 else 0,
        "schedule": plan.schedule,
        "precision": plan.precision,
        "seed": plan.seed,
        "validation_seed": plan.validation_seed,
        "mean_loss": plan.mean_loss,
        "warm_up": plan.warm_up,
        "one_pass": plan.one_pass,
        "patience": plan.patience,
        "start_patience": plan.start_patience,
        "tol": plan.tol,
        "n_errors": plan.n_errors,
        "checkpoint": checkpoint,
        "group": group,
    }
    params = with_optimizer(own | dict(plan.net_params), plan.weight_decay)
    return Trainer(module, **params | {"device": plan.device})


@torch.no_grad()
def mean_loss_of(module: AutoencoderModule, dataset: RowDataset) -> float:
    """Return the loss of samples reconstructed by the output bias, initially their mean."""
    total = 0.0
    for chunk in dataset.gen_chunks():
        batch = dataset[chunk]
        output = module.output_bias.cpu().expand_as(batch.x)
        total += float(module.reconstruction_loss(output, batch) @ batch.weight)
    sums = torch.tensor([total, dataset.weight.sum()], dtype=torch.float64)
    total, weight = dataset.sum(sums).tolist()
    return total / weight

"""Training of a module, given its objective, a dataset and a plan, by skorch."""

from skae.training import _budget as budget
from skae.training._best_epoch import BestEpoch
from skae.training._checkpoint import Checkpoint
from skae.training._device import check_precision, device_of
from skae.training._flat_adam import update as update_adamw
from skae.training._losses import WeightedMean, total_of
from skae.training._module import AutoencoderModule, LayerSizes, build
from skae.training._module_state import moments_fit, restore, state_of
from skae.training._optimizer import options_of
from skae.training._plan import TrainingPlan
from skae.training._pretraining import pretrain
from skae.training._processes import (
    Processes,
    by_itself,
    connected,
    local_device,
    taking_part,
)
from skae.training._program import Recorded
from skae.training._random import drawing_from, draws_by_itself, seeded
from skae.training._result import EpochCallback, TrainingResult
from skae.training._run import (
    RUNNER,
    Job,
    Objective,
    make_trainer,
    mean_loss_of,
    run,
    validation_batch_size,
)
from skae.training._schedules import SCHEDULES
from skae.training._trainer import (
    HoldOut,
    Trainer,
    check_convergence,
)

__all__ = [
    "taking_part",
    "local_device",
    "connected",
    "Processes",
    "AutoencoderModule",
    "BestEpoch",
    "Checkpoint",
    "EpochCallback",
    "HoldOut",
    "Job",
    "LayerSizes",
    "Objective",
    "RUNNER",
    "Recorded",
    "SCHEDULES",
    "Trainer",
    "TrainingPlan",
    "TrainingResult",
    "WeightedMean",
    "budget",
    "by_itself",
    "build",
    "check_convergence",
    "check_precision",
    "device_of",
    "drawing_from",
    "draws_by_itself",
    "make_trainer",
    "mean_loss_of",
    "moments_fit",
    "options_of",
    "pretrain",
    "restore",
    "run",
    "seeded",
    "state_of",
    "total_of",
    "update_adamw",
    "validation_batch_size",
]

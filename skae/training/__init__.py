"""Training of a module, given its objective, a dataset and a plan, by skorch."""

from skae.training import _budget as budget
from skae.training._checkpoint import Checkpoint
from skae.training._device import check_precision, device_of
from skae.training._module import AutoencoderModule, LayerSizes, build
from skae.training._module_state import moments_fit, restore, state_of
from skae.training._plan import TrainingPlan
from skae.training._pretraining import pretrain
from skae.training._random import drawing_from, seeded
from skae.training._run import TrainingResult, make_trainer, mean_loss_of, result_of, run
from skae.training._schedules import SCHEDULES
from skae.training._trainer import HoldOut, Trainer, WeightedMean, total_of

__all__ = [
    "SCHEDULES",
    "AutoencoderModule",
    "Checkpoint",
    "HoldOut",
    "LayerSizes",
    "Trainer",
    "TrainingPlan",
    "TrainingResult",
    "WeightedMean",
    "budget",
    "build",
    "check_precision",
    "device_of",
    "drawing_from",
    "make_trainer",
    "mean_loss_of",
    "moments_fit",
    "pretrain",
    "restore",
    "result_of",
    "run",
    "seeded",
    "state_of",
    "total_of",
]

"""skorch and the loop: a module, its objective, a dataset and a plan in; a trained module out."""

from skae.training._device import check_precision, device_of
from skae.training._module import AutoencoderModule, LayerSizes, build
from skae.training._module_state import moments_fit, restore, state_of
from skae.training._random import drawing_from, seeded
from skae.training._schedules import SCHEDULES
from skae.training._trainer import HoldOut, Trainer, WeightedMean

__all__ = [
    "SCHEDULES",
    "AutoencoderModule",
    "HoldOut",
    "LayerSizes",
    "Trainer",
    "WeightedMean",
    "build",
    "check_precision",
    "device_of",
    "drawing_from",
    "moments_fit",
    "restore",
    "seeded",
    "state_of",
]

"""skorch and the loop: rows, batches, steps, and the module that is trained."""

from skae.training._module import AutoencoderModule
from skae.training._moments import Moments, principal_axes
from skae.training._net import HoldOut, Net, WeightedMean
from skae.training._rng import seeded
from skae.training._rows import Batch, Batches, Conditioning, Rows
from skae.training._schedules import SCHEDULES
from skae.training._train import or_auto, restore, state_of, train

__all__ = [
    "SCHEDULES",
    "AutoencoderModule",
    "Batch",
    "Batches",
    "Conditioning",
    "HoldOut",
    "Moments",
    "Net",
    "Rows",
    "WeightedMean",
    "or_auto",
    "principal_axes",
    "restore",
    "seeded",
    "state_of",
    "train",
]

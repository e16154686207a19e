"""skorch and the loop: rows, batches, steps, and the module that is trained."""

from skae.training._device import check_precision, device_of
from skae.training._module import AutoencoderModule, Widths
from skae.training._moments import (
    EXACT_UP_TO,
    Moments,
    covariance_of,
    principal_axes,
    statistics_of,
)
from skae.training._monitor import Monitor
from skae.training._net import HoldOut, Net, WeightedMean
from skae.training._rng import Random, random_state_of, seeded
from skae.training._rows import Batch, Batches, Conditioning, Rows, StoredRows
from skae.training._schedules import SCHEDULES
from skae.training._state import moments_fit, restore, state_of
from skae.training._table import (
    CELLS,
    FLOATS,
    Table,
    check_known,
    evenly,
    joined,
    known_rows,
    pieces,
    read_table,
)
from skae.training._train import or_auto, spec_of, train

__all__ = [
    "CELLS",
    "EXACT_UP_TO",
    "FLOATS",
    "SCHEDULES",
    "AutoencoderModule",
    "Batch",
    "Batches",
    "Conditioning",
    "HoldOut",
    "Moments",
    "Monitor",
    "Net",
    "Random",
    "Rows",
    "StoredRows",
    "Table",
    "WeightedMean",
    "Widths",
    "check_known",
    "check_precision",
    "covariance_of",
    "device_of",
    "evenly",
    "joined",
    "known_rows",
    "moments_fit",
    "or_auto",
    "pieces",
    "principal_axes",
    "random_state_of",
    "read_table",
    "restore",
    "seeded",
    "spec_of",
    "state_of",
    "statistics_of",
    "train",
]

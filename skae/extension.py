"""Everything that a variant, an architecture or a loss of one's own needs.

The hooks of a variant are the methods of `Hooks`, which all autoencoders inherit; they are a
contract, see ``docs/extending.md``. What `skae`, `skae.extension`, `skae.metrics` and
`skae.inspection` export is public; everything else may change without notice.
"""

from skae._check_autoencoder import check_autoencoder
from skae._hooks import Hooks
from skae._schema import Persistent, persistent
from skae.architectures import Architecture, Dropout, PretrainingStage
from skae.autoencoders import Autoencoder, DeepAutoencoder
from skae.base import BaseAutoencoder
from skae.data import Batch, Random, RowDataset
from skae.hyperparameters import (
    FRACTION,
    NON_NEGATIVE,
    POSITIVE,
    POSITIVE_INT,
    hyperparameters,
    one_of,
    param,
)
from skae.losses import Loss, register_loss
from skae.training import AutoencoderModule, LayerSizes

__all__ = [
    "FRACTION",
    "NON_NEGATIVE",
    "POSITIVE",
    "POSITIVE_INT",
    "Architecture",
    "Autoencoder",
    "AutoencoderModule",
    "BaseAutoencoder",
    "Batch",
    "DeepAutoencoder",
    "Dropout",
    "Hooks",
    "LayerSizes",
    "Loss",
    "Persistent",
    "PretrainingStage",
    "Random",
    "RowDataset",
    "check_autoencoder",
    "hyperparameters",
    "one_of",
    "param",
    "persistent",
    "register_loss",
]

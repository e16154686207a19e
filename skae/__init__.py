"""Every classic autoencoder behind the scikit-learn API, trained on PyTorch."""

from skae._persistence import load, save
from skae.architectures import MLP, Networks
from skae.autoencoders import (
    Autoencoder,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    KSparseAutoencoder,
    LinearAutoencoder,
    SparseAutoencoder,
    VariationalAutoencoder,
)
from skae.exceptions import AutoencoderWarning
from skae.tasks import (
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    PooledEstimator,
    make_holes,
    pool_estimates,
)

__version__ = "0.1.0"

__all__ = [
    "Autoencoder",
    "AutoencoderImputer",
    "AutoencoderOutlierDetector",
    "AutoencoderWarning",
    "ContractiveAutoencoder",
    "DenoisingAutoencoder",
    "KSparseAutoencoder",
    "LinearAutoencoder",
    "MLP",
    "Networks",
    "PooledEstimator",
    "SparseAutoencoder",
    "VariationalAutoencoder",
    "load",
    "make_holes",
    "pool_estimates",
    "save",
]

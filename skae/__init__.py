"""Every classic autoencoder behind the scikit-learn API, trained on PyTorch."""

import importlib
import sys
from typing import TYPE_CHECKING

from skae._persistence import load, save
from skae.architectures import MLP, Conv, FTTransformer, FunctionArchitecture, ViT
from skae.autoencoders import (
    Autoencoder,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    KSparseAutoencoder,
    LinearAutoencoder,
    MaskedAutoencoder,
    QuantizedAutoencoder,
    SparseAutoencoder,
    VariationalAutoencoder,
)
from skae.compression import AutoencoderCompressor
from skae.exceptions import AutoencoderWarning
from skae.images import PatchDenoiser
from skae.impute import AutoencoderImputer, make_missing
from skae.multiple_imputation import PooledEstimator, pool_estimates
from skae.outlier import AutoencoderOutlierDetector
from skae.retrieval import AutoencoderSearch
from skae.semi_supervised import AutoencoderClassifier, AutoencoderRegressor
from skae.tables import TableEncoder

if TYPE_CHECKING:
    from skae import dask as dask
    from skae import displays as displays
    from skae import extension as extension
    from skae import inspection as inspection
    from skae import metrics as metrics
    from skae import onnx as onnx

__version__ = "0.1.0"

__all__ = [
    "Autoencoder",
    "AutoencoderClassifier",
    "AutoencoderCompressor",
    "AutoencoderImputer",
    "AutoencoderOutlierDetector",
    "AutoencoderRegressor",
    "AutoencoderSearch",
    "AutoencoderWarning",
    "ContractiveAutoencoder",
    "Conv",
    "DenoisingAutoencoder",
    "FTTransformer",
    "FunctionArchitecture",
    "KSparseAutoencoder",
    "LinearAutoencoder",
    "MLP",
    "MaskedAutoencoder",
    "PatchDenoiser",
    "PooledEstimator",
    "QuantizedAutoencoder",
    "SparseAutoencoder",
    "TableEncoder",
    "VariationalAutoencoder",
    "ViT",
    "load",
    "make_missing",
    "pool_estimates",
    "save",
]

_LAZY_SUBMODULES = (
    "dask",
    "displays",
    "extension",
    "inspection",
    "metrics",
    "model_selection",
    "onnx",
)

# Hidden from type checkers, which would otherwise accept any attribute of skae.
if not TYPE_CHECKING:

    def __getattr__(name):
        if name in _LAZY_SUBMODULES:
            return importlib.import_module(f"skae.{name}")
        raise AttributeError(
            f"module 'skae' has no attribute {name!r}", name=name, obj=sys.modules[__name__]
        )


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY_SUBMODULES})

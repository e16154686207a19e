"""Estimators around any autoencoder."""

from skae.tasks._holes import make_holes
from skae.tasks._imputer import AutoencoderImputer
from skae.tasks._outlier import AutoencoderOutlierDetector
from skae.tasks._pool import pool_estimates
from skae.tasks._pooled import PooledEstimator

__all__ = [
    "AutoencoderImputer",
    "AutoencoderOutlierDetector",
    "PooledEstimator",
    "make_holes",
    "pool_estimates",
]

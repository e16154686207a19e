"""Imputation by any autoencoder, and generation of missing values for its evaluation."""

from skae.impute._amputation import make_missing
from skae.impute._column_scaler import MAX_STANDARDIZED
from skae.impute._completion import (
    N_RECONSTRUCTIONS,
    Completion,
    GaussianCompletion,
    NearestRowsCompletion,
    NetworkCompletion,
    ReconstructionCompletion,
    SelfMaskedCompletion,
)
from skae.impute._imputer import AutoencoderImputer
from skae.impute._nearest_rows import MAX_DISTANCE, N_REFINEMENTS
from skae.impute._output_features import DETERMINED_ERROR
from skae.impute._residuals import MIN_VARIANCE

__all__ = [
    "AutoencoderImputer",
    "Completion",
    "DETERMINED_ERROR",
    "GaussianCompletion",
    "MAX_DISTANCE",
    "MAX_STANDARDIZED",
    "MIN_VARIANCE",
    "NearestRowsCompletion",
    "NetworkCompletion",
    "N_RECONSTRUCTIONS",
    "N_REFINEMENTS",
    "ReconstructionCompletion",
    "SelfMaskedCompletion",
    "make_missing",
]

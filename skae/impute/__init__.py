"""Imputation by any autoencoder, and generation of missing values for its evaluation."""

from skae.impute._amputation import make_missing
from skae.impute._imputer import AutoencoderImputer

__all__ = ["AutoencoderImputer", "make_missing"]

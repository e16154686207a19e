"""Imputation by any autoencoder, and missing values to try it on."""

from skae.impute._amputation import make_missing
from skae.impute._imputer import AutoencoderImputer

__all__ = ["AutoencoderImputer", "make_missing"]

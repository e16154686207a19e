"""Outlier detection by any autoencoder."""

from skae.outlier._detector import AutoencoderOutlierDetector

__all__ = ["AutoencoderOutlierDetector"]

"""Outlier detection by any autoencoder."""

from skae.outlier._detector import AutoencoderOutlierDetector
from skae.outlier._loss_criteria import LossCriterion

__all__ = ["AutoencoderOutlierDetector", "LossCriterion"]

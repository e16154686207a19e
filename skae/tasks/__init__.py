"""Estimators around any autoencoder."""

from skae.tasks._outlier import AutoencoderOutlierDetector

__all__ = ["AutoencoderOutlierDetector"]

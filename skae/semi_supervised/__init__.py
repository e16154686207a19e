"""Learning from few labels: classification and regression by an autoencoder of all samples."""

from skae.semi_supervised._classifier import AutoencoderClassifier
from skae.semi_supervised._regressor import AutoencoderRegressor

__all__ = ["AutoencoderClassifier", "AutoencoderRegressor"]

"""Pictures of fitted estimators, with the interface of scikit-learn's displays."""

from skae.displays._explained_variance import ExplainedVarianceDisplay
from skae.displays._interpolation import InterpolationDisplay
from skae.displays._latent import LatentDisplay
from skae.displays._loss_curve import LossCurveDisplay
from skae.displays._reconstruction import ReconstructionDisplay
from skae.displays._samples import SampleDisplay

__all__ = [
    "ExplainedVarianceDisplay",
    "InterpolationDisplay",
    "LatentDisplay",
    "LossCurveDisplay",
    "ReconstructionDisplay",
    "SampleDisplay",
]

"""Pictures of fitted estimators, with the interface of scikit-learn's displays."""

from skae.displays._activations import ActivationDisplay
from skae.displays._contributions import ContributionDisplay
from skae.displays._explained_variance import ExplainedVarianceDisplay
from skae.displays._interpolation import InterpolationDisplay
from skae.displays._jacobian import JacobianDisplay
from skae.displays._latent import LatentDisplay
from skae.displays._loss_curve import LossCurveDisplay
from skae.displays._outlier_scores import OutlierScoreDisplay
from skae.displays._overimputation import OverimputationDisplay
from skae.displays._posterior import PosteriorDisplay
from skae.displays._rate_distortion import RateDistortionDisplay
from skae.displays._reconstruction import ReconstructionDisplay
from skae.displays._retrieval import RetrievalDisplay
from skae.displays._samples import SampleDisplay

__all__ = [
    "ActivationDisplay",
    "ContributionDisplay",
    "ExplainedVarianceDisplay",
    "InterpolationDisplay",
    "JacobianDisplay",
    "LatentDisplay",
    "LossCurveDisplay",
    "OutlierScoreDisplay",
    "OverimputationDisplay",
    "PosteriorDisplay",
    "RateDistortionDisplay",
    "ReconstructionDisplay",
    "RetrievalDisplay",
    "SampleDisplay",
]

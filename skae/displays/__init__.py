"""Pictures of fitted estimators, with the interface of scikit-learn's displays."""

from skae.displays._explained_variance import ExplainedVarianceDisplay
from skae.displays._loss_curve import LossCurveDisplay
from skae.displays._reconstruction import ReconstructionDisplay

__all__ = ["ExplainedVarianceDisplay", "LossCurveDisplay", "ReconstructionDisplay"]

"""Pictures of fitted estimators, with the interface of scikit-learn's displays."""

from skae.displays._explained_variance import ExplainedVarianceDisplay
from skae.displays._loss_curve import LossCurveDisplay

__all__ = ["ExplainedVarianceDisplay", "LossCurveDisplay"]

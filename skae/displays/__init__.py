"""Pictures of fitted estimators, with the interface of scikit-learn's displays."""

from skae.displays._loss_curve import LossCurveDisplay

__all__ = ["LossCurveDisplay"]

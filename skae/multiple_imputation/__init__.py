"""Multiple imputation for any estimator, and Rubin's rules."""

from skae.multiple_imputation._pooled_estimator import PooledEstimator
from skae.multiple_imputation._rubin import pool_estimates

__all__ = ["PooledEstimator", "pool_estimates"]

"""What a fitted autoencoder has learned of the shape of the rows."""

from skae.inspection._jacobian import intrinsic_dimension, jacobian, tangent_basis

__all__ = ["intrinsic_dimension", "jacobian", "tangent_basis"]

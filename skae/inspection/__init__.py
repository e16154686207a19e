"""The local geometry that a fitted autoencoder has learned."""

from skae.inspection._jacobian import intrinsic_dimension, jacobian, tangent_basis

__all__ = ["intrinsic_dimension", "jacobian", "tangent_basis"]

"""The variants: one file each."""

from skae.autoencoders._deep import Autoencoder
from skae.autoencoders._linear import LinearAutoencoder

__all__ = ["Autoencoder", "LinearAutoencoder"]

"""The variants of autoencoders, one module each."""

from skae.autoencoders._autoencoder import Autoencoder
from skae.autoencoders._contractive import ContractiveAutoencoder
from skae.autoencoders._deep import DeepAutoencoder
from skae.autoencoders._denoising import DenoisingAutoencoder
from skae.autoencoders._gaussian import standard_draws
from skae.autoencoders._k_sparse import KSparseAutoencoder
from skae.autoencoders._linear import LinearAutoencoder
from skae.autoencoders._masked import MaskedAutoencoder
from skae.autoencoders._quantized import QuantizedAutoencoder
from skae.autoencoders._sparse import SparseAutoencoder
from skae.autoencoders._variational import VariationalAutoencoder

__all__ = [
    "Autoencoder",
    "ContractiveAutoencoder",
    "DeepAutoencoder",
    "DenoisingAutoencoder",
    "KSparseAutoencoder",
    "LinearAutoencoder",
    "MaskedAutoencoder",
    "QuantizedAutoencoder",
    "SparseAutoencoder",
    "VariationalAutoencoder",
    "standard_draws",
]

"""Search of similar samples by the codes of an autoencoder."""

from skae.retrieval._search import AutoencoderSearch

__all__ = ["AutoencoderSearch"]

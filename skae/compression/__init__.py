"""Compression by autoencoders whose codes take few bits."""

from skae.compression._compressor import AutoencoderCompressor

__all__ = ["AutoencoderCompressor"]

"""Denoising of images of any size by autoencoders of their patches."""

from skae.images._patch_denoiser import PatchDenoiser

__all__ = ["PatchDenoiser"]

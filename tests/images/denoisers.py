"""Images and denoisers for the tests of images."""

from types import SimpleNamespace

import numpy as np
from scipy.ndimage import gaussian_filter

from skae import PatchDenoiser


def denoiser_of(
    reconstruct, size=(4, 5), stride=(2, 3), n_channels=1, center=False, channels="joint"
):
    """Return a denoiser as if it were fitted to patches, with a function for an autoencoder."""
    made = PatchDenoiser(patch_size=size, stride=stride, center=center)
    made.estimator_ = SimpleNamespace(reconstruct=reconstruct)
    made.patch_size_, made.n_channels_, made.center_ = size, n_channels, center
    made.channels_ = channels
    return made


def blobs(rng, shape=(80, 85)):
    return np.where(gaussian_filter(rng.normal(size=shape), 4) > 0, 0.8, 0.2)

"""
Remove noise from a photograph
==============================

``PatchDenoiser`` learns how patches of clean photographs look, and removes noise from images of
any size. Here it is trained on one photograph, and tested on another one.
"""

# %%
# The test image is a part of the second photograph, with noise of standard deviation 0.2 if black
# is 0 and white is 1.

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter, median_filter
from sklearn.datasets import load_sample_images
from sklearn.decomposition import PCA
from sklearn.feature_extraction.image import extract_patches_2d, reconstruct_from_patches_2d

from skae import DenoisingAutoencoder, PatchDenoiser

NOISE = 0.2
china, flower = (image.mean(axis=2) / 255 for image in load_sample_images().images)
clean = china[60:220, 240:440]
noisy = clean + NOISE * np.random.default_rng(0).normal(size=clean.shape)

# %%
# ``noise_level`` is the standard deviation of the noise. The defaults are a wider network, more
# patches and longer training.

network = DenoisingAutoencoder(
    noise_level=NOISE, per_feature=False, hidden_layer_sizes=256, max_iter=15, random_state=0
)
denoiser = PatchDenoiser(network, max_patches=15_000, random_state=0).fit(flower)
denoised = denoiser.reconstruct(noisy)

# %%
# The alternatives are two filters, and PCA of patches of the training photograph. Their
# parameters are the best ones for this test image, which would not be known.


def by_components(image, pca):
    """Return an image from the principal components of all its patches."""
    patches = extract_patches_2d(image, (8, 8)).reshape(-1, 64)
    means = patches.mean(axis=1, keepdims=True)
    projected = pca.inverse_transform(pca.transform(patches - means)) + means
    return reconstruct_from_patches_2d(projected.reshape(-1, 8, 8), image.shape)


def decibels(image):
    """Return the peak signal-to-noise ratio; higher is better."""
    return -10 * np.log10(np.mean((image - clean) ** 2))


training_patches = extract_patches_2d(flower, (8, 8), max_patches=15_000, random_state=0)
rows = training_patches.reshape(-1, 64)
rows -= rows.mean(axis=1, keepdims=True)
candidates = {
    "median filter": [median_filter(noisy, size) for size in (3, 5, 7)],
    "gaussian filter": [gaussian_filter(noisy, width) for width in (0.8, 1.0, 1.2, 1.5, 2.0)],
    "PCA of patches": [
        by_components(noisy, PCA(k, random_state=0).fit(rows)) for k in (3, 5, 8, 12)
    ],
}
images = {"clean": clean, "noisy": noisy}
images |= {name: max(results, key=decibels) for name, results in candidates.items()}
images["PatchDenoiser"] = denoised

# %%
# The results, with their peak signal-to-noise ratios:

figure, axes = plt.subplots(2, 3, figsize=(10, 5.8), layout="constrained")
for ax, (name, image) in zip(axes.flat, images.items(), strict=True):
    ax.imshow(image, cmap="gray", vmin=0, vmax=1)
    ax.set_title(name if name == "clean" else f"{name}: {decibels(image):.1f} dB")
    ax.set_axis_off()
plt.show()

# %%
# The filters and PCA have to choose between noise that remains and edges that are blurred. The
# autoencoder keeps edges, which it knows from another photograph, and smooths the sky. The guide
# compares with better filters, too, such as non-local means.

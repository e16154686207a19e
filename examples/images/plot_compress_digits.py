"""
Compress images
===============

How few bytes can a set of similar images take? `skae.AutoencoderCompressor` learns integer codes
that an entropy coder stores in few bits. Here it is compared with principal components in equal
steps, at equal numbers of bits.
"""

# %%
# The images are rows of uint8, with 17 grey levels. One compressor is trained for each weight of
# the rate against the distortion: a larger weight gives fewer bits and larger errors.

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import brentq
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skae import Autoencoder, AutoencoderCompressor
from skae.displays import RateDistortionDisplay

X = load_digits().data.astype("uint8")
train, test = X[:1300], X[1300:]

inner = Autoencoder(32, max_iter=60)
compressors = {
    weight: AutoencoderCompressor(inner, rate_weight=weight, random_state=0).fit(train)
    for weight in (0.05, 0.1, 0.2, 0.4, 0.8)
}
for weight, compressor in compressors.items():
    data = compressor.compress(test)
    assert (compressor.decompress(data) == compressor.reconstruct(test)).all()
    print(f"rate_weight={weight:<4}: {len(test)} images in {len(data)} bytes")

# %%
# The baseline rounds principal components to multiples of a step. Its bits are the entropy of the
# rounded components of the test images, which is less than any coder needs that does not know
# them.

pca = PCA(32).fit(train)


def by_pca(step):
    """Return the mean number of bits of a test image, and the reconstructions."""
    codes = np.rint(pca.transform(test) / step)
    n_bits = 0.0
    for column in codes.T:
        p = np.unique(column, return_counts=True)[1] / len(column)
        n_bits -= (p * np.log2(p)).sum()
    return n_bits, np.clip(np.rint(pca.inverse_transform(codes * step)), 0, 16)


def psnr(restored):
    """Return the peak signal-to-noise ratio of reconstructed test images, in decibels."""
    return 10 * np.log10(16**2 / np.mean((restored - test) ** 2))


points = [by_pca(step) for step in np.geomspace(2.8, 20, 12)]
name = "principal components in equal steps"
curve = {name: [n for n, _ in points]}, {name: [psnr(restored) for _, restored in points]}

# %%
# The autoencoder starts at the baseline. With many bits, the best step for each component is the
# same, and there is little to gain. With few bits, the network has learned which combinations of
# components digits have.

display = RateDistortionDisplay.from_estimators(list(compressors.values()), test, data_range=16)
RateDistortionDisplay(*curve).plot(display.ax_, marker=".", linestyle="--", color="C1")
plt.show()

# %%
# Images at equal numbers of bits:

compressor = compressors[0.4]
n_bits = compressor.rate(test).mean()
step = brentq(lambda step: by_pca(step)[0] - n_bits, 4, 25, xtol=1e-3)
of_pca, restored = by_pca(step)
rows = {
    "original": test,
    f"PCA\n{of_pca:.0f} bits": restored,
    f"autoencoder\n{n_bits:.0f} bits": compressor.reconstruct(test),
}
figure, axes = plt.subplots(3, 12, figsize=(9, 2.5), layout="constrained")
for (label, images), some in zip(rows.items(), axes, strict=True):
    some[0].set_ylabel(label, rotation="horizontal", ha="right", va="center")
    for ax, image in zip(some, images, strict=False):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
plt.show()

# %%
# Some cells may be far off. With ``max_error``, corrections of these are stored as well:

inner = Autoencoder(32, max_iter=30)
for max_error in (0, 1):
    bounded = AutoencoderCompressor(inner, rate_weight=0.1, max_error=max_error, random_state=0)
    data = bounded.fit(train).compress(test)
    largest = np.abs(bounded.decompress(data).astype(int) - test).max()
    print(f"largest error {largest}: {8 * len(data) / len(test):.0f} bits per image")

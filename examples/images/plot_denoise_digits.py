"""
Remove noise and fill missing pixels of digits
==============================================

A ``DenoisingAutoencoder`` is trained to recover images from damaged copies. Afterwards it repairs
images that are damaged in the same way.
"""

# %%
# Two kinds of damage of test images: noise of standard deviation 0.3, and half of the pixels
# missing (NaN).

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsRegressor

from skae import DenoisingAutoencoder
from skae.displays import ReconstructionDisplay

X_train, X_test = train_test_split(load_digits().data / 16, test_size=300, random_state=0)
rng = np.random.default_rng(0)
noisy = X_test + 0.3 * rng.normal(size=X_test.shape)
is_missing = rng.random(X_test.shape) < 0.5
incomplete = np.where(is_missing, np.nan, X_test)

# %%
# Noise: the alternatives are PCA, and the mean of the ten training images that are nearest to the
# noisy one.

denoiser = DenoisingAutoencoder(noise_level=0.3, per_feature=False, random_state=0).fit(X_train)
pca = PCA(16, random_state=0).fit(X_train)
nearest = KNeighborsRegressor(10).fit(X_train, X_train)
without_noise = {
    "noisy": noisy,
    "PCA": pca.inverse_transform(pca.transform(noisy)),
    "nearest images": nearest.predict(noisy),
    "autoencoder": denoiser.reconstruct(noisy),
}
for name, x_hat in without_noise.items():
    print(f"{name:15} root mean squared error {np.sqrt(np.mean((x_hat - X_test) ** 2)):.3f}")

first = {name: x_hat[:10] for name, x_hat in without_noise.items()}
figure, ax = plt.subplots(figsize=(9, 4), layout="constrained")
ReconstructionDisplay(X_test[:10], first, image_shape=(8, 8)).plot(ax, residuals=False)
plt.show()

# %%
# Missing pixels: a second network is trained on images of which half of the pixels are masked.
# The alternatives are the mean of each pixel, and that of the nearest training images.

inpainter = DenoisingAutoencoder(noise="masking", noise_level=0.5, random_state=0).fit(X_train)
filled = {
    "mean": SimpleImputer().fit(X_train).transform(incomplete),
    "KNNImputer": KNNImputer().fit(X_train).transform(incomplete),
    "autoencoder": inpainter.reconstruct(incomplete),
}
for name, x_hat in filled.items():
    error = np.sqrt(np.mean((x_hat - X_test)[is_missing] ** 2))
    print(f"{name:15} root mean squared error of the missing pixels {error:.3f}")

first = {name: np.where(is_missing, x_hat, X_test)[:10] for name, x_hat in filled.items()}
figure, ax = plt.subplots(figsize=(9, 3.4), layout="constrained")
ReconstructionDisplay(X_test[:10], first, image_shape=(8, 8), mask=is_missing[:10]).plot(
    ax, residuals=False
)
plt.show()

# %%
# With few and similar images, neighbours are hard to beat: they are nearly as good on noise, and
# better on missing pixels, where ``KNNImputer`` compares only what is there. They need all
# training images at hand, and a network does not.

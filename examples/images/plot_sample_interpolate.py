"""
Sample and interpolate digits
=============================

A ``VariationalAutoencoder`` is a probabilistic model of the data. It draws new images, and images
that lie between two given ones.
"""

# %%
# The pixels are divided by their largest value, so that the bernoulli likelihood applies to them.
# It suits images that are mostly black or white.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors

from skae import VariationalAutoencoder
from skae.displays import InterpolationDisplay, PosteriorDisplay, SampleDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=400, random_state=0)
vae = VariationalAutoencoder(16, likelihood="bernoulli", random_state=0).fit(X_train)

# %%
# The simple alternative is a gaussian distribution of sixteen principal components. As a measure
# of how natural new images are, take their distance from the nearest training image, which should
# be about that of test images.

pca = PCA(16, random_state=0).fit(X_train)
scores = np.random.default_rng(0).normal(size=(400, 16)) * np.sqrt(pca.explained_variance_)
images = {
    "test images": X_test,
    "PCA": pca.inverse_transform(scores),
    "VariationalAutoencoder": vae.sample(400, noise=False, random_state=0),
}
nearest = NearestNeighbors(n_neighbors=1).fit(X_train)
for name, rows in images.items():
    distance = nearest.kneighbors(rows)[0].mean()
    print(f"{name:22} distance from the nearest training image {distance:.2f}")

figure, axes = plt.subplots(1, 3, figsize=(9, 2.9), layout="constrained")
figure.get_layout_engine().set(wspace=0.08)
for ax, (name, rows) in zip(axes, images.items(), strict=True):
    SampleDisplay(rows[:30], image_shape=(8, 8)).plot(ax, n_columns=6, vmin=0, vmax=1)
    ax.set_title(name)
plt.show()

# %%
# Paths between digits, along a straight line between the codes and along an arc around the
# origin. An arc stays as far from the origin as the codes of data are. Here, both lead through
# similar images.

pairs = [(0, 6), (1, 7), (3, 5)]
first = [np.flatnonzero(y_test == digit)[0] for digit in range(10)]
start, end = (X_test[[first[pair[i]] for pair in pairs]] for i in (0, 1))
InterpolationDisplay.from_estimator(vae, start, end, image_shape=(8, 8))
plt.show()

# %%
# Where the posterior of a component is the prior for every image, the divergence is 0 and the
# decoder ignores the component. The model has left most of its 16 components unused: a
# VariationalAutoencoder chooses their number by itself.

PosteriorDisplay.from_estimator(vae, X_test)
plt.show()

"""
Which changes of an image does a code notice?
=============================================

A good code changes when the image becomes another plausible one, and ignores other changes. The
derivative of the code, its Jacobian, shows which directions it follows: the tangents of the data.
"""

# %%
# ``ContractiveAutoencoder`` keeps the Jacobian small, except where that would cost too much
# reconstruction error. It is compared with PCA and with an ``Autoencoder`` of the same size.

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter, rotate, shift
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skae import Autoencoder, ContractiveAutoencoder
from skae.displays import JacobianDisplay
from skae.inspection import intrinsic_dimension, jacobian
from skae.metrics import explained_variance

X = load_digits().data / 16
X_train, X_test = X[:1400], X[1400:]
contractive = ContractiveAutoencoder(16, max_iter=60, random_state=0).fit(X_train)
plain = Autoencoder(16, max_iter=60, random_state=0).fit(X_train)
pca = PCA(16, random_state=0).fit(X_train)

# %%
# The singular values of the Jacobian say how fast the code changes along its tangents. The first
# tangents of an image, as images: what becomes brighter is white, what becomes darker is black.

JacobianDisplay.from_estimator(contractive, X_test, image_shape=(8, 8), index=5)
plt.show()

# %%
# Take small changes of an image, each divided by its norm: moves, a turn, a blur that makes
# strokes thicker, and noise. The Jacobian times the change is how fast the code changes.

images = X_test.reshape(-1, 8, 8)
changed = {
    "move right": shift(images, (0, 0, 0.1), order=1),
    "move down": shift(images, (0, 0.1, 0), order=1),
    "turn": rotate(images, 3, axes=(1, 2), reshape=False, order=1),
    "blur": gaussian_filter(images, (0, 0.5, 0.5)),
    "noise": images + np.random.default_rng(0).normal(size=images.shape),
}
jacobians = {
    "ContractiveAutoencoder": jacobian(contractive, X_test),
    "PCA": pca.components_[None],
    "Autoencoder": jacobian(plain, X_test),
}
speeds = {name: [] for name in jacobians}
for image in changed.values():
    change = (image - images).reshape(len(images), -1, 1)
    change /= np.linalg.norm(change, axis=1, keepdims=True)
    for name, J in jacobians.items():
        speeds[name].append(np.linalg.norm(J @ change, axis=1).mean())

# %%
# Codes have different units, so that speeds are divided by that of noise:

figure, ax = plt.subplots(figsize=(8, 3.8), layout="constrained")
for i, (name, speed) in enumerate(speeds.items()):
    ax.bar(np.arange(len(changed)) + 0.27 * (i - 1), np.divide(speed, speed[-1]), 0.25, label=name)
ax.axhline(1, color="0.5", linewidth=1)
ax.set_xticks(range(len(changed)), changed)
ax.set_ylabel("speed of the code,\nrelative to noise")
ax.legend(loc="upper center", ncols=3, bbox_to_anchor=(0.5, 1.17), frameon=False)
plt.show()

# %%
# The contractive autoencoder follows moves to the right and blur more than PCA does, compared
# with noise, and the other two changes as much. The plain autoencoder is the least selective,
# although it explains the most variance: a low reconstruction error says nothing about what a
# code ignores.

for name, model in {
    "ContractiveAutoencoder": contractive,
    "PCA": pca,
    "Autoencoder": plain,
}.items():
    print(f"{name:22} explained variance {explained_variance(model, X_test):.3f}")

# %%
# In how many directions does the reconstruction follow the image? The participation ratio of the
# singular values counts them. It is at most 16, which it is for PCA.

for name, model in {"ContractiveAutoencoder": contractive, "Autoencoder": plain}.items():
    print(f"{name:22} intrinsic dimension {intrinsic_dimension(model, X_test).mean():.1f}")

"""
Compress digits to eight numbers
================================

An image of 8 x 8 pixels is a row of 64 numbers. PCA and an autoencoder describe each image by eight
numbers, and reconstruct the image from them.
"""

# %%
# Both are estimators with the same methods, so that one loop fits and compares them.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skae import Autoencoder

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=0)

reconstructions, errors = {}, {}
for model in (PCA(8), Autoencoder(8, random_state=0)):
    name = type(model).__name__
    codes = model.fit(X_train).transform(X_test)  # (450, 8)
    reconstructions[name] = model.inverse_transform(codes)  # (450, 64)
    errors[name] = np.mean((reconstructions[name] - X_test) ** 2)
    print(f"{name:12} mean squared error of a pixel: {errors[name]:.2f}")

# %%
# The first test image of each digit, and what is left of it after the compression:

shown = [np.flatnonzero(y_test == digit)[0] for digit in range(10)]
rows = {"original": X_test[shown]}
rows |= {f"{name}\nerror {errors[name]:.2f}": reconstructions[name][shown] for name in errors}

figure, axes = plt.subplots(len(rows), 10, figsize=(9, 3), layout="constrained")
for line, (label, images) in zip(axes, rows.items(), strict=True):
    for ax, image in zip(line, images, strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color("0.8")
    line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
plt.show()

# %%
# The autoencoder started at PCA's solution. Its weights have moved from there because the error on
# validation images, which it held out by itself, became lower:

print(f"best epoch: {model.best_epoch_} of {model.n_iter_}")

# %%
# Where no network is significantly better than PCA, as on some small tables, the autoencoder stays
# at PCA and says so with a warning.

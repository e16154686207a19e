"""
Images whose content may be anywhere: convolution
=================================================

A dense network has to learn a pattern anew at each position; a convolutional one learns it once.
Which one is better depends on whether patterns move. This example compares both on digits that
are centred, and on digits at random positions.
"""

# %%
# The digits of 8 x 8 pixels are put into images of 14 x 14: in the middle, or anywhere.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skae import MLP, Autoencoder, Conv
from skae.displays import LossCurveDisplay, ReconstructionDisplay
from skae.metrics import explained_variance

SIZE, SHAPE = 14, (14, 14)
digits = load_digits().images / 16
rng = np.random.default_rng(0)


def placed(corners):
    """Return images with each digit at its corner, (n_samples, 196)."""
    images = np.zeros((len(digits), SIZE, SIZE))
    for image, digit, (top, left) in zip(images, digits, corners, strict=True):
        image[top : top + 8, left : left + 8] = digit
    return images.reshape(len(images), -1)


data = {
    "in the middle": placed(np.full((len(digits), 2), 3)),
    "anywhere": placed(rng.integers(7, size=(len(digits), 2))),
}

# %%
# Both networks are given the same number of epochs, and codes of 16 numbers, as PCA is.

fitted = {}
for place, X in data.items():
    models = {
        "PCA": PCA(16, random_state=0),
        "MLP": Autoencoder(16, architecture=MLP(), max_iter=30, random_state=0),
        "Conv": Autoencoder(16, architecture=Conv(channels=(16, 32)), max_iter=30, random_state=0),
    }
    fitted[place] = {name: model.fit(X[:1400]) for name, model in models.items()}
    for name, model in models.items():
        print(f"{place:13} {name:4} explained variance {explained_variance(model, X[1400:]):.3f}")

# %%
# Test images at random positions, and their reconstructions:

figure, ax = plt.subplots(figsize=(9, 4.2), layout="constrained")
display = ReconstructionDisplay.from_estimators(
    fitted["anywhere"],
    data["anywhere"][1400:],
    image_shape=SHAPE,
    n_samples=9,
    ax=ax,
    residuals=False,
)
plt.show()

# %%
# The training of both networks starts at PCA, the dotted line. The distance between training and
# validation shows how much a network overfits:

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained", sharey=True)
for ax, name in zip(axes, ["MLP", "Conv"], strict=True):
    LossCurveDisplay.from_estimator(fitted["anywhere"][name], ax=ax)
    ax.set_title(name)
plt.show()

# %%
# For digits in the middle, where each pixel has its own meaning, both networks are about as good.
# At random positions, the convolutional one has a clearly lower error. An epoch of it takes
# longer, and for columns of a table, which have no neighbours, it has no use.

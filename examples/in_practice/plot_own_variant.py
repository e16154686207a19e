"""
Write a variant of your own
===========================

The components of PCA are in order of importance: the first ones are the best description of that
length. Those of an autoencoder have no order. A variant of a few lines gives them one.
"""

# %%
# A variant declares its hyperparameters and overrides the functions that differ, here the code that
# is decoded in training: of some samples, the components after a random one are set to 0, which is
# their mean at the start (nested dropout, Rippel et al. 2014). All other methods are inherited.

# sphinx_gallery_thumbnail_number = 2
import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skae.extension import FRACTION, Autoencoder, check_autoencoder, hyperparameters, param


@hyperparameters
class OrderedAutoencoder(Autoencoder):
    """Autoencoder with components in order of importance.

    Parameters
    ----------
    {parameters}
    """

    truncation: float = param(FRACTION, default=0.5, doc="Share of samples with shortened codes.")

    def _sample(self, module, batch, h):
        n, k = h.shape
        is_short = batch.random.uniform(n, 1) < self.truncation
        length = 1 + batch.random.integers(k, n, 1)  # 1 to k
        dropped = is_short & (torch.arange(k, device=h.device) >= length)
        return torch.where(dropped, 0, h)


# %%
# ``check_autoencoder`` tests what skae's own classes promise: missing values, weights, dtypes,
# equal results for equal seeds, other devices and files.

check_autoencoder(OrderedAutoencoder(4))
print("passed")

# %%
# How good is the description of an image by the first components of eight, and the means of the
# others?

X_train, X_test = train_test_split(load_digits().data, test_size=0.25, random_state=0)
settings = {"max_iter": 100, "random_state": 0}
models = {
    "PCA(8)": PCA(8),
    "Autoencoder(8)": Autoencoder(8, **settings),
    "OrderedAutoencoder(8)": OrderedAutoencoder(8, **settings),
}
reconstructions = {}  # by name, (8, n_samples, 64) each
for name, model in models.items():
    mean = model.fit(X_train).transform(X_train).mean(axis=0)
    codes = model.transform(X_test)
    shortened = [np.where(np.arange(8) < length, codes, mean) for length in range(1, 9)]
    reconstructions[name] = np.array([model.inverse_transform(codes) for codes in shortened])

numbers = [1, 2, 4, 6]
each = [Autoencoder(k, **settings).fit(X_train) for k in numbers]
each = [-model.score(X_test) for model in each]  # their errors
print(f"{'a fit for each k':21}", np.round(each, 1))

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.plot(numbers, each, "D", color="C1", fillstyle="none", label="Autoencoder(k), a fit for each k")
for (name, images), color in zip(reconstructions.items(), ("0.5", "C1", "C0"), strict=True):
    errors = ((images - X_test) ** 2).mean(axis=(1, 2))
    ax.plot(range(1, 9), errors, "o-", color=color, label=name)
    print(f"{name:21}", errors.round(1))
ax.set(xlabel="number of components that are used", ylabel="mean squared error of a pixel")
ax.set_ylim(bottom=0)
ax.legend()
plt.show()

# %%
# An order is a constraint: a fit for each number, the diamonds, is better. The variant needs one
# fit for all numbers, and is better than PCA at each of them. The first test image, from one
# component to eight:

figure, axes = plt.subplots(3, 9, figsize=(9, 3.2), layout="constrained")
for line, (name, images) in zip(axes, reconstructions.items(), strict=True):
    for ax, image in zip(line, [X_test[0], *images[:, 0]], strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel(name.replace("Auto", "\nAuto"), rotation=0, ha="right", va="center")
for ax, title in zip(axes[0], ["original", *range(1, 9)], strict=True):
    ax.set_title(title, fontsize="medium")
plt.show()

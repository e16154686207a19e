"""
Search over noise and depth
===========================

How much noise should a denoising autoencoder be trained with, and how deep should it be? A grid
search with cross-validation answers both at once. ``BatchedGridSearchCV`` trains the networks of
all noise levels and folds together, as one program.
"""

# %%
# The job is to remove noise of standard deviation 0.3 from images of digits with values from 0 to
# 1. The score must be about this job: the default score, the error of *clean* images, favours low
# levels. This one adds noise to the held-out images, and compares the result with the clean ones.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV

from skae import DenoisingAutoencoder
from skae.model_selection import BatchedGridSearchCV

X = load_digits().data[:1200] / 16


def neg_error(model, X, y=None):
    """Return minus the root mean squared error of images from which noise was removed."""
    noisy = X + 0.3 * np.random.default_rng(0).normal(size=X.shape)
    denoised = model.inverse_transform(model.transform(noisy))
    return -np.sqrt(np.mean((denoised - X) ** 2))


LEVELS = [0.2, 0.3, 0.4, 0.6]
DEPTHS = {"64": (64,), "64-64": (64, 64), "64-64-64": (64, 64, 64)}

model = DenoisingAutoencoder(32, per_feature=False, max_iter=60, random_state=0)
grid = {"hidden_layer_sizes": list(DEPTHS.values()), "noise_level": LEVELS}
search = BatchedGridSearchCV(model, grid, scoring=neg_error, cv=3, refit=False).fit(X)
pca = GridSearchCV(
    PCA(random_state=0), {"n_components": range(4, 33, 2)}, scoring=neg_error, cv=3
).fit(X)
print(f"PCA with {pca.best_params_['n_components']} components: error {-pca.best_score_:.4f}")

# %%
# A heat map of the errors, and the same numbers as lines beside the error of the best PCA:

errors = -search.cv_results_["mean_test_score"].reshape(len(DEPTHS), len(LEVELS))
figure, (map_ax, line_ax) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
map_ax.imshow(errors, cmap="viridis", aspect="auto")
middle = (errors.min() + errors.max()) / 2
for (i, j), error in np.ndenumerate(errors):
    color = "white" if error < middle else "black"
    map_ax.text(j, i, f"{error:.3f}", ha="center", va="center", color=color)
map_ax.set_xticks(range(len(LEVELS)), LEVELS)
map_ax.set_yticks(range(len(DEPTHS)), DEPTHS)
map_ax.set(xlabel="noise_level", ylabel="hidden_layer_sizes", title="error of held-out images")

for name, row in zip(DEPTHS, errors, strict=True):
    line_ax.plot(LEVELS, row, "o-", label=name)
line_ax.axhline(-pca.best_score_, color="0.5", linestyle="--", label="PCA")
line_ax.axvline(0.3, color="0.8", zorder=0)
line_ax.set(xlabel="noise_level", ylabel="error of held-out images")
line_ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0.9))
plt.show()

# %%
# The noise matters more than the depth. The best level is that of the images to clean: less
# leaves noise, more blurs. All of these networks have a lower error than PCA.

"""
Choose the number of components by cross-validation
===================================================

How many numbers describe a row? The more there are, the lower is the error, so that the lowest
error is no guide. This example takes the smallest number that explains 95 % of the variance of
rows that were not used for training.
"""

# %%
# The data are readings of 30 sensors in a machine of which three quantities vary. Each sensor
# responds to them in its own curved way, and has some noise.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV

from skae import Autoencoder
from skae.displays import ExplainedVarianceDisplay
from skae.metrics import explained_variance

rng = np.random.default_rng(0)
state = rng.uniform(-1, 1, size=(1000, 3))
direction = rng.normal(size=(3, 30))
X = np.sin(state @ direction + rng.uniform(0, 2 * np.pi, size=30))
X += 0.05 * rng.normal(size=X.shape)

# %%
# A search accepts a function as ``refit``, which chooses a candidate. The same function serves
# for PCA.

REQUIRED = 0.95


def smallest_sufficient(results):
    """Return the index of the first candidate that explains enough, or else of the best one."""
    score = results["mean_test_score"]
    return int(np.argmax(score >= REQUIRED) if (score >= REQUIRED).any() else np.argmax(score))


candidates = {
    "PCA": (PCA(random_state=0), [1, 2, 3, 4, 6, 8, 10, 12]),
    "Autoencoder": (Autoencoder(max_iter=30, random_state=0), [1, 2, 3, 4, 6]),
}
searches = {}
for name, (model, sizes) in candidates.items():
    searches[name] = GridSearchCV(
        model,
        {"n_components": sizes},
        scoring=explained_variance,
        cv=3,
        refit=smallest_sufficient,
    ).fit(X)
    print(f"{name}: {searches[name].best_params_['n_components']} components")

# %%
# The autoencoder needs three components, as many as there are quantities. PCA needs eight,
# because a curved surface of three dimensions extends into more directions than three.

figure, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
for name, search in searches.items():
    ExplainedVarianceDisplay.from_cv_results(search, name=name, ax=ax)
ax.axhline(REQUIRED, color="0.5", linestyle="--", linewidth=1, zorder=0)
ax.text(12, REQUIRED - 0.01, "95 %", color="0.4", ha="right", va="top")
ax.set_xticks(range(1, 13))
ax.set_ylabel("explained variance of held-out rows")
plt.show()

# %%
# The lines go on rising after the threshold. What is left is noise, which no number of components
# can predict in new rows, so that the threshold must be below 1 minus its share of the variance.
# ``search.best_estimator_`` is fitted to all rows with the chosen number of components.

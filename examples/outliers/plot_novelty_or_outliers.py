"""
Detect outliers after training on clean or dirty data
=====================================================

Training data are clean if they hold normal samples only, and dirty if some outliers are among them.
Which setting of the detector is right for which?
"""

# %%
# Images of one digit are normal, those of all others are outliers. Clean training data are 120
# images of the digit. Dirty ones have 12 outliers in addition: images of various digits, or of one
# digit, which are similar to each other. Test samples are in no training set. All figures are means
# over four digits.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor

from skae import AutoencoderOutlierDetector

X, y = load_digits(return_X_y=True)
settings = {"max_iter": 20, "random_state": 0}  # a short training for a fast example
detectors = {
    "isolation forest": IsolationForest(random_state=0),
    "local outlier factor": LocalOutlierFactor(novelty=True),
    "autoencoder, novelty=True": AutoencoderOutlierDetector(novelty=True, **settings),
    "autoencoder, default": AutoencoderOutlierDetector(**settings),
}

results = []
for digit in range(1, 5):
    normal, one, various = X[y == digit], X[y == digit + 5], X[(y != digit) & (y != digit + 5)]
    training_sets = {
        "clean": normal[:120],
        "12 outliers of various digits": np.vstack([normal[:120], various[:12]]),
        "12 outliers of one digit": np.vstack([normal[:120], one[:12]]),
    }
    X_test = np.vstack([normal[120:], one[12:70], various[12:70]])
    is_outlier = np.arange(len(X_test)) >= len(normal) - 120
    for data, X_train in training_sets.items():
        for name, detector in detectors.items():
            scores = -detector.fit(X_train).score_samples(X_test)
            results.append((data, name, roc_auc_score(is_outlier, scores)))

results = pd.DataFrame(results, columns=["training data", "detector", "ROC AUC"])
mean = results.pivot_table("ROC AUC", "training data", "detector", sort=False)

# %%
# The area under the ROC curve is the share of pairs of a normal sample and an outlier that the
# scores order correctly. The picture shows the others:

ax = (100 * (1 - mean)).plot.bar(
    figsize=(8, 4), rot=0, width=0.8, color=["0.8", "0.6", "C1", "C0"], xlabel="training data"
)
for bars in ax.containers:
    ax.bar_label(bars, fmt="%.1f", fontsize=8, padding=2)
ax.set_ylabel("1 - ROC AUC in %, lower is better")
ax.legend(title=None, frameon=False)
ax.spines[["top", "right"]].set_visible(False)
ax.figure.set_layout_engine("constrained")
plt.show()

# %%
# The local outlier factor is better for clean data and for outliers of various digits. Similar
# outliers in the training data are neighbours of each other, so that they look normal to it, and to
# ``novelty=True``. The default excludes such groups from its training: it is the safe choice where
# the training data were not inspected. It excludes some unusual normal samples, too, which is why
# ``novelty=True`` may be slightly better where all are known to be normal.

"""
Encode a table of mixed columns
===============================

A DataFrame of numbers, categories and booleans goes through one pipeline: `skae.TableEncoder` makes
numbers of it, `skae.Autoencoder` makes codes of three components. Both have a way back to a
DataFrame.
"""

# %%
# The table is synthetic: 1,200 bicycles of a shop. A few entries are missing.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline

from skae import Autoencoder, AutoencoderOutlierDetector, TableEncoder, make_missing
from skae.displays import ContributionDisplay, LatentDisplay

rng = np.random.default_rng(0)
n = 1200
kind, quality = rng.integers(0, 4, n), rng.random(n)
electric = rng.random(n) < np.array([0.5, 0.0, 0.3, 0.0])[kind]
weight = np.array([17, 10, 14, 9])[kind] - 4 * quality + 7 * electric + 0.3 * rng.normal(size=n)
price = np.array([350, 700, 600, 120])[kind] * np.exp(2 * quality) + 1500 * electric
bicycles = pd.DataFrame({"kg": weight.round(1)})
bicycles["price"] = pd.array(price.round(), dtype="Int64")
bicycles["gears"] = pd.array(np.array([7, 20, 11, 1])[kind] + 3 * (quality > 0.6), dtype="Int64")
bicycles["electric"] = pd.array(electric, dtype="boolean")
bicycles["kind"] = np.array(["city", "road", "mountain", "child"])[kind]
sizes = np.where(kind == 3, 0, rng.integers(1, 4, n))
bicycles["size"] = pd.Categorical.from_codes(sizes, ["XS", "S", "M", "L"], ordered=True)
table = make_missing(bicycles, "mcar", 0.03, random_state=0).astype(bicycles.dtypes)
train, new = table[:1000], table[1000:]

# %%
# The pipeline takes the table as it is. ``inverse_transform`` returns a DataFrame of the same
# columns and dtypes, in which nothing is missing.

pipeline = make_pipeline(TableEncoder(), Autoencoder(3, max_iter=100, random_state=0)).fit(train)
again = pipeline.inverse_transform(pipeline.transform(new))
print(new.head(), again.head().round(1), sep="\n\n")

# %%
# How much of the table do three numbers keep? PCA in the place of the autoencoder is the baseline.
# It does not accept missing values, so that PCA is fitted to the complete table, and both are
# evaluated by it.

complete, truth = bicycles[:1000], bicycles[1000:]
others = {"PCA": make_pipeline(TableEncoder(), PCA(3)).fit(complete), "Autoencoder": pipeline}
for name, model in others.items():
    estimate = model.inverse_transform(model.transform(truth)).set_index(truth.index)
    right = [f"{c} {(estimate[c] == truth[c]).mean():.2f}" for c in ("electric", "kind", "size")]
    error = np.abs(estimate["price"] - truth["price"]).mean()
    print(f"{name:12} mean error of the price {error:.0f}; accuracy:", ", ".join(right))

# %%
# The kind of a bicycle was not the target of anything, but the codes of new bicycles separate it.

LatentDisplay.from_estimator(pipeline, truth, truth["kind"])
plt.show()

# %%
# An outlier need not have a single unusual value. The detector takes such a table without an
# encoder. This road bicycle is as heavy as a city bicycle:

odd = truth.iloc[[0]].assign(kind="road", electric=False, kg=18.5, gears=20, price=1400, size="M")
detector = AutoencoderOutlierDetector(max_iter=50, random_state=0).fit(train)
print(detector.predict(odd))
ContributionDisplay.from_estimator(detector, odd.astype(bicycles.dtypes))
plt.show()

"""
Find a faulty sensor
====================

The readings of six sensors depend on each other. A faulty sensor reports values that are usual in
themselves, but do not agree with the other sensors.
"""

# %%
# The table is synthetic. Two hidden quantities, the load of a machine and the temperature outside,
# determine six readings through curved functions; noise is added. In the last 100 of 1,000 rows,
# sensor 5 reports what it should have reported 25 rows before.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import Autoencoder, AutoencoderOutlierDetector
from skae.displays import ContributionDisplay, OutlierScoreDisplay

rng = np.random.default_rng(0)
hidden = rng.uniform(-1, 1, (2, 1000))
angles = np.linspace(0, np.pi, 6, endpoint=False)
mixed = hidden.T @ [np.cos(angles), np.sin(angles)]  # (1000, 6)
readings = np.tanh(2 * mixed) + 0.6 * mixed**2 + 0.05 * rng.normal(size=mixed.shape)
X = pd.DataFrame(readings, columns=[f"sensor {i}" for i in range(1, 7)])

is_faulty = X.index >= 900
X.loc[is_faulty, "sensor 5"] = X["sensor 5"].shift(25)[is_faulty]

# %%
# The first 600 rows were recorded while the machine was known to work: ``novelty=True``. A fault
# breaks the relation of the columns and shows as a reconstruction error, relative to the usual
# error of the column: ``method="standardized"``. For unknown kinds of outliers, ``method="auto"``
# is the better choice.

train, new = X[:600], X[600:]
autoencoder = Autoencoder(2, max_iter=150)
detector = AutoencoderOutlierDetector(
    autoencoder, method="standardized", novelty=True, random_state=0
)
model = make_pipeline(StandardScaler(), detector)

others = {"PCA of 2 components": PCA(2), "PCA of 4 components": PCA(4)}
others["isolation forest"] = IsolationForest(random_state=0)
others = {name: make_pipeline(StandardScaler(), other) for name, other in others.items()}
for name, candidate in {"autoencoder of 2 components": model, **others}.items():
    scores = -candidate.fit(train).score_samples(new)
    print(f"ROC AUC, {name:28} {roc_auc_score(is_faulty[600:], scores):.3f}")

# %%
# The two hidden quantities lie on a curved surface, so that two components of PCA do not suffice.
# Faulty rows with normal scores are mostly those in which the old reading is close to the true one.

OutlierScoreDisplay.from_estimator(model, new, is_faulty[600:])
plt.show()

# %%
# Which sensor is it? The score is a sum over the sensors. The picture shows one row; the mean over
# all alarms is more certain.

alarms = new[model.predict(new) == -1]
contributions = model[-1].feature_contributions(model[:-1].transform(alarms))
print(pd.Series(contributions.mean(axis=0), X.columns).round(2).to_string())

ContributionDisplay.from_estimator(model, alarms, index=-1)
plt.show()

"""
Select outliers, with reasons and guarantees
============================================

Which of the new samples are unusual, why, and how many of the alarms are false? A detector that is
calibrated on samples which it was not trained on answers with p-values.
"""

# %%
# The detector learns from benign tumours only. It holds out 40 % of them: their scores show how
# unusual normal samples may be. Sixty benign and forty malignant tumours are new to it.

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderOutlierDetector
from skae.displays import ContributionDisplay, OutlierScoreDisplay

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
train, benign = train_test_split(X[y == 1], test_size=60, random_state=0)
X_new = pd.concat([benign, X[y == 0].sample(40, random_state=0)])
is_malignant = y[X_new.index] == 0

detector = AutoencoderOutlierDetector(
    novelty=True, calibration_fraction=0.4, max_iter=150, random_state=0
)
model = make_pipeline(StandardScaler(), detector).fit(train)

# %%
# The p-value of a normal sample is uniformly distributed: it is below 5 % for one in twenty of
# them. It is below 5 % for two thirds of the malignant tumours.

OutlierScoreDisplay.from_estimator(model, X_new, is_malignant, p_values=True, bins=20)
plt.show()

# %%
# ``select_outliers`` selects samples so that the expected share of false alarms, the false
# discovery rate, is at most the given one. The guarantee needs normal samples like those of the
# training, and no assumption about the outliers. It holds on average over many tables; in a single
# one, the share may be larger. No p-value is below 1 / (held-out samples + 1). For a low rate among
# few held-out samples, that is too large to select any.

scaled = model[:-1].transform(X_new)
print(f"{len(model[-1].calibration_scores_)} held-out samples")
for rate in (0.05, 0.1, 0.2, 0.3):
    selected = model[-1].select_outliers(scaled, fdr=rate)
    false = (selected & ~is_malignant).sum()
    print(f"rate {rate:.2f}: {selected.sum():2} selected, {false} of them benign")

# %%
# Why is the most unusual of them unusual? The score is a sum over the features and of the distance
# of the code from the codes of benign tumours.

most_unusual = model.score_samples(X_new).argmin()
ContributionDisplay.from_estimator(model, X_new, index=most_unusual, max_features=8)
plt.show()

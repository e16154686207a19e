"""
Fill in values that are missing because of what they are
========================================================

High incomes are withheld, and sensors fail in the heat. Filling in the mean of similar samples is
then wrong on average. `skae.AutoencoderImputer` looks for this and corrects its estimates.
"""

# %%
# Wine: 178 samples of 13 standardised columns. `skae.make_missing` removes 30 % of the values by
# one of four mechanisms. The removed values are known, so that each imputer can be compared with
# them.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_wine
from sklearn.impute import KNNImputer
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderImputer, make_missing

X = StandardScaler().fit_transform(load_wine().data)
mechanisms = {
    "mcar": "completely\nat random",
    "mnar": "the larger,\nthe more often",
    "mnar_self_masking": "large or small,\nby column",
    "mnar_censoring": "beyond a limit,\nby column",
}
imputers = {
    "KNNImputer": KNNImputer(),
    'mechanism="mar"': AutoencoderImputer(mechanism="mar", max_iter=40, random_state=0),
    'mechanism="auto"': AutoencoderImputer(mechanism="auto", max_iter=40, random_state=0),
}

errors = pd.DataFrame(index=mechanisms.values(), columns=imputers, dtype=float)
means = {}
for mechanism, label in mechanisms.items():
    X_missing = make_missing(X, mechanism, 0.3, random_state=0)
    is_missing = np.isnan(X_missing)
    for name, imputer in imputers.items():
        X_filled = imputer.fit_transform(X_missing)
        errors.loc[label, name] = np.sqrt(np.mean((X_filled - X)[is_missing] ** 2))
        means[mechanism, name] = X_filled.mean(axis=0)

# %%
# Left: the error of the imputed values. A value of 1 is that of the mean of the complete column.
# Right: the mean of each of the 13 columns once it is filled in, which is 0 in the complete table,
# if large values are missing more often.

colors = ["0.7", "C1", "C0"]
figure, (left, right) = plt.subplots(
    1, 2, figsize=(9.5, 4), width_ratios=(2, 1), layout="constrained"
)
errors.plot.bar(ax=left, rot=0, width=0.8, color=colors, legend=False)
left.axhline(1, color="black", linestyle="--", linewidth=1, zorder=0)
left.set(xlabel="values are missing", ylabel="root mean squared error")
left.legend(frameon=False, loc="upper left")

for x, (name, color) in enumerate(zip(imputers, colors, strict=True)):
    points = means["mnar", name]
    right.scatter(x + np.linspace(-0.2, 0.2, len(points)), points, color=color, s=25)
    right.hlines(points.mean(), x - 0.3, x + 0.3, color="black")
right.axhline(0, color="black", linestyle="--", linewidth=1)
right.set_xticks(range(3), ["KNN", '"mar"', '"auto"'])
right.set(xlabel="imputer", ylabel="mean of a filled column")
plt.show()

# %%
# ``mechanism="auto"`` corrects for values that are missing the more often, the larger they are, and
# costs nothing where they are missing at random. Where all values beyond a limit are missing,
# nothing in the column tells how far beyond they are: all imputers are worse than the mean of the
# complete column, which nobody has.

"""
Estimate coefficients from incomplete data
==========================================

A regression on incomplete data can use complete samples only, or fill in the missing values.
Filled-in values look as certain as observed ones. `skae.PooledEstimator` draws several completed
tables, and its intervals include the uncertainty of the missing values.
"""

# %%
# Four columns of the diabetes data are standardised, and 30 % of their values are removed at
# random. Few samples stay complete.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import stats
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderImputer, PooledEstimator, make_missing

columns = ["bmi", "bp", "s3", "s5"]
X, y = load_diabetes(return_X_y=True, as_frame=True)
X = StandardScaler().set_output(transform="pandas").fit_transform(X[columns])
X_missing = make_missing(X, "mcar", 0.3, random_state=0)
is_complete = X_missing.notna().all(axis=1)
print(f"{is_complete.sum()} of {len(X)} samples are complete")


def least_squares(X, y):
    """Return the coefficients and the half lengths of their 95 % intervals."""
    model = LinearRegression().fit(X, y)
    df = len(X) - X.shape[1] - 1
    variance = ((y - model.predict(X)) ** 2).sum() / df
    covariance = variance * np.linalg.inv((X - X.mean()).T @ (X - X.mean()))
    return model.coef_, stats.t.ppf(0.975, df) * np.sqrt(np.diag(covariance))


# %%
# Four analyses: of all values, which nobody has; of complete samples; of values filled in once; and
# pooled over ten tables.

filled = AutoencoderImputer(max_iter=40, random_state=0).fit_transform(X_missing)
model = PooledEstimator(
    LinearRegression(), AutoencoderImputer(max_iter=20), n_imputations=10, random_state=0
)
pooled = model.fit(X_missing, y).pool_coefficients()

results = {
    "all values (unknown)": least_squares(X, y),
    "complete samples only": least_squares(X_missing[is_complete], y[is_complete]),
    "filled in once": least_squares(pd.DataFrame(filled, columns=columns), y),
    "pooled over ten tables": (pooled.estimate[:-1], (pooled.high - pooled.low)[:-1] / 2),
}

# %%
# Black is what the others try to find out.


figure, ax = plt.subplots(figsize=(7.5, 4), layout="constrained")
for i, (name, (coef, half)) in enumerate(results.items()):
    places = np.arange(len(columns)) + 0.16 * (i - 1.5)
    color = "black" if i == 0 else f"C{i - 1}"
    ax.errorbar(places, coef, half, fmt="o", markersize=4, capsize=3, color=color, label=name)
ax.axhline(0, color="0.7", linewidth=1, zorder=0)
ax.set_xticks(np.arange(len(columns)), columns)
ax.set_ylabel("coefficient with its 95 % interval")
ax.legend(frameon=False)
plt.show()

# %%
# Complete samples are a quarter of the table: their intervals are more than twice as long, and
# their coefficients far from those of all values. Values that are filled in once bring most of the
# information back, but their intervals are too short: they count guesses as observations. The
# pooled coefficients are about as far away, and their intervals longer by what is not known about
# the guesses. The difference grows with the share of the missing values.

table = pd.DataFrame(
    {
        "mean distance from all values": np.abs(coef - results["all values (unknown)"][0]).mean(),
        "mean length of the intervals": 2 * half.mean(),
    }
    for coef, half in results.values()
)
print(table.set_axis(results).round(1).to_string())

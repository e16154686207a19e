"""
Fill in a survey
================

Answers are missing from a survey of numbers, ordered and unordered categories and booleans.
`skae.AutoencoderImputer` takes the DataFrame as it is, fills it in, and says how certain it is.
"""

# %%
# The survey is synthetic. Income depends on age, education and region. People with a high income
# own a home more often. Fifteen percent of all answers are missing.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skae import AutoencoderImputer, make_missing
from skae.displays import OverimputationDisplay

rng = np.random.default_rng(0)
n = 1500
level = rng.integers(0, 3, n)
in_city = rng.random(n) < 0.4
age = rng.integers(20, 75, n)
log_income = 2.7 + 0.3 * level + 0.25 * in_city - ((age - 55) / 45) ** 2
income = np.exp(log_income + 0.15 * rng.normal(size=n))
survey = pd.DataFrame({"age": age, "income": income.round(1)})  # in thousands
degrees = ["school", "college", "university"]
survey["education"] = pd.Categorical.from_codes(level, degrees, ordered=True)
survey["region"] = np.where(in_city, "city", np.where(rng.random(n) < 0.5, "coast", "country"))
chance = 1 / (1 + np.exp(-(log_income - 2.7) / 0.15))
survey["owner"] = pd.array(rng.random(n) < chance, dtype="boolean")
survey["age"] = survey["age"].astype("Int64")

answers = make_missing(survey, "mcar", 0.15, random_state=0).astype(survey.dtypes)
train, new = answers[:1000], answers[1000:]

# %%
# The imputer learns from incomplete rows and completes new ones, with the same columns and dtypes.

imputer = AutoencoderImputer(max_iter=60, random_state=0).fit(train)
filled = imputer.transform(new)
print(new.head(), filled.head().round(1), sep="\n\n")

# %%
# How good is it? ``over_impute`` hides answers that are known, of rows that were not in the
# training. It compares the error with that of the mean of the column, and the accuracy with that of
# its most frequent category. Income and education gain most. The region is hardly better than the
# most frequent one: the other answers say little about it.

report = imputer.over_impute(new, fraction=0.2, random_state=0)
print(report.round(2).to_string())

# %%
# Intervals are made to contain the hidden answer in 90 % of the cases. Age is hard to guess from
# the other answers, and its intervals are as wide as the column.

OverimputationDisplay.from_estimator(
    imputer, new, fraction=0.4, random_state=0, per_column=True, max_cells=150
)
plt.show()

# %%
# The most uncertain incomes of the survey are those to ask for again. ``sample`` draws complete
# tables, whose spread is the uncertainty of an answer.

draws = imputer.sample(new, n_imputations=30, random_state=0)
incomes = np.array([table["income"] for table in draws])
low, high = np.quantile(incomes, [0.05, 0.95], axis=0)
is_missing = new["income"].isna().to_numpy()
widest = np.argsort(np.where(is_missing, high - low, 0))[-3:]
print(new.iloc[widest].assign(low=low[widest], high=high[widest]).round(1))

"""
Fit to rows that are on a dask cluster
======================================

The readings of a machine are stored day by day, on the workers of a dask cluster. An autoencoder
learns how they depend on each other in the first weeks, and watches the days after. Only a few
numbers of each day reach this process.
"""

# %%
# The cluster of this example consists of two threads, which start quickly. Everything below is the
# same for ``Client("tcp://scheduler:8786")`` and workers on other machines.

import dask.array as da
import matplotlib.pyplot as plt
import numpy as np
from dask import delayed
from distributed import Client

from skae import Autoencoder
from skae.dask import fit, score_samples

client = Client(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0")

# %%
# A day has 5,000 rows. Two hidden quantities, the load of the machine and the temperature outside,
# determine eight readings through curved functions; noise is added. After day 25, sensor 3 loses
# 1.5 % of its sensitivity each day. On day 32, sensor 6 reports one value for 3 % of the time.
# ``delayed`` leaves it to the workers to make a day, or to read it from a file.

N_DAYS, N_ROWS, N_SENSORS = 40, 5_000, 8
angles = np.linspace(0, np.pi, N_SENSORS, endpoint=False)


def readings_of(day):
    rng = np.random.default_rng(day)
    mixed = rng.uniform(-1, 1, (N_ROWS, 2)) @ [np.cos(angles), np.sin(angles)]
    readings = np.tanh(2 * mixed) + 0.6 * mixed**2 + 0.05 * rng.normal(size=mixed.shape)
    readings[:, 2] *= 1 - 0.015 * max(0, day - 25)
    if day == 32:
        readings[1000:1150, 5] = readings[1000, 5]
    return readings.astype(np.float32)


days = range(1, N_DAYS + 1)
shape = (N_ROWS, N_SENSORS)
X = da.concatenate([da.from_delayed(delayed(readings_of)(d), shape, np.float32) for d in days])
X = X.persist()  # the workers keep the days that they have made
print(f"{len(X):,} rows in {X.npartitions} parts")

# %%
# ``fit`` trains on the first 20 days. Each worker computes the part of each batch that it holds,
# and the gradients are summed; the rows stay where they are. The result is an ordinary autoencoder.

n_train = 20
model = fit(Autoencoder(2, batch_size=2_000, max_iter=10, random_state=0), X[: n_train * N_ROWS])
print(f"{model}, best epoch {model.best_epoch_} of {model.n_iter_}")

# %%
# ``score_samples`` returns a dask array: minus the mean squared error of each row, computed where
# the row is. Of each day, three quantiles of the error are sent here.

LEVELS = [0.5, 0.9, 0.99]


def quantiles(scores):
    return np.quantile(-scores, LEVELS)[None]


errors = score_samples(model, X)
by_day = errors.map_blocks(quantiles, chunks=(1, len(LEVELS)), new_axis=1).compute()
client.close()

figure, ax = plt.subplots(figsize=(7.5, 4), layout="constrained")
ax.axvspan(0.5, n_train + 0.5, color="0.94")
ax.text(1, 0.065, "training", color="0.4")
for level, values, color in zip(LEVELS, by_day.T, ("C0", "C2", "C1"), strict=True):
    ax.axhline(values[:n_train].max(), color=color, lw=0.8, ls=":")
    ax.plot(days, values, "o-", ms=3.5, color=color)
    ax.text(1, 1.2 * values[0], f"{100 * level:.0f} % of the rows are below", color=color)
ax.set(xlabel="day", ylabel="mean squared error of a row", xlim=(0.5, N_DAYS + 0.5))
ax.set_yscale("log", base=2)
ax.set_yticks(ticks := [0.002, 0.005, 0.01, 0.02, 0.05], [f"{tick:g}" for tick in ticks])
plt.show()

# %%
# The dotted lines are the maxima of the training days. The wear shows after two days, first in the
# median, as it concerns all rows. The value that stands still on day 32 concerns few rows, and
# shows in the highest quantile only.

"""
Fit to a file that is larger than memory
========================================

``numpy.memmap`` opens a file as an array, of which the operating system reads only what is used.
Every autoencoder is fitted to such an array batch by batch.
"""

# %%
# The file of this example has only 128 MB, so that it is written quickly: pulses of different
# position and width, with noise. Nothing below depends on its size.

import tempfile
import tracemalloc
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from skae import Autoencoder
from skae.displays import LossCurveDisplay

folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "pulses.dat"
shape = (250_000, 128)
pulses = np.memmap(path, dtype=np.float32, mode="w+", shape=shape)
rng = np.random.default_rng(0)
time = np.linspace(0, 1, shape[1], dtype=np.float32)
for start in range(0, len(pulses), 10_000):
    position, width = rng.uniform((0.3, 0.1), (0.7, 0.2), (10_000, 2)).astype(np.float32).T
    pulse = np.exp(-(((time - position[:, None]) / width[:, None]) ** 2))
    pulses[start : start + 10_000] = pulse + 0.05 * rng.standard_normal(pulse.shape, np.float32)
pulses.flush()

# %%
# ``fit`` takes the file, opened for reading. ``tracemalloc`` measures the memory of numpy's arrays.
# Tensors of torch, one batch at a time, are not counted.

X = np.memmap(path, dtype=np.float32, mode="r", shape=shape)
settings = {"hidden_layer_sizes": (64, 32), "batch_size": 1024, "random_state": 0}
autoencoder = Autoencoder(2, max_iter=5, **settings)
autoencoder.partial_fit(X[:100])  # loads the libraries, whose memory is not counted
tracemalloc.start()
autoencoder.fit(X)
peak = tracemalloc.get_traced_memory()[1]
print(f"{path.stat().st_size / 1e6:.0f} MB in the file, at most {peak / 1e6:.0f} MB in memory")

# %%
# With that many rows, five passes are enough to leave PCA, the dotted line, far behind, and the
# loss of validation rows is that of training rows: the network does not overfit.

LossCurveDisplay.from_estimator(autoencoder)
plt.show()

# %%
# ``transform`` reads the file in parts, too. Its result, two numbers for each row, is small.
# Reconstructions are as large as the file: they are computed for some rows at a time.

tracemalloc.reset_peak()
codes = autoencoder.transform(X)
print(f"transform: at most {tracemalloc.get_traced_memory()[1] / 1e6:.0f} MB")
tracemalloc.stop()

parts = [X[start : start + 25_000] for start in range(0, len(X), 25_000)]
errors = [np.mean((autoencoder.reconstruct(part) - part) ** 2) for part in parts]
print(f"mean squared error {np.mean(errors):.5f}, variance of the noise {0.05**2:.5f}")

# %%
# Data that arrive in parts and are never in one file are learned by ``partial_fit``. It takes one
# pass over each part, starts at the PCA of the first one, and holds no samples out.

online = Autoencoder(2, **settings)
for part in parts:
    online.partial_fit(part)
print(f"one pass by partial_fit: {-online.score(parts[0]):.5f}")

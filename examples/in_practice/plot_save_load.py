"""
Save a model and load it
========================

`skae.save` writes a fitted estimator into one file of numbers and text, which cannot run code when
it is loaded. Pipelines with steps of scikit-learn are saved with joblib.
"""

# %%
# A model and its file: arrays are stored as safetensors, everything else as JSON. The loaded model
# returns the same codes, to the bit.

import tempfile
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae
from skae.displays import ReconstructionDisplay

X = load_digits().data
X_train, X_test = X[:1500], X[1500:]
folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "digits.skae"

model = skae.Autoencoder(8, max_iter=20, random_state=0).fit(X_train)
skae.save(model, path)
loaded = skae.load(path)

print(loaded, f"{path.stat().st_size / 1000:.0f} kB", sep="\n")
print("equal codes:", np.array_equal(loaded.transform(X_test), model.transform(X_test)))

# %%
# The loaded model at work on images that it was not fitted to:

ReconstructionDisplay.from_estimator(loaded, X_test, image_shape=(8, 8))
plt.show()

# %%
# Training continues where it stopped: hyperparameters and the state of the optimiser are in the
# file.

loaded.set_params(warm_start=True).fit(X_train)
print(f"test error {-model.score(X_test):.2f}, after further training {-loaded.score(X_test):.2f}")

# %%
# A file may be damaged on its way. Every file has a checksum, and ``load`` says what is wrong.

content = bytearray(path.read_bytes())
content[len(content) // 2] ^= 1  # one bit
path.write_bytes(content)
try:
    skae.load(path)
except ValueError as error:
    print(str(error).replace(str(path), path.name))

# %%
# The scaler of a pipeline is not an estimator of skae. joblib and pickle save the whole pipeline.
# Load such files only if you trust their source: they can run code.

pipeline = make_pipeline(StandardScaler(), skae.Autoencoder(8, max_iter=20, random_state=0))
pipeline.fit(X_train)
joblib.dump(pipeline, path.with_suffix(".joblib"))
again = joblib.load(path.with_suffix(".joblib"))
print("equal codes:", np.array_equal(again.transform(X_test), pipeline.transform(X_test)))

"""
Describe images by a few bits
=============================

How well can an image be reconstructed from 8, 16 or 32 bits? `skae.QuantizedAutoencoder` learns
codes of which each component has one of a few values.
"""

# %%
# With two levels, each component is a bit; with eight, it takes three bits. The baseline is the
# start of the training: signs of rotated principal components (iterative quantisation), or rounded
# ones, with the best linear decoder.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skae import QuantizedAutoencoder
from skae.displays import ReconstructionDisplay

X = load_digits().data / 16
train, test = X[:1300], X[1300:]

models, errors = {}, {}
for levels, n_components in ((2, 8), (2, 16), (2, 32), (8, 3), (8, 5), (8, 11)):
    model = QuantizedAutoencoder(n_components, levels=levels, max_iter=150, random_state=0)
    model.fit(train)
    n_bits = round(n_components * np.log2(levels))
    models[levels, n_bits] = model
    start, best = model.initial_validation_loss_, min(model.validation_loss_curve_)
    errors[levels, n_bits] = start, best
    print(f"{levels} levels, {n_bits:2} bits: error {best:.3f}, of the linear start {start:.3f}")

# %%
# Errors are relative to the variance, on images that were held out. Eleven components with eight
# levels are better than 32 bits: each component keeps a direction in which images differ much. Bits
# are for search, where codes are compared by the number of bits that differ.

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for levels, color in ((2, "C0"), (8, "C1")):
    bits = [n for k, n in errors if k == levels]
    for i, (name, style) in enumerate((("linear start", "--"), ("trained", "-"))):
        values = [errors[levels, n][i] for n in bits]
        ax.plot(bits, values, style, marker="o", color=color, label=f"{levels} levels, {name}")
ax.set(
    xlabel="bits for each image", ylabel="relative error", ylim=(0, None), xticks=[8, 16, 24, 32]
)
ax.legend()
plt.show()

# %%
# Images from codes of eight levels. The original takes 64 x 4 bits and more.

shown = {f"{n} bits": model for (levels, n), model in models.items() if levels == 8}
ReconstructionDisplay.from_estimators(shown, test, image_shape=(8, 8), n_samples=10)
plt.show()

# %%
# ``codes_to_indices`` returns the numbers of the levels, which an entropy coder or
# ``numpy.packbits`` makes into bytes.

bits = models[2, 32].codes_to_indices(models[2, 32].transform(test))
packed = np.packbits(bits, axis=1)
print(f"{packed.shape[0]} images in {packed.nbytes} bytes")

"""
See whether training has converged
==================================

The loss of validation samples shows whether more epochs would help, whether the learning rate fits,
and how much better than PCA the result is.
"""

# %%
# Every autoencoder holds out validation samples, here a tenth of 1,797 images, and keeps the epoch
# with the lowest loss on them. A loss of 1 is that of the mean image. Dashed lines are the training
# loss, the dotted one is PCA, at which training starts.

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from skae import Autoencoder
from skae.displays import LossCurveDisplay

X = load_digits().data
models = {
    "30 epochs": Autoencoder(8, max_iter=30, random_state=0),
    "30 epochs, learning_rate=1e-4": Autoencoder(
        8, max_iter=30, learning_rate=1e-4, random_state=0
    ),
    "120 epochs": Autoencoder(8, max_iter=120, random_state=0),
}

figure, ax = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
lines = []
for model in models.values():
    display = LossCurveDisplay.from_estimator(model.fit(X), ax=ax)
    lines.append(display.validation_line_)
ax.legend(lines, models)
plt.show()

# %%
# A flat end alone does not mean that training has converged: the learning rate decreases to zero
# over ``max_iter`` epochs, so that every curve ends flat. More epochs tell. With 120 of them, the
# validation loss is lower than with 30. With a learning rate that is too low, the network hardly
# leaves PCA.

for name, model in models.items():
    print(f"{name:30} validation loss {min(model.validation_loss_curve_):.3f}")

# %%
# With few samples, here 400, a network overfits: the training loss decreases further while the
# validation loss increases. Early stopping ends the training some time after that, and
# the epoch with the lowest validation loss is kept. More epochs cannot help, but more samples
# would.

few = Autoencoder(8, random_state=0).fit(X[:400])
LossCurveDisplay.from_estimator(few)
plt.show()

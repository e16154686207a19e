"""
Predict hidden halves of images
===============================

What does the upper half of a digit say about the lower half? A ``MaskedAutoencoder`` learns to
predict hidden patches of an image from visible ones. Hide a part of an image, and it draws what
is likely there.
"""

# %%
# One network is trained to predict each of four halves from the other one. An image is divided
# into four patches, and ``masking`` says which of them may be hidden.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import train_test_split

from skae import MaskedAutoencoder, ViT
from skae.displays import ReconstructionDisplay

X_train, X_test = train_test_split(load_digits().data / 16, test_size=300, random_state=0)
row, column = np.divmod(np.arange(64), 8)
halves = {"lower": row >= 4, "upper": row < 4, "left": column < 4, "right": column >= 4}

architecture = ViT(image_shape=(8, 8), patch_size=4, width=32, n_layers=2, decoder_width=32)
masked = MaskedAutoencoder(
    architecture=architecture, masking=list(halves.values()), max_iter=100, random_state=0
).fit(X_train)

# %%
# The simple alternative is a ridge regression of the hidden on the visible pixels: four of them,
# one for each half.

predictions = {}
for name, hidden in halves.items():
    ridge = RidgeCV(np.logspace(-3, 3, 7)).fit(X_train[:, ~hidden], X_train[:, hidden])
    completed = X_test.copy()
    completed[:, hidden] = ridge.predict(X_test[:, ~hidden])
    predictions[name] = {
        "MaskedAutoencoder": masked.reconstruct(X_test, mask=hidden),
        "RidgeCV": completed,
    }
    errors = [
        np.sqrt(np.mean((x_hat - X_test)[:, hidden] ** 2)) for x_hat in predictions[name].values()
    ]
    print(
        "{:5} half hidden: error {:.3f} by the autoencoder, {:.3f} by ridge".format(name, *errors)
    )

# %%
# The first test images, their hidden lower or left halves in yellow, and the predictions:

figure, axes = plt.subplots(2, figsize=(9, 5.2), layout="constrained")
for ax, name in zip(axes, ["lower", "left"], strict=True):
    ReconstructionDisplay(
        X_test[:10],
        {
            model: np.where(halves[name], x_hat, X_test)[:10]
            for model, x_hat in predictions[name].items()
        },
        image_shape=(8, 8),
        mask=np.broadcast_to(halves[name], (10, 64)),
    ).plot(ax, residuals=False)
    ax.set_title(f"{name} half hidden")
plt.show()

# %%
# Where several digits are possible, a prediction is the mean of what is likely, and therefore
# blurred. With random patches in ``masking``, which is the default, one network predicts any part
# from any other. It needs more data: on these 1,497 images, ridge regression of a half is then
# better.

"""The autoencoder that a detector trains unless another one is given."""

from __future__ import annotations

import numpy as np

from skae.autoencoders import DenoisingAutoencoder
from skae.outlier._loss_criteria import NOISE_LEVELS
from skae.training import budget

N_STEPS = 2000  # of the default autoencoder's training, at most, unless these are few epochs
MIN_STEPS, STEPS_PER_SAMPLE, MIN_EPOCHS = 200, 1.5, 3
LEARNING_RATE = 5e-3  # for `N_STEPS`; fewer steps are larger, by the root of their ratio


def default_denoiser(n_samples: int, max_iter: int | str) -> DenoisingAutoencoder:
    """Return the autoencoder for so many training samples."""
    epochs, learning_rate = default_training(n_samples)
    return DenoisingAutoencoder(
        noise_level=NOISE_LEVELS,
        max_iter=budget.resolve_auto(max_iter, epochs),
        learning_rate=learning_rate,
        early_stopping=False,
    )


def default_training(n_samples: int) -> tuple[int, float]:
    """Return the number of epochs and the learning rate for so many training samples."""
    steps = np.clip(STEPS_PER_SAMPLE * n_samples, min(MIN_STEPS, N_STEPS), N_STEPS)
    steps_per_epoch = max(1, round(n_samples / budget.batch_size(n_samples)))
    max_iter = max(MIN_EPOCHS, round(steps / steps_per_epoch))
    return max_iter, float(LEARNING_RATE * np.sqrt(N_STEPS / steps))

"""Draw the pictures of the variants: python docs/figures.py [NAME ...]."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skae import (
    Autoencoder,
    AutoencoderSearch,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    KSparseAutoencoder,
    LinearAutoencoder,
    MaskedAutoencoder,
    QuantizedAutoencoder,
    VariationalAutoencoder,
    ViT,
)
from skae.displays import (
    ActivationDisplay,
    JacobianDisplay,
    LatentDisplay,
    ReconstructionDisplay,
    RetrievalDisplay,
    SampleDisplay,
)

FOLDER = Path(__file__).parent / "figures"
SHAPE = (8, 8)
DIGITS, LABELS = load_digits(return_X_y=True)
X, X_new, y_new = DIGITS[:1300] / 16, DIGITS[1300:] / 16, LABELS[1300:]


def autoencoder(ax: plt.Axes) -> None:
    """Draw reconstructions by eight components of PCA and of an autoencoder."""
    fitted = {"PCA(8)": PCA(8).fit(X), "Autoencoder(8)": Autoencoder(8, random_state=0).fit(X)}
    ReconstructionDisplay.from_estimators(fitted, X_new, image_shape=SHAPE, n_samples=12, ax=ax)


def linear(ax: plt.Axes) -> None:
    """Draw the principal components."""
    SampleDisplay(LinearAutoencoder(16).fit(X).components_, image_shape=SHAPE).plot(ax)


def sparse(ax: plt.Axes) -> None:
    """Draw the units of a k-sparse autoencoder."""
    model = KSparseAutoencoder(64, n_nonzero_coefs=4, positive_code=True, random_state=0).fit(X)
    ActivationDisplay.from_estimator(model, X_new, image_shape=SHAPE, n_atoms=32, ax=ax)


def denoising(ax: plt.Axes) -> None:
    """Draw noisy digits, and what is made of them."""
    rng = np.random.default_rng(0)
    noisy = X_new + 0.25 * rng.normal(size=X_new.shape)
    denoiser = DenoisingAutoencoder(noise_level=0.25, per_feature=False, random_state=0).fit(X)
    fitted = {"PCA(16)": PCA(16).fit(X), "DenoisingAutoencoder": denoiser}
    shown = {"noisy": noisy[:12]}
    for name, model in fitted.items():
        shown[name] = model.inverse_transform(model.transform(noisy[:12]))
    display = ReconstructionDisplay(X_new[:12], shown, image_shape=SHAPE)
    display.plot(ax, residuals=False)


def contractive(ax: plt.Axes) -> None:
    """Draw a digit and its tangents."""
    model = ContractiveAutoencoder(16, random_state=0).fit(X)
    JacobianDisplay.from_estimator(model, X_new, image_shape=SHAPE, index=5, ax=ax)


def quantized(ax: plt.Axes) -> None:
    """Draw digits from few bits."""
    fitted = {
        f"{3 * k} bits": QuantizedAutoencoder(k, levels=8, random_state=0).fit(X)
        for k in (3, 5, 11)
    }
    ReconstructionDisplay.from_estimators(
        fitted, X_new, image_shape=SHAPE, n_samples=12, ax=ax, residuals=False
    )


def search(ax: plt.Axes) -> None:
    """Draw queries and the digits with the nearest codes of 32 bits."""
    model = AutoencoderSearch(n_bits=32, random_state=0).fit(X)
    RetrievalDisplay.from_estimator(
        model,
        X_new,
        X_stored=X,
        y=y_new,
        y_stored=LABELS[:1300],
        image_shape=SHAPE,
        n_samples=3,
        n_neighbors=9,
        ax=ax,
    )


def variational(ax: plt.Axes) -> None:
    """Draw the plane of codes."""
    model = VariationalAutoencoder(2, random_state=0).fit(X)
    LatentDisplay.from_estimator(model, X_new, y_new, grid=14, image_shape=SHAPE, ax=ax)


def masked(ax: plt.Axes) -> None:
    """Draw the lower half of digits, predicted from the upper half."""
    architecture = ViT(image_shape=SHAPE, patch_size=2)
    model = MaskedAutoencoder(architecture=architecture, max_iter=150, random_state=0).fit(X)
    ReconstructionDisplay.from_estimator(
        model, X_new, image_shape=SHAPE, n_samples=12, mask=np.arange(64) >= 32, ax=ax
    )


FIGURES = {
    autoencoder: (8, 3.6),
    linear: (3.5, 3.5),
    sparse: (8, 3),
    denoising: (8, 2.9),
    contractive: (8, 3),
    quantized: (8, 2.9),
    search: (8, 3.3),
    variational: (9, 4.5),
    masked: (8, 2.2),
}


def main() -> None:
    """Draw the pictures that are named, or all."""
    for draw, size in FIGURES.items():
        if not sys.argv[1:] or draw.__name__ in sys.argv[1:]:
            figure, ax = plt.subplots(figsize=size, layout="constrained")
            draw(ax)
            figure.savefig(FOLDER / f"{draw.__name__}.png", dpi=130)
            plt.close(figure)


if __name__ == "__main__":
    main()

"""Comparisons of the architectures on a GPU with those on the CPU."""

import numpy as np
import pytest
from sklearn.base import clone

from skae import Autoencoder, Conv, FTTransformer, MaskedAutoencoder, ViT
from tests.tables import curve

TRANSFORMER = {"width": 16, "n_layers": 1, "decoder_width": 16}
OPTIONS = {"max_iter": 20, "early_stopping": False, "random_state": 0}


@pytest.mark.gpu
@pytest.mark.parametrize(
    "architecture",
    [Conv((8, 16)), ViT(image_shape=(2, 3), **TRANSFORMER), FTTransformer(**TRANSFORMER)],
    ids=lambda a: type(a).__name__,
)
def test_a_fit_agrees_with_that_on_the_cpu(architecture, rng):
    X = curve(rng)
    model = Autoencoder(2, architecture=architecture, **OPTIONS)
    on_gpu, on_cpu = (clone(model).set_params(device=d).fit(X) for d in ("cuda", "cpu"))
    np.testing.assert_allclose(on_gpu.loss_curve_, on_cpu.loss_curve_, rtol=1e-2)
    codes = on_gpu.transform(X)
    np.testing.assert_allclose(on_gpu.set_params(device="cpu").transform(X), codes, atol=1e-10)


@pytest.mark.gpu
@pytest.mark.parametrize("masking", ["random", "block", np.eye(6, dtype=bool)])
def test_a_masked_autoencoder_learns_as_on_the_cpu(masking, rng):
    """Masks are drawn by another generator, so that fits agree in distribution only."""
    X = curve(rng)
    X[rng.random(X.shape) < 0.05] = np.nan
    model = MaskedAutoencoder(architecture=FTTransformer(**TRANSFORMER), masking=masking, **OPTIONS)
    on_gpu, on_cpu = (clone(model).set_params(device=d).fit(X) for d in ("cuda", "cpu"))
    np.testing.assert_allclose(on_gpu.loss_curve_[-1], on_cpu.loss_curve_[-1], rtol=0.2)
    results = [on_gpu.transform(X), on_gpu.reconstruct(X), on_gpu.score_samples(X)]
    moved = on_gpu.set_params(device="cpu")
    for a, b in zip(
        results, [moved.transform(X), moved.reconstruct(X), moved.score_samples(X)], strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-9)

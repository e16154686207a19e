import math
import pickle

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import skae
from skae import Autoencoder, Conv
from skae.architectures._images import resolve_image_shape
from skae.extension import check_autoencoder
from skae.training import seeded

SHORT = {"max_iter": 2, "random_state": 0}
SHAPES = [(1, 1), (1, 2), (3, 1), (1, 3), (2, 2), (3, 3), (4, 5), (5, 7, 3), (1, 9, 2)]
SMALL = Conv((4, 6), image_shape=(2, 3))
VARIANTS = [
    *(Autoencoder(2, loss=loss) for loss in ("absolute_error", "log_loss", "poisson")),
    Autoencoder(2, init="random", linear_shortcut=False),
    skae.SparseAutoencoder(4),
    skae.KSparseAutoencoder(4, n_nonzero_coefs=2, mask_ratio=0.3),
    skae.DenoisingAutoencoder(3),
    skae.DenoisingAutoencoder(noise="masking", noise_level=(0.1, 0.5)),
    skae.ContractiveAutoencoder(2),
    skae.ContractiveAutoencoder(5, tied=False),
    skae.VariationalAutoencoder(2),
    skae.VariationalAutoencoder(2, likelihood="bernoulli", variance="feature"),
    skae.VariationalAutoencoder(2, objective="iwae", n_draws=2, n_importance_draws=3),
]


def build(architecture, *sizes):
    with seeded(0):
        return architecture.build(*sizes)


@pytest.fixture(name="X")
def small_images(rng):
    return rng.uniform(size=(40, 6))


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
@pytest.mark.parametrize("shape", SHAPES)
def test_images_of_any_size_come_back_in_their_size(shape, upsampling):
    d = math.prod(shape)
    for kernel_size in (3, 7):
        conv = Conv(
            (3, 4, 5),
            image_shape=shape,
            kernel_size=kernel_size,
            upsampling=upsampling,
            n_residual_blocks=1,
            hidden_layer_sizes=(7,),
        )
        encoder, decoder = build(conv, d + 2, 4, 3, d)
        assert encoder(torch.zeros(5, d + 2)).shape == (5, 4)
        assert decoder(torch.zeros(5, 3)).shape == (5, d)
        n_layers = sum(p.ndim > 1 for m in (encoder, decoder) for p in m.parameters())
        assert n_layers - 1 == conv._n_layers()  # one is for the two further inputs


def test_encoder_is_correlation_at_every_second_pixel(rng):
    conv = Conv((2,), image_shape=(4, 5, 3), activation="tanh", hidden_layer_sizes=())
    encoder, _ = build(conv, 62, 4, 4, 60)
    X = rng.normal(size=(3, 62)).astype(np.float32)
    weights = {name: p.detach().numpy() for name, p in encoder.named_parameters()}
    kernels, bias, further, dense, last = (
        weights[name]
        for name in ("0.layer.1.weight", "0.layer.1.bias", "0.further.weight", "3.weight", "3.bias")
    )
    images, levels = X[:, :60].reshape(3, 4, 5, 3), X[:, 60:]
    codes = []
    for image, level in zip(images, levels, strict=True):
        maps = [
            sum(correlate2d(image[..., c], kernel[c], "same") for c in range(3))[::2, ::2] + b + a
            for kernel, b, a in zip(kernels, bias, further @ level, strict=True)
        ]
        codes.append(dense @ np.tanh(np.stack(maps, axis=-1)).ravel() + last)
    assert np.allclose(encoder(torch.from_numpy(X)).detach(), codes, atol=1e-5)


def test_shifted_images_have_shifted_maps(rng):
    encoder, _ = build(Conv((3, 4), image_shape=(24, 24)), 576, 2, 2, 576)
    image = np.zeros((24, 24), dtype=np.float32)
    image[8:12, 8:12] = rng.normal(size=(4, 4))
    shifted = np.roll(image, (4, 4), (0, 1))  # two convolutions of stride 2
    maps = encoder[:4](torch.from_numpy(np.stack([image, shifted]).reshape(2, -1)))
    before, after = maps[0][:, 1:5, 1:5], maps[1][:, 2:6, 2:6]  # the border sees zeros beyond it
    assert torch.allclose(before, after, atol=1e-6)
    assert not torch.allclose(before, maps[1][:, 1:5, 1:5], atol=1e-2)


def test_residual_blocks_start_as_the_identity(rng):
    x = torch.from_numpy(rng.normal(size=(3, 35)).astype(np.float32))
    outputs = []
    for n in (0, 2):
        network, _ = build(Conv((4,), image_shape=(5, 7), n_residual_blocks=n), 35, 2, 2, 35)
        outputs.append(network[: 1 + n](x))
    assert torch.equal(*outputs)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:No epoch:skae.AutoencoderWarning")
@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
def test_the_start_is_pca(upsampling):
    X = load_digits().data[:200]
    conv = Conv((4, 8), upsampling=upsampling, n_residual_blocks=1)
    model = Autoencoder(5, architecture=conv, max_iter=1, learning_rate=1e-12, random_state=0)
    model.fit(X)
    assert model.best_epoch_ == 0
    pca = PCA(5).fit(X)
    assert np.allclose(model.reconstruct(X), pca.inverse_transform(pca.transform(X)), atol=1e-4)


@pytest.mark.full
def test_training_improves_on_pca():
    X = load_digits().data
    model = Autoencoder(6, architecture=Conv((8, 16)), max_iter=15, random_state=0).fit(X[:1200])
    pca = PCA(6).fit(X[:1200])
    error = np.square(model.reconstruct(X[1200:]) - X[1200:]).mean()
    of_pca = np.square(pca.inverse_transform(pca.transform(X[1200:])) - X[1200:]).mean()
    assert error < 0.9 * of_pca


@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
@pytest.mark.parametrize("model", VARIANTS, ids=lambda m: type(m).__name__)
def test_every_variant_takes_it(model, X):
    model = clone(model).set_params(architecture=SMALL, **SHORT).fit(X)
    X_missing = np.where(np.arange(6) == 2, np.nan, X)
    for rows in (X, X_missing):
        assert np.isfinite(model.transform(rows)).all()
        assert model.reconstruct(rows).shape == X.shape
        assert np.isfinite(model.score_samples(rows)).all()


@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
def test_the_jobs_take_it(X):
    inner = Autoencoder(2, architecture=SMALL, **SHORT)
    scores = skae.AutoencoderOutlierDetector(inner, random_state=0).fit(X).score_samples(X)
    assert np.isfinite(scores).all()
    X_missing = np.where(np.eye(6, dtype=bool)[np.arange(40) % 6], np.nan, X)
    completed = skae.AutoencoderImputer(inner, random_state=0).fit_transform(X_missing)
    assert np.isfinite(completed).all()


@pytest.mark.parametrize(
    "model",
    [
        Autoencoder(2, architecture=SMALL),
        *(
            pytest.param(model.set_params(architecture=SMALL), marks=pytest.mark.full)
            for model in (clone(model) for model in VARIANTS)
        ),
    ],
    ids=lambda m: type(m).__name__,
)
def test_promises(model):
    check_autoencoder(model)


@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
@pytest.mark.parametrize("shape", [(1, 2), (1, 3)])
def test_images_of_two_and_three_pixels(shape, rng):
    X = rng.uniform(size=(30, shape[1]))
    conv = Conv((4, 4), image_shape=shape, n_residual_blocks=1)
    assert Autoencoder(1, architecture=conv, **SHORT).fit_transform(X).shape == (30, 1)


@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
def test_files_hold_it(X, tmp_path):
    conv = Conv(
        (4, 6), image_shape=[2, 3], upsampling="resize", n_residual_blocks=1, hidden_layer_sizes=5
    )
    model = skae.DenoisingAutoencoder(2, noise_level=(0, 1), architecture=conv, **SHORT).fit(X)
    skae.save(model, tmp_path / "model")
    for again in (skae.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(again.reconstruct(X), model.reconstruct(X))
        assert np.array_equal(again.partial_fit(X).transform(X), clone_of(model, X))


def clone_of(model, X):
    return pickle.loads(pickle.dumps(model)).partial_fit(X).transform(X)


@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
def test_the_budget_of_costly_steps_is_smaller(rng):
    assert Conv()._budget < skae.MLP()._budget
    X = rng.uniform(size=(450, 4))
    model = Autoencoder(1, architecture=Conv((2,)), early_stopping=False, batch_size=1)
    rows = range(len(X))
    assert model._n_epochs(rows, 450, True) == Conv()._budget[1]
    assert model._n_epochs(rows, 10, True) == 400


def test_image_shapes():
    assert resolve_image_shape(None, 784) == (28, 28, 1)
    assert resolve_image_shape(None, 6) == (1, 6, 1)
    assert resolve_image_shape((2, 3), 6) == (2, 3, 1)
    assert resolve_image_shape(np.array([2, 3, 4]), 24) == (2, 3, 4)


@pytest.mark.parametrize("shape", [6, "ab", (6,), (1, 2, 3, 4), (0, 6), (2.0, 3.0), (True, 6)])
def test_what_is_not_an_image_shape_raises(shape):
    with pytest.raises(ValueError, match=r"image_shape must be \(height, width\) or .*; got"):
        resolve_image_shape(shape, 6)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        (Conv(image_shape=(2, 4)), r"image_shape=\(2, 4\) have 8 values, but there are 6 columns"),
        (Conv(()), "'channels' parameter is empty"),
        (Conv((4, 0)), "'channels' parameter must hold positive integers"),
        (Conv(kernel_size=4), "kernel_size must be odd, such as 3 or 5; got 4"),
        (Conv(hidden_layer_sizes=(-1,)), "'hidden_layer_sizes' parameter must hold positive int"),
        (Conv(upsampling="linear"), "'upsampling' parameter of Conv must be a str among"),
    ],
)
def test_bad_parameters_raise(architecture, message, X):
    with pytest.raises(ValueError, match=message):
        Autoencoder(2, architecture=architecture, **SHORT).fit(X)


def test_an_encoder_without_all_pixels_raises():
    with pytest.raises(ValueError, match=r"all their 6 values as inputs, .* got 5 inputs"):
        build(Conv(), 5, 2, 2, 6)

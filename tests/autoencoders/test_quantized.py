import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skae import QuantizedAutoencoder
from skae.autoencoders import _quantized
from skae.autoencoders._binary_code import rotation_to_signs
from skae.data import Batch
from skae.training import seeded

X = load_digits().data / 16
TRAIN, TEST = X[:1300], X[1300:]
START = {"max_iter": 1, "early_stopping": False, "random_state": 0}


def at_start(**params):
    return QuantizedAutoencoder(**START | params)._fit_start(TRAIN)


def relative_error(model, X):
    return np.mean((model.reconstruct(X) - X) ** 2) / np.mean((X - TRAIN.mean(0)) ** 2)


@pytest.mark.parametrize("levels", [2, 3, 8])
def test_codes_are_on_the_grid_and_indices_are_their_numbers(levels):
    model = QuantizedAutoencoder(6, levels=levels, max_iter=20, random_state=0).fit(TRAIN)
    Z = model.transform(TEST)
    indices = model.codes_to_indices(Z)
    assert indices.dtype == np.uint8
    np.testing.assert_allclose(Z, np.linspace(-1, 1, levels)[indices], atol=1e-12)
    np.testing.assert_array_equal(model.indices_to_codes(indices), Z)
    assert set(np.unique(indices)) == set(range(levels))
    np.testing.assert_allclose(model.inverse_transform(Z), model.reconstruct(TEST), atol=1e-6)


def test_levels_have_equal_widths_after_tanh():
    model = QuantizedAutoencoder(levels=4)
    squashed = torch.tensor([-0.99, -0.51, -0.49, -0.01, 0.01, 0.49, 0.51, 0.99])
    code = model._code(None, torch.atanh(squashed))
    expected = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]) * 2 / 3 - 1
    torch.testing.assert_close(code, expected)
    extreme = model._code(None, torch.tensor([-1e9, 1e9]))
    assert extreme.tolist() == [-1, 1]


@pytest.mark.parametrize("quantization", ["straight_through", "noise"])
def test_the_gradient_passes_the_rounding(quantization):
    model = QuantizedAutoencoder(levels=4, quantization=quantization)
    module = torch.nn.Module().train()
    h = torch.linspace(-2, 2, 9)[:, None].requires_grad_()

    class Half:
        def uniform(self, *shape):
            return torch.full(shape, 0.75)

    batch = Batch(h, None, torch.ones(9), torch.ones(()), random=Half())
    z = model._sample(module, batch, h)
    (gradient,) = torch.autograd.grad(z.sum(), h)
    torch.testing.assert_close(gradient, (1 - h.tanh() ** 2) * 4 / 3)
    if quantization == "noise":  # half of half a level, which is 2/3 wide
        torch.testing.assert_close(z, h.tanh() * 4 / 3 + 0.5 / 3)
        module.eval()
    z = model._sample(module, batch, h)
    torch.testing.assert_close(z, model._code(module, h))


@pytest.mark.parametrize("levels", [2, 5])
def test_the_start_is_decoded_by_least_squares(levels):
    model = at_start(n_components=8, levels=levels)
    Z = np.column_stack([model.transform(TRAIN), np.ones(len(TRAIN))])
    best = Z @ np.linalg.lstsq(Z, TRAIN, rcond=None)[0]
    np.testing.assert_allclose(model.reconstruct(TRAIN), best, atol=2e-3)


def test_bits_at_the_start_are_those_of_iterative_quantisation():
    model = at_start(n_components=8)
    V = PCA(8).fit_transform(TRAIN)
    H = model.module_.encode(torch.tensor((TRAIN - model.mean_) / model.scale_).float())
    axes = np.linalg.lstsq(V, H.detach().numpy(), rcond=None)[0]
    axes /= np.linalg.norm(axes, axis=0)  # a rotation of the principal components
    np.testing.assert_allclose(axes.T @ axes, np.eye(8), atol=1e-3)

    def loss(R):
        return np.mean((np.sign(V @ R) - V @ R) ** 2)

    R = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    assert loss(axes) < min(loss(np.eye(8)), loss(R))
    other = PCA(8).fit(TRAIN)
    signs = np.column_stack([np.sign(V), np.ones(len(V))])
    by_signs = signs @ np.linalg.lstsq(signs, TRAIN, rcond=None)[0]
    assert relative_error(model, TRAIN) < 0.97 * np.mean((by_signs - TRAIN) ** 2) / np.mean(
        (TRAIN - other.mean_) ** 2
    )


def test_the_start_holds_the_codes_of_some_samples_only(monkeypatch):
    whole = at_start(n_components=4)
    monkeypatch.setattr(_quantized, "MAX_ROWS", 650)
    seen = []
    monkeypatch.setattr(
        _quantized,
        "rotation_to_signs",
        lambda V, weight: seen.append((len(V), len(weight))) or rotation_to_signs(V, weight),
    )
    half = at_start(n_components=4)
    assert seen == [(650, 650)]
    assert relative_error(half, TRAIN) == pytest.approx(relative_error(whole, TRAIN), rel=0.05)


def test_a_rotated_cube_is_found():
    rng = np.random.default_rng(0)
    corners = np.sign(rng.normal(size=(500, 4)))
    R = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    with seeded(0):
        found = rotation_to_signs(torch.tensor(corners @ R), torch.ones(500)).numpy()
    np.testing.assert_allclose(np.abs(R @ found).round(5), np.abs(np.rint(R @ found)), atol=1e-4)


@pytest.mark.parametrize("levels", [2, 8])
def test_training_improves_on_the_linear_code(levels):
    model = QuantizedAutoencoder(16, levels=levels, max_iter=60, random_state=0).fit(TRAIN)
    assert model.best_epoch_ > 0
    assert relative_error(model, TEST) < 0.95 * relative_error(
        at_start(levels=levels, n_components=16), TEST
    )


def test_more_bits_than_columns():
    model = at_start(n_components=100)
    assert model.transform(TEST).shape == (len(TEST), 100)
    assert (np.abs(model.transform(TEST).mean(0)) < 1).mean() > 0.9  # few bits are constant
    assert relative_error(model, TEST) < relative_error(at_start(n_components=32), TEST)


def test_hidden_cells_make_codes_of_similar_samples_similar():
    plain, masked = (
        QuantizedAutoencoder(32, mask_ratio=ratio, max_iter=40, random_state=0).fit(TRAIN)
        for ratio in (0.0, 0.5)
    )
    kept = np.random.default_rng(0).random(TEST.shape) < 0.8
    damaged = np.where(kept, TEST, TRAIN.mean(0))

    def changed(model):
        return (model.transform(TEST) != model.transform(damaged)).mean()

    assert changed(masked) < 0.9 * changed(plain)


def test_what_is_not_on_the_grid_is_refused():
    model = at_start(n_components=3, levels=4)
    with pytest.raises(ValueError, match="not on the grid of the codes; pass what transform"):
        model.codes_to_indices([[0.1, -1, 1]])
    with pytest.raises(ValueError, match="not on the grid"):
        model.codes_to_indices([[2.0, -1, 1]])
    for wrong in ([[0, 1, 4]], [[-1, 0, 0]], [[0.0, 1.0, 2.0]]):
        with pytest.raises(ValueError, match="indices must be integers from 0 to 3"):
            model.indices_to_codes(wrong)
    for levels in (1, 2.5, 2**17):
        with pytest.raises(ValueError, match="'levels' parameter"):
            QuantizedAutoencoder(levels=levels).fit(TRAIN)


def test_the_name_of_the_start_is_in_the_warning():
    noise = np.random.default_rng(0).normal(size=(60, 5))
    for levels, name in ((2, "iterative quantisation"), (5, "quantised PCA")):
        with pytest.warns(match=f"so the fit is {name}"):
            QuantizedAutoencoder(5, levels=levels, max_iter=3, random_state=0).fit(noise)


def test_neighbors_as_targets_make_codes_of_a_class_similar():
    y = load_digits().target
    shares = []
    for n_neighbors in (None, 10):
        model = QuantizedAutoencoder(16, n_neighbors=n_neighbors, max_iter=40, random_state=0)
        B, Q = (model.fit(TRAIN).transform(part) for part in (TRAIN, TEST))
        nearest = np.argsort((Q[:, None] != B[None]).sum(2), axis=1, kind="stable")[:, :10]
        shares.append((y[:1300][nearest] == y[1300:, None]).mean())
    assert shares[0] + 0.05 < shares[1] < 1


def test_a_resumed_fit_has_neighbors_as_targets():
    model = QuantizedAutoencoder(8, n_neighbors=5, warm_start=True, **START)
    model.set_params(max_iter=3)
    model.fit(TRAIN[:200])
    assert model.fit(TRAIN[:200]).n_iter_ == 6
    assert model.partial_fit(TRAIN[200:300]).n_iter_ == 7

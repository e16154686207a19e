import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import skae
from skae import FTTransformer, MaskedAutoencoder, ViT
from skae.autoencoders._masked_code import least_squares, principal_code
from skae.autoencoders._masked_networks import Visible
from skae.autoencoders._masking import complementary, resolve_masks
from skae.data import Batch, Random
from skae.extension import check_autoencoder
from skae.training import total_of

SMALL = {"width": 8, "n_layers": 1, "n_heads": 2, "decoder_width": 8}


@pytest.fixture(scope="module")
def X():  # noqa: N802
    rng = np.random.default_rng(0)
    t = rng.normal(size=(120, 2))
    return t @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(120, 6))


@pytest.fixture(scope="module")
def fitted(X):
    architecture = FTTransformer(**SMALL)
    return MaskedAutoencoder(architecture=architecture, max_iter=5, random_state=0).fit(X)


def batch_of(model, X):
    x, observed = model._conditioning.apply(X, torch.float32)
    x.requires_grad_()
    return Batch(x, observed, torch.ones(len(x)), torch.zeros(()), random=Random(0, x.detach()))


def loss_of(model, batch):
    model.module_.objective = model._objective
    return total_of(model.module_(batch))


@pytest.mark.parametrize("masking", ["random", "block"])
def test_the_loss_is_that_of_hidden_tokens(X, masking):
    model = MaskedAutoencoder(
        architecture=ViT(image_shape=(2, 3), **SMALL), mask_ratio=0.5, masking=masking, max_iter=1
    ).fit(X)
    batch = batch_of(model, X)
    masks = model.module_.encoder.masks
    order, _ = masks(batch)
    seen, asked = order[:, : masks.n_visible], order[:, masks.n_visible :]
    encoder, decoder = model.module_.encoder, model.module_.decoder
    tokens = encoder.tokenizer(batch.x)
    for i in (0, 7):  # row by row, with mask tokens among visible ones, as He et al.
        encoded = encoder.transformer(tokens[i : i + 1, seen[i]])
        full = decoder.mask_token.repeat(1, 6, 1)
        full[0, seen[i]] = decoder.entry(encoded)[0]
        full = decoder.positions(full)
        hidden = torch.zeros(1, 6).scatter(1, asked[i : i + 1], 1)
        decoded = decoder.transformer(full, hidden)  # one block: hidden tokens are no keys
        predicted = decoder.cells(decoded)[0, :, 0]
        expected = (predicted - batch.x[i]).square()[asked[i]].mean()
        fresh = batch._replace(random=Random(0, batch.x.detach()))
        torch.testing.assert_close(loss_of(model, fresh)[i], expected, rtol=1e-4, atol=1e-5)


def test_visible_targets_do_not_change_the_gradient(fitted, X):
    x = batch_of(fitted, X).x.detach()
    order, _ = fitted.module_.encoder.masks(batch_of(fitted, X))
    seen, asked = order[:, :3], order[:, 3:]
    hidden = torch.ones_like(x).scatter(1, seen, 0)

    def gradient(targets):
        """Return the gradient of all weights, with the same inputs."""
        module = copy.deepcopy(fitted.module_)
        batch = batch_of(fitted, X)
        predicted = fitted._predicted(module, batch, asked, Visible(seen, None))
        fitted._loss_of(module, batch._replace(x=targets), asked, predicted).sum().backward()
        return [p.grad for p in module.parameters() if p.grad is not None]

    gradients = gradient(x)
    for a, b in zip(gradients, gradient(x + 3 * (1 - hidden)), strict=True):
        assert torch.equal(a, b)
    assert not all(map(torch.equal, gradients, gradient(x + 3 * hidden)))


def test_hidden_cells_are_not_seen(fitted, X):
    """Their gradient is that of targets, 2 (x - prediction) / n, alone."""
    batch = batch_of(fitted, X)
    loss_of(fitted, batch).sum().backward()
    again = batch_of(fitted, X)
    masks = fitted.module_.encoder.masks
    order, _ = masks(again)
    seen, asked = order[:, : masks.n_visible], order[:, masks.n_visible :]
    predicted = fitted._predicted(fitted.module_, again, asked, Visible(seen, None))[:, :, 0]
    expected = 2 * (batch.x.gather(1, asked) - predicted) / masks.n_hidden
    torch.testing.assert_close(batch.x.grad.gather(1, asked), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["random", "block", "given"])
def test_masks_hide_what_they_should(kind):
    layout = ViT(image_shape=(4, 6), patch_size=1).layout(24)
    given = np.zeros((2, 4, 6), dtype=bool)
    given[0, :2, :3] = given[1, 2:, 3:] = True
    masking = given.reshape(2, 24) if kind == "given" else kind
    masks = resolve_masks(masking, 0.25, layout, auto=False)
    x = torch.zeros(400, 24)
    order, hidden = masks(Batch(x, None, x[:, 0], x[0, 0], random=Random(0, x)))
    assert masks.n_visible == 18
    assert (order.sort(1).values == torch.arange(24)).all()
    if hidden is None:
        hidden = torch.ones(400, 24).scatter(1, order[:, :18], 0)
    assert (hidden.sum(1) == 6).all()
    assert (hidden.gather(1, order[:, :18]) == 0).all()
    images = hidden.reshape(400, 4, 6).numpy()
    if kind == "random":
        np.testing.assert_allclose(images.mean(0), 0.25, atol=0.09)
    if kind == "block":
        rows, columns = images.any(2).sum(1), images.any(1).sum(1)
        assert (rows * columns == 6).all()
        assert (images.mean(0) > 0).all()
    if kind == "given":
        which = (images[:, None] == given).all((2, 3))
        assert (which.sum(1) == 1).all()
        assert (which.mean(0) > 0.4).all()


@pytest.mark.parametrize("masking", ["random", "block", np.eye(6, dtype=bool)])
def test_masks_are_those_of_float64_too(masking, X):
    options = {"masking": masking, "mask_ratio": 0.5, "max_iter": 2, "random_state": 0}
    model = MaskedAutoencoder(architecture=FTTransformer(**SMALL), **options)
    torch.set_default_dtype(torch.float64)
    try:
        curve = model.fit(X).loss_curve_
    finally:
        torch.set_default_dtype(torch.float32)
    assert np.isfinite(curve).all()
    assert curve[1] < 1.5


def test_given_masks_may_hide_different_numbers():
    layout = FTTransformer().layout(3)
    masks = resolve_masks(np.array([[1, 1, 0], [0, 1, 0]], dtype=bool), 0.5, layout, auto=False)
    x = torch.zeros(9, 3)
    order, hidden = masks(Batch(x, None, x[:, 0], x[0, 0], random=Random(0, x)))
    assert masks.n_visible == 2
    assert (hidden.gather(1, order[:, :1]) == 0).all()
    assert set(hidden.gather(1, order[:, 1:2]).ravel().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(("n_tokens", "ratio"), [(16, 0.75), (16, 0.3), (2, 0.1), (7, 0.5)])
def test_complementary_masks_hide_each_token_once(n_tokens, ratio):
    sets = complementary(n_tokens, ratio)
    assert sorted(np.concatenate(sets)) == list(range(n_tokens))
    assert all(0 < len(s) < n_tokens for s in sets)


def test_the_score_is_the_error_of_reconstruct(fitted, X):
    error = ((fitted.reconstruct(X) - X) ** 2).mean(1)
    np.testing.assert_allclose(fitted.score_samples(X), -error, rtol=1e-10)


def test_a_cell_does_not_influence_its_own_reconstruction(fitted, X):
    changed = X.copy()
    changed[:, 2] += 10
    a, b = fitted.reconstruct(X), fitted.reconstruct(changed)
    np.testing.assert_allclose(a[:, 2], b[:, 2], rtol=1e-10)
    assert (a != b).any()


def test_reconstruct_with_a_mask(fitted, X):
    mask = np.random.default_rng(0).random(X.shape) < 0.3
    filled = fitted.reconstruct(X, mask=mask)
    assert np.array_equal(filled[~mask], X[~mask])
    changed = np.where(mask, 1e6, X)
    assert np.array_equal(fitted.reconstruct(changed, mask=mask), filled)
    missing = np.where(mask, np.nan, X)
    assert np.array_equal(fitted.reconstruct(missing)[mask], filled[mask])
    columns = np.arange(6) == 1
    assert np.array_equal(
        fitted.reconstruct(X, mask=columns),
        fitted.reconstruct(X, mask=np.broadcast_to(columns, X.shape)),
    )


@pytest.mark.full
def test_masked_cells_are_predicted_better_than_by_the_mean(X):
    model = MaskedAutoencoder(
        architecture=FTTransformer(width=16, n_layers=1), max_iter=80, random_state=0
    ).fit(X)
    mask = np.arange(6) == 3
    error = (model.reconstruct(X, mask=mask) - X)[:, 3].var()
    assert error < 0.5 * X[:, 3].var()


def test_the_code_is_the_principal_components_of_the_tokens(fitted, X):
    tokens = fitted._apply(lambda f, module, batch: module.encoder.tokens(batch.x).flatten(1), X)
    Z, pca = fitted.transform(X), PCA(16).fit(tokens)
    expected = pca.transform(tokens)
    np.testing.assert_allclose(Z.var(axis=0).mean(), 1, rtol=1e-3)
    expected *= np.sign((expected * Z).sum(0)) / np.sqrt(expected.var(axis=0).mean())
    kept = pca.explained_variance_ > 1e-4 * pca.explained_variance_[0]
    assert kept.sum() > 4
    np.testing.assert_allclose(expected[:, kept], Z[:, kept], atol=1e-2)


def test_the_code_of_weighted_rows_is_that_of_repeated_rows():
    rng = np.random.default_rng(0)
    tokens = torch.from_numpy(rng.normal(size=(30, 3, 2)))
    missing = torch.from_numpy((rng.random((30, 3)) < 0.2).astype(float))
    weight = torch.from_numpy(rng.integers(1, 4, 30).astype(float))
    index = torch.from_numpy(np.repeat(np.arange(30), weight.numpy().astype(int)))
    once = principal_code(tokens, missing, weight, 3)
    repeated = principal_code(tokens[index], missing[index], torch.ones(len(index)).double(), 3)
    for a, b in zip(once, repeated, strict=True):
        torch.testing.assert_close(a, b)
    assert torch.allclose(
        once[0][0],
        tokens[missing[:, 0] == 0, 0].T
        @ weight[missing[:, 0] == 0]
        / weight[missing[:, 0] == 0].sum(),
    )


def test_the_inverse_is_the_least_squares_decoder(X):
    model = MaskedAutoencoder(3, architecture=FTTransformer(**SMALL), max_iter=2, random_state=0)
    Z = model.fit_transform(X)
    design = np.column_stack([np.ones(len(X)), Z])
    expected = design @ np.linalg.lstsq(design, X, rcond=None)[0]
    np.testing.assert_allclose(model.inverse_transform(Z), expected, atol=1e-3)


def test_a_rank_deficient_code_has_the_shortest_decoder():
    rng = np.random.default_rng(0)
    codes = torch.from_numpy(rng.normal(size=(50, 2)) @ rng.normal(size=(2, 5)))
    x = torch.from_numpy(rng.normal(size=(50, 3)))
    parts = [(codes[i : i + 20], x[i : i + 20], torch.ones(50)[i : i + 20]) for i in (0, 20, 40)]
    weight, bias = least_squares(parts, lambda total: total)
    centered = codes - codes.mean(0)
    expected = torch.linalg.pinv(centered) @ (x - x.mean(0))
    torch.testing.assert_close(weight, expected.T)
    torch.testing.assert_close(bias, x.mean(0) - codes.mean(0) @ expected)


def test_short_chunks_of_a_stream_keep_the_code(X):
    model = MaskedAutoencoder(2, architecture=FTTransformer(**SMALL), random_state=0)
    axes = [
        model.partial_fit(chunk).module_.encoder.out.weight.detach().clone()
        for chunk in (X[:5], X[5:80], X[80:99])
    ]
    assert not torch.equal(axes[0], axes[1])
    assert torch.equal(axes[1], axes[2])


def test_rows_with_missing_cells_are_those_without_these_tokens(fitted, X):
    """The code of a row with a missing column is that of the other tokens alone."""
    X_missing = X.copy()
    X_missing[:, 4] = np.nan
    kept = [0, 1, 2, 3, 5]

    def code(f, module, batch):
        encoder = module.encoder
        tokens = encoder.center.expand(len(batch.x), -1, -1).clone()
        tokens[:, kept] = encoder.transformer(encoder.tokenizer(batch.x)[:, kept])
        return encoder.out(tokens.flatten(1))

    np.testing.assert_allclose(fitted.transform(X_missing), fitted._apply(code, X), atol=1e-8)
    X_missing[0] = np.nan
    mean = fitted.transform(fitted.mean_[None])
    np.testing.assert_allclose(fitted.transform(X_missing)[:1], mean, atol=1e-8)


def test_normalized_targets_have_no_units(X):
    model = MaskedAutoencoder(
        architecture=FTTransformer(groups=2, **SMALL), normalize_targets=True, max_iter=2
    ).fit(X)
    assert not hasattr(model, "reconstruct")
    with pytest.raises(AttributeError, match="no attribute"):
        model.reconstruct  # noqa: B018
    scaled = MaskedAutoencoder(**model.get_params(deep=False)).set_params(random_state=0)
    a = scaled.fit(X).score_samples(X)
    np.testing.assert_allclose(scaled.fit(5 * X).score_samples(5 * X), a, rtol=1e-3)


def test_a_resumed_fit_has_the_masks_of_its_parameters(X):
    model = MaskedAutoencoder(architecture=FTTransformer(**SMALL), warm_start=True, max_iter=1)
    assert model.fit(X).module_.encoder.masks.n_hidden == 3
    masks = model.set_params(mask_ratio=0.2, masking="block").fit(X).module_.encoder.masks
    assert masks.n_hidden == 1
    assert masks.block == (1, 1)


def test_files_and_pickles(fitted, X, tmp_path):
    skae.save(fitted, tmp_path / "model")
    for other in (skae.load(tmp_path / "model"), pickle.loads(pickle.dumps(fitted))):
        assert np.array_equal(other.transform(X), fitted.transform(X))
        assert np.array_equal(other.reconstruct(X), fitted.reconstruct(X))
        assert other.partial_fit(X).n_iter_ == fitted.n_iter_ + 1


@pytest.mark.full
@pytest.mark.parametrize(
    "model",
    [
        MaskedAutoencoder(architecture=FTTransformer(**SMALL)),
        MaskedAutoencoder(2, architecture=ViT(image_shape=(2, 3), **SMALL), mask_ratio=0.7),
        MaskedAutoencoder(architecture=ViT(image_shape=(1, 3, 2), **SMALL), masking="block"),
        MaskedAutoencoder(
            architecture=FTTransformer(groups=[[0, 3]], **SMALL), masking=np.eye(6, dtype=bool)
        ),
        MaskedAutoencoder(architecture=FTTransformer(groups=3, **SMALL), normalize_targets=True),
    ],
)
def test_promises(model):
    check_autoencoder(model)


@pytest.mark.full
def test_digits_are_learned_in_seconds():
    X = load_digits().data / 16
    architecture = ViT(width=32, n_layers=2, decoder_width=32)
    model = MaskedAutoencoder(
        architecture=architecture, batch_size=32, max_iter=40, random_state=0
    ).fit(X[:1300])
    assert model.validation_loss_curve_[-1] < 0.95 * model.validation_loss_curve_[0]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"mask_ratio": 0.05}, r"mask_ratio=0.05 hides none of the 6 tokens of a row"),
        ({"mask_ratio": 0.95}, r"mask_ratio=0.95 leaves none visible of the 6 tokens"),
        (
            {"architecture": ViT(image_shape=(2, 3), patch_size=(2, 3))},
            r"one token of n_features=6",
        ),
        ({"normalize_targets": True}, r"normalize_targets=True needs tokens of several cells"),
        ({"n_components": 385}, r"n_components=385 is more than the 384 outputs of the encoder"),
        ({"masking": np.ones(6)}, r"A given masking must be boolean"),
        ({"masking": np.ones(5, dtype=bool)}, r"of shape \(6,\) or \(n_masks, 6\)"),
        ({"masking": np.ones(6, dtype=bool)}, r"Mask 0 of the given masking leaves no token"),
        ({"masking": np.zeros(6, dtype=bool)}, r"Mask 0 of the given masking hides no token"),
        ({"architecture": skae.MLP()}, r"The 'architecture' parameter"),
    ],
)
def test_bad_parameters(X, params, message):
    with pytest.raises(ValueError, match=message):
        MaskedAutoencoder(**params).fit(X)


def test_bad_masks_of_reconstruct(fitted, X):
    for mask in (np.ones(5, dtype=bool), np.ones(X.shape), np.ones((3, 6), dtype=bool)):
        with pytest.raises(
            ValueError, match=r"mask must be boolean, of shape \(6,\) or \(120, 6\)"
        ):
            fitted.reconstruct(X, mask=mask)

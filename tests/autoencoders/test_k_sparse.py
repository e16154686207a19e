import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

import skae
from skae import KSparseAutoencoder, SparseAutoencoder
from skae.autoencoders._k_sparse import top, weighted_top
from skae.data import Batch, Random
from skae.model_selection import BatchedGridSearchCV
from skae.training import total_of

PLAIN = {"early_stopping": False, "random_state": 0}


@pytest.fixture(scope="module")
def digits():
    return load_digits().data


@pytest.mark.parametrize("k", [1, 3, 12])
def test_exactly_k_are_kept_the_largest_in_absolute_value(sheet, k):
    model = KSparseAutoencoder(12, n_nonzero_coefs=k, max_iter=3, **PLAIN).fit(sheet)
    Z = model.transform(sheet)
    assert ((Z != 0).sum(1) == k).all()
    with torch.no_grad():
        x = torch.from_numpy((sheet - model.mean_) / model.scale_)
        h = model._module_in(np.dtype(np.float64)).encode(x).numpy()
    kept = Z != 0
    np.testing.assert_allclose(Z[kept], h[kept])
    dropped = np.where(kept, 0, np.abs(h)).max(1)
    assert (np.where(kept, np.abs(h), np.inf).min(1) >= dropped).all()
    assert (Z < 0).any()


@pytest.mark.parametrize("selection", ["row", "batch"])
def test_a_positive_code_keeps_the_largest_as_they_are(digits, selection):
    model = KSparseAutoencoder(
        n_nonzero_coefs=5, positive_code=True, selection=selection, max_iter=9, **PLAIN
    ).fit(digits)
    Z = model.transform(digits)
    assert (Z >= 0).all()
    assert (Z != 0).sum(1).mean() == pytest.approx(5, abs=0.01)
    with torch.no_grad():
        x = torch.from_numpy((digits - model.mean_) / model.scale_)
        h = model._module_in(np.dtype(np.float64)).encode(x).numpy()
    assert (h < -Z.max(axis=1, keepdims=True)).any()  # which the absolute value would have kept
    if selection == "row":
        assert (np.where(Z != 0, h, np.inf).min(1) >= np.where(Z != 0, -np.inf, h).max(1)).all()


def test_default_is_a_tenth_of_the_features(digits):
    model = KSparseAutoencoder(max_iter=1, **PLAIN).fit(digits)
    assert model.transform(digits).shape[1] == 128
    assert ((model.transform(digits) != 0).sum(1) == 6).all()


@pytest.mark.parametrize("over_batch", [False, True])
def test_gradients_flow_through_the_kept_only(rng, over_batch):
    h = torch.from_numpy(rng.normal(size=(5, 7))).requires_grad_()
    weight = torch.tensor([1, 2, 1, 0.5, 1])
    z = weighted_top(h, 2, weight) if over_batch else top(h, 2)
    assert 0 < int((z != 0).sum()) < h.numel()
    z.square().sum().backward()
    assert torch.equal(h.grad != 0, z != 0)
    torch.testing.assert_close(h.grad, 2 * z.detach())


def test_batch_selection_keeps_k_on_average(rng):
    h = torch.from_numpy(rng.normal(size=(8, 10)))
    kept = weighted_top(h, 3, torch.ones(8, dtype=torch.float64))
    assert int((kept != 0).sum()) == 24
    assert h[kept == 0].abs().max() <= kept[kept != 0].abs().min()
    weight = torch.tensor([1, 2, 1, 3, 1, 1, 2, 1], dtype=torch.float64)
    weighted = weighted_top(h, 3, weight)
    again = weighted_top(h.repeat_interleave(weight.long(), 0), 3, torch.ones(12))
    # Where the last place falls amid repetitions, some of them are kept and weights cannot be.
    differ = (weighted.repeat_interleave(weight.long(), 0) != again).sum()
    assert differ < 3


@pytest.mark.parametrize("weighted", [False, True])
def test_threshold_keeps_k_on_average_over_the_training_rows(digits, weighted):
    weight = np.where(np.arange(len(digits)) % 2, 3.0, 1.0) if weighted else None
    model = KSparseAutoencoder(n_nonzero_coefs=5, selection="batch", max_iter=3, **PLAIN)
    model.fit(digits, sample_weight=weight)
    kept = (model.transform(digits.astype(np.float32)) != 0).sum(1)
    assert np.average(kept, weights=weight) == pytest.approx(5, abs=0.01)
    assert len(np.unique(kept)) > 1
    np.testing.assert_allclose(model.transform(digits[:3])[0], model.transform(digits[:1])[0])
    assert np.abs(model.transform(digits))[model.transform(digits) != 0].min() >= (
        model.threshold_ * (1 - 1e-6)
    )


def test_threshold_is_that_of_all_rows_together(rng):
    """However rows are sorted, and of as many as do not fit into one look."""
    X = rng.normal(size=(9000, 6)) * np.repeat([0.1, 1.0, 3.0], 3000)[:, None]
    model = KSparseAutoencoder(
        12, n_nonzero_coefs=3, selection="batch", max_iter=1, batch_size=1000, random_state=0
    ).fit(X.astype(np.float32))
    Z = model.transform(X.astype(np.float32))
    assert (Z != 0).sum(1).mean() == pytest.approx(3, abs=1e-3)
    assert (Z[:3000] != 0).sum(1).mean() < 2 < (Z[6000:] != 0).sum(1).mean()


@pytest.mark.parametrize("selection", ["row", "batch"])
def test_a_positive_code_has_nothing_negative(sheet, selection):
    model = KSparseAutoencoder(
        12, n_nonzero_coefs=10, positive_code=True, selection=selection, max_iter=2, **PLAIN
    )
    Z = model.fit_transform(sheet)
    assert (Z >= 0).all()
    assert ((Z > 0).sum(1) < 10).any()


@pytest.mark.full
@pytest.mark.parametrize("kind", [KSparseAutoencoder, SparseAutoencoder])
def test_units_that_are_determined_by_a_part(digits, kind):
    """With masking in training, rows whose cells are hidden are still recognised."""
    hidden = np.random.default_rng(0).random(digits.shape) < 0.3
    errors = []
    for level in (0.0, 0.3):
        model = kind(mask_ratio=level, **PLAIN | {"max_iter": 30}).fit(digits)
        partly = model.reconstruct(np.where(hidden, model.mean_, digits))
        errors.append(((partly - digits) ** 2).mean())
    assert errors[1] < 0.9 * errors[0]


def test_masking_hides_that_share_from_the_encoder(digits):
    model = KSparseAutoencoder(mask_ratio=0.3, max_iter=1, **PLAIN).fit(digits)
    x = torch.randn(500, 64, generator=torch.Generator().manual_seed(0))
    batch = Batch(x, None, torch.ones(500), torch.ones(()), random=Random(0, x))
    seen = model._corrupt(model.module_, batch).x
    assert float((seen == 0).double().mean()) == pytest.approx(0.3, abs=0.01)
    assert torch.equal(seen[seen != 0], x[seen != 0])


def test_frequencies_are_those_of_the_training_rows(digits):
    weight = np.where(np.arange(len(digits)) % 2, 3.0, 1.0)
    model = KSparseAutoencoder(max_iter=3, **PLAIN).fit(digits, sample_weight=weight)
    used = model.transform(digits.astype(np.float32)) != 0
    np.testing.assert_allclose(
        model.activation_frequency_, np.average(used, axis=0, weights=weight), atol=2e-3
    )
    assert model.n_dead_ == (model.activation_frequency_ == 0).sum()


@pytest.mark.parametrize("selection", ["row", "batch"])
def test_weights_are_repetitions_in_a_batch(digits, selection):
    model = KSparseAutoencoder(n_nonzero_coefs=3, selection=selection, max_iter=1, **PLAIN)
    model.fit(digits)
    module = model.module_
    x = torch.from_numpy((digits[:20] - model.mean_) / model.scale_).float()
    count = torch.full((20,), 2)
    model._equal_weights = False
    weighted = total_of(model._objective(module, Batch(x, None, count.float(), torch.ones(()))))
    again = x.repeat_interleave(count, 0)
    model._equal_weights = True
    repeated = total_of(
        model._objective(module, Batch(again, None, torch.ones(40), torch.ones(())))
    )
    torch.testing.assert_close(weighted.mean(), repeated.mean())


class Sleepers(KSparseAutoencoder):
    """Half of whose units start too quiet to be heard."""

    def _before_fit(self, module, rows):
        super()._before_fit(module, rows)
        with torch.no_grad():
            module.encoder[0].weight[::2] *= 1e-3


@pytest.mark.full
def test_silent_units_are_revived(digits, monkeypatch):
    """Without the auxiliary loss, units that are silent from the start never wake."""
    dead = []
    for weight in (0.0, 1 / 32):
        monkeypatch.setattr("skae.autoencoders._k_sparse.REVIVAL", weight)
        model = Sleepers(100, n_nonzero_coefs=5, max_iter=30, **PLAIN)
        dead.append(model.fit(digits).n_dead_)
    assert dead[0] >= 50
    assert dead[1] < 25


def test_revival_is_what_silent_units_would_add(digits):
    model = KSparseAutoencoder(40, n_nonzero_coefs=2, max_iter=1, **PLAIN).fit(digits)
    module = model.module_
    x = torch.from_numpy((digits[:5] - model.mean_) / model.scale_).float()
    batch = Batch(x, None, torch.ones(5), torch.ones(()))
    with torch.no_grad():
        h = module.encode(x)
        z = top(h, 2)
        silent = (z == 0).all(0)
        spare = top(h * silent, 2)
        x_hat, plain = module.decode(z), module.decode(torch.zeros(1, 40))
        left = x - x_hat - (module.decode(spare) - plain)
        expected = ((x - x_hat) ** 2).mean(1) + (left**2).mean(1) / 32
        torch.testing.assert_close(total_of(model._objective(module, batch)), expected)


def test_more_than_there_are_is_refused(sheet):
    with pytest.raises(ValueError, match="n_nonzero_coefs=13 is more than the 12 components"):
        KSparseAutoencoder(n_nonzero_coefs=13).fit(sheet)


def test_nested_groups_are_the_mean_of_their_reconstructions(digits):
    model = KSparseAutoencoder(40, n_nonzero_coefs=6, group_sizes=(5, 20), max_iter=1, **PLAIN)
    module = model.fit(digits).module_
    x = torch.from_numpy((digits[:9] - model.mean_) / model.scale_).float()
    batch = Batch(x, None, torch.ones(9), torch.ones(()))
    with torch.no_grad():
        z = top(module.encode(x), 6)
        terms = model._objective(module, batch)
        errors = []
        for m in (5, 20, 40):
            prefix = z.clone()
            prefix[:, m:] = 0
            errors.append(((module.decode(prefix) - x) ** 2).mean(1))
        torch.testing.assert_close(terms["reconstruction"], sum(errors) / 3)
    alone = KSparseAutoencoder(40, n_nonzero_coefs=6, max_iter=1, **PLAIN).fit(digits)
    torch.testing.assert_close(
        model._objective(module, batch)["revival"], alone._objective(module, batch)["revival"]
    )


@pytest.mark.parametrize("selection", ["row", "batch"])
def test_the_group_of_all_units_alone_is_the_plain_loss(digits, selection):
    shared = {"n_nonzero_coefs": 4, "selection": selection, "max_iter": 2, **PLAIN}
    plain = KSparseAutoencoder(30, **shared).fit(digits)
    whole = KSparseAutoencoder(30, group_sizes=[30], **shared).fit(digits)
    assert plain.loss_curve_ == whole.loss_curve_


def test_the_first_units_reconstruct_by_themselves(digits):
    """Nested groups lower the error of the first units by a third, for a few percent in all."""
    errors = []
    for sizes in (None, (4, 16)):
        model = KSparseAutoencoder(64, n_nonzero_coefs=6, group_sizes=sizes, max_iter=20, **PLAIN)
        Z = model.fit(digits[:1000]).transform(digits[1000:])
        for m in (16, 64):
            X_hat = model.inverse_transform(np.where(np.arange(64) < m, Z, 0))
            errors.append(((X_hat - digits[1000:]) ** 2).mean())
    first, whole, first_nested, whole_nested = errors
    assert first_nested < 0.67 * first
    assert whole_nested < 1.3 * whole


def test_all_sizes_order_the_units(digits):
    model = KSparseAutoencoder(12, n_nonzero_coefs=12, group_sizes=range(1, 13), max_iter=20)
    model.set_params(**PLAIN).fit(digits)
    Z = model.transform(digits)
    errors = [
        ((model.inverse_transform(np.where(np.arange(12) < m, Z, 0)) - digits) ** 2).mean()
        for m in range(13)
    ]
    assert (np.diff(errors) < 0).all()


@pytest.mark.parametrize("sizes", [(5, 5), (8, 3), (0, 4), (4, 13), (2.5, 4), ("a",), [[4, 8]]])
def test_groups_that_do_not_grow_are_refused(sheet, sizes):
    with pytest.raises(ValueError, match="group_sizes=.* must be increasing integers from 1 to"):
        KSparseAutoencoder(12, group_sizes=sizes).fit(sheet)


@pytest.mark.parametrize("sizes", [(4, 8), [4, 8, 12], np.array([4, 8]), pd.Series([4, 8])])
def test_groups_are_any_sequence_and_are_kept_in_files(digits, sizes, tmp_path):
    model = KSparseAutoencoder(12, group_sizes=sizes, max_iter=1, **PLAIN).fit(digits)
    expected = KSparseAutoencoder(12, group_sizes=(4, 8), max_iter=1, **PLAIN).fit(digits)
    assert model.loss_curve_ == expected.loss_curve_
    if not isinstance(sizes, pd.Series):
        skae.save(model, tmp_path / "model")
        again = skae.load(tmp_path / "model")
        assert list(again.group_sizes) == list(sizes)
        assert np.array_equal(again.transform(digits), model.transform(digits))


def test_groups_may_change_when_a_fit_resumes(digits):
    model = KSparseAutoencoder(12, group_sizes=(4,), warm_start=True, max_iter=1, **PLAIN)
    model.fit(digits).set_params(group_sizes=(4, 8)).fit(digits)
    assert model.n_iter_ == 2
    with pytest.raises(ValueError, match="must be increasing integers from 1 to .*, 12"):
        model.set_params(group_sizes=(4, 13)).fit(digits)


def test_groups_are_searched_in_batches(digits):
    grid = {"group_sizes": [None, (4,), (8,), (4, 8)], "learning_rate": [1e-3, 1e-2]}
    model = KSparseAutoencoder(12, max_iter=2, **PLAIN)
    batched, alone = (
        search(model, grid, cv=2, refit=False).fit(digits)
        for search in (BatchedGridSearchCV, GridSearchCV)
    )
    scores = [s.cv_results_["mean_test_score"] for s in (batched, alone)]
    np.testing.assert_allclose(*scores, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(4))
def test_codes_of_a_batch_do_not_depend_on_rounding(dtype, seed, rng):
    X = rng.normal(size=(400, 4)) @ rng.normal(size=(4, 10)) + 0.3 * rng.normal(size=(400, 10))
    X = (X + 2).astype(dtype)
    model = KSparseAutoencoder(
        24, n_nonzero_coefs=3, selection="batch", max_iter=4, random_state=seed
    ).fit(X)
    codes = model.transform(X)
    alone = np.vstack([model.transform(row[None]) for row in X])
    np.testing.assert_array_equal(codes != 0, alone != 0)
    assert model.mean_n_active_ == pytest.approx((codes != 0).sum(axis=1).mean(), abs=1e-6)
    sizes = np.sort(np.abs(codes[codes != 0]))
    assert model.threshold_ < sizes[0] * (1 - 1e-7)

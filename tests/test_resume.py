"""partial_fit and warm_start: the same module, conditioning and moments, on new rows."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA

from skae import MLP, Autoencoder, FunctionArchitecture, LinearAutoencoder
from tests.tables import curve

PLAIN = {"schedule": "constant", "early_stopping": False, "random_state": 0}


def test_one_pass_is_one_epoch_to_the_bit(sheet):
    fit = Autoencoder(2, max_iter=1, **PLAIN).fit(sheet)
    part = Autoencoder(2, **PLAIN).partial_fit(sheet)
    assert np.array_equal(fit.transform(sheet), part.transform(sheet))
    assert part.n_iter_ == 1


def test_first_chunk_fixes_the_conditioning(sheet):
    model = Autoencoder(2, **PLAIN).partial_fit(sheet[:100])
    mean, scale = model.mean_.copy(), model.scale_
    model.partial_fit(5 + 9 * sheet[100:])
    assert np.array_equal(model.mean_, mean)
    assert model.scale_ == scale


@pytest.mark.full
def test_a_stream_of_chunks_ends_where_one_fit_of_them_does(rng):
    X = curve(rng, n=1000)
    stream = Autoencoder(2, batch_size=50, **PLAIN)
    for _ in range(10):
        for chunk in np.split(X, 20):
            stream.partial_fit(chunk)
    scores = [
        Autoencoder(2, batch_size=50, max_iter=10, **PLAIN)
        .set_params(random_state=seed)
        .fit(X)
        .score(X)
        for seed in range(3)
    ]
    assert stream.score(X) == pytest.approx(np.mean(scores), rel=0.5)
    assert stream.n_iter_ == 200
    assert len(stream.loss_curve_) == 200


@pytest.mark.parametrize("how", ["partial_fit", "warm_start"])
def test_moments_are_kept(sheet, how):
    """Adam without its moments takes other steps; with them, a pickle in between changes none."""
    model = Autoencoder(2, max_iter=1, warm_start=True, **PLAIN)
    method = "partial_fit" if how == "partial_fit" else "fit"
    model.fit(sheet)
    pickled = pickle.loads(pickle.dumps(model))
    forgetful = pickle.loads(pickle.dumps(model))
    forgetful._optimizer["moments"] = {}
    codes = [getattr(m, method)(sheet).transform(sheet) for m in (model, pickled, forgetful)]
    assert np.array_equal(codes[0], codes[1])
    assert not np.allclose(codes[0], codes[2], atol=1e-4)


SGD = {"optimizer": "SGD", "optimizer__momentum": 0.9}
GROUPS = {"optimizer__param_groups": [("decoder*", {"lr": 1e-3})]}


@pytest.mark.full
@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        (None, GROUPS, True),  # which puts the weights in another order
        (GROUPS, None, True),
        (SGD, SGD | {"optimizer__lr": 1e-3}, True),
        (None, {"optimizer__amsgrad": True}, False),
        ({"optimizer": "SGD"}, SGD, False),
        (SGD, {"optimizer": "SGD"}, False),
        (None, SGD, False),
        ({"optimizer": "LBFGS"}, {"optimizer": "LBFGS"}, True),
    ],
)
def test_moments_follow_their_weights_or_start_anew(sheet, before, after, kept):
    """Those of another optimiser are as good as none."""
    model = Autoencoder(2, max_iter=1, net_params=before, warm_start=True, **PLAIN)
    rows = sheet[:100]
    model = pickle.loads(pickle.dumps(model.fit(rows).set_params(net_params=after)))
    forgetful = pickle.loads(pickle.dumps(model))
    forgetful._optimizer["moments"] = {}
    codes, without = (m.fit(rows).transform(rows) for m in (model, forgetful))
    assert np.isfinite(codes).all()
    assert np.array_equal(codes, without) != kept


def test_moments_of_a_group_go_to_the_same_weights(sheet):
    """Groups that differ in nothing but their order change nothing but rounding."""
    model = Autoencoder(2, max_iter=2, warm_start=True, **PLAIN).fit(sheet)
    codes = pickle.loads(pickle.dumps(model)).fit(sheet).transform(sheet)
    grouped = {"optimizer__param_groups": [("*bias", {}), ("decoder*", {})]}
    regrouped = model.set_params(net_params=grouped).fit(sheet).transform(sheet)
    np.testing.assert_allclose(regrouped, codes, atol=1e-5)


def test_order_of_the_rows_differs_from_pass_to_pass(sheet):
    model = Autoencoder(2, learning_rate=1e-12, batch_size=100, **PLAIN).partial_fit(sheet)
    first = model._n_steps
    model.partial_fit(sheet)
    assert (first, model._n_steps) == (4, 8)


def test_warm_start_resumes_and_cold_start_does_not(sheet):
    model = Autoencoder(2, max_iter=5, **PLAIN).fit(sheet)
    first = model.score(sheet)
    assert clone(model).fit(sheet).score(sheet) == first
    model.set_params(warm_start=True).fit(sheet)
    assert model.n_iter_ == 10
    assert len(model.loss_curve_) == 10
    assert model.loss_curve_[5] < 0.5 * model.loss_curve_[0]
    assert model.score(sheet) > first


def test_a_later_chunk_may_have_one_row_but_no_other_columns(sheet):
    model = Autoencoder(2, **PLAIN).partial_fit(sheet).partial_fit(sheet[:1])
    with pytest.raises(ValueError, match="X has 5 features"):
        model.partial_fit(sheet[:, :5])
    assert np.isfinite(model.transform(sheet)).all()


def test_linear_streams_stay_near_the_optimum(rng):
    X = rng.normal(size=(4000, 3)) @ rng.normal(size=(3, 8)) + 0.1 * rng.normal(size=(4000, 8))
    model = LinearAutoencoder(3, learning_rate=1e-3, random_state=0)
    for chunk in np.split(X, 20):
        model.partial_fit(chunk)
    assert model.score(X) > 1.2 * LinearAutoencoder(3).fit(X).score(X)


@pytest.mark.parametrize("init", ["pca", "random"])
def test_linear_resumes_as_if_its_code_had_not_been_turned(sheet, init):
    """Moments and weights stay in one system of coordinates."""
    hyper = PLAIN | {"init": init, "learning_rate": 1e-2, "batch_size": 400}
    model = LinearAutoencoder(2, **hyper)
    gaps = np.where(np.random.default_rng(0).random(sheet.shape) < 0.2, np.nan, sheet)
    for _ in range(8):
        model.partial_fit(gaps)
    at_once = LinearAutoencoder(2, max_iter=8, **hyper).fit(gaps)
    np.testing.assert_allclose(model.loss_curve_, at_once.loss_curve_, rtol=1e-5)
    planes = [m.components_.T @ m.components_ for m in (model, at_once)]
    np.testing.assert_allclose(*planes, atol=1e-4)


def test_linear_reports_all_rows_of_a_stream(rng):
    """The last chunk, which varies along the second axis alone, must not come to be the first."""
    X = rng.normal(size=(1000, 2)) * [3, 1] @ rng.normal(size=(2, 8))
    X += 0.01 * rng.normal(size=X.shape)
    pca = PCA(2).fit(X)
    last = pca.mean_ + 2 * rng.normal(size=(50, 1)) * pca.components_[1]
    model = LinearAutoencoder(2, learning_rate=1e-4, random_state=0)
    for chunk in [*np.split(X, 10), last]:
        model.partial_fit(chunk, sample_weight=np.full(len(chunk), rng.uniform(1, 9)))
    expected = PCA(2).fit(np.vstack([X, last]))
    np.testing.assert_allclose(model.components_, expected.components_, atol=0.05)
    np.testing.assert_allclose(model.explained_variance_, expected.explained_variance_, rtol=0.05)
    np.testing.assert_allclose(
        model.explained_variance_ratio_, expected.explained_variance_ratio_, rtol=0.05
    )
    anew = clone(model).fit(X).explained_variance_
    np.testing.assert_allclose(model.fit(X).explained_variance_, anew)


@pytest.mark.parametrize("how", ["partial_fit", "fit"])
def test_linear_resumes_with_a_row_at_the_mean(sheet, how):
    model = LinearAutoencoder(2, warm_start=True, max_iter=1, random_state=0).fit(sheet)
    before = model.explained_variance_
    getattr(model, how)(model.mean_[None])
    assert np.isfinite(model.explained_variance_ratio_).all()
    if how == "partial_fit":
        np.testing.assert_allclose(model.explained_variance_, before, rtol=0.02)


def test_training_dtype_is_kept(sheet):
    model = Autoencoder(2, **PLAIN).partial_fit(sheet)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        model.partial_fit(sheet)
    finally:
        torch.set_default_dtype(before)
    assert model.module_.output_bias.dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("n_components", {"n_components": 3}),
        ("loss", {"loss": "absolute_error"}),
        ("linear_shortcut", {"linear_shortcut": False}),
        ("architecture__hidden_layer_sizes", {"hidden_layer_sizes": (5,)}),
        ("architecture__activation", {"activation": "tanh"}),
        ("architecture__activation", {"architecture": MLP(activation="tanh")}),
        ("architecture", {"architecture": FunctionArchitecture()}),
    ],
)
def test_what_the_module_was_built_for_cannot_change(sheet, name, changed):
    model = Autoencoder(2, max_iter=2, warm_start=True, **PLAIN).fit(sheet)
    model.set_params(**changed)
    for method in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=f"resumes a fit with {name}=.* start a new fit") as e:
            method(sheet)
        assert "\n" not in str(e.value)
    model.set_params(warm_start=False).fit(sheet)
    model.set_params(warm_start=True).fit(sheet)


def test_the_same_architecture_may_be_given_in_another_way(sheet):
    model = Autoencoder(2, hidden_layer_sizes=[5], max_iter=2, warm_start=True, **PLAIN).fit(sheet)
    model.set_params(hidden_layer_sizes=None, architecture=MLP((np.int64(5),))).fit(sheet)
    assert model.n_iter_ == 4


def test_a_row_at_the_mean_is_no_divergence(sheet):
    """Relative to its loss by the mean, which is zero, any loss is infinitely large."""
    model = Autoencoder(2, init="random", linear_shortcut=False, learning_rate=1e-9, **PLAIN)
    model.partial_fit(sheet)
    for _ in range(2):
        model.partial_fit(model.mean_[None])
    assert np.isfinite(model.loss_curve_).all()
    with pytest.raises(ValueError, match="diverged"):
        model.set_params(learning_rate=1e6).partial_fit(sheet).partial_fit(sheet)


def test_curves_and_best_epoch_count_from_the_first_fit(sheet):
    model = Autoencoder(2, max_iter=5, random_state=0, warm_start=True, schedule="constant")
    first = copy.deepcopy(model.fit(sheet))
    assert len(first.validation_loss_curve_) == 5
    model.fit(sheet)
    assert model.validation_loss_curve_[:5] == first.validation_loss_curve_
    assert len(model.loss_curve_) == len(model.validation_loss_curve_) == model.n_iter_ == 10
    assert model.best_epoch_ > 5
    best = model.validation_loss_curve_[model.best_epoch_ - 1]
    assert best == min(model.validation_loss_curve_[5:])
    model.partial_fit(sheet)
    assert (model.best_epoch_, len(model.validation_loss_curve_)) == (11, 11)
    assert np.isnan(model.validation_loss_curve_[10])
    model.set_params(learning_rate=1e-12, tol=0.5, n_iter_no_change=1).fit(sheet)
    assert len(model.validation_loss_curve_) == len(model.loss_curve_) == 12


def test_a_resumed_fit_without_improvement_keeps_the_best_epoch(sheet):
    model = Autoencoder(2, max_iter=30, random_state=0, warm_start=True).fit(sheet)
    best = model.best_epoch_
    model.set_params(learning_rate=0.03, max_iter=1).fit(sheet)
    assert (model.best_epoch_, model.n_iter_) == (best, 31)


def test_held_out_losses_of_epochs_that_had_none_are_nan(sheet):
    model = Autoencoder(2, max_iter=2, warm_start=True, **PLAIN).fit(sheet)
    assert model.validation_loss_curve_ is None
    model.set_params(early_stopping=True).fit(sheet)
    assert np.isnan(model.validation_loss_curve_).tolist() == [True, True, False, False]

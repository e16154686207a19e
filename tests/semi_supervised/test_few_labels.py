"""Learning from few labels: what is spread, chosen and fine-tuned, and the estimators."""

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_circles
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils.class_weight import compute_sample_weight

import skae
from skae import Autoencoder, AutoencoderClassifier, AutoencoderRegressor, DenoisingAutoencoder
from skae.semi_supervised._fine_tuning import layer_of, learning_rates
from skae.semi_supervised._heads import folds
from skae.semi_supervised._spreading import ALPHA, NeighborGraph
from skae.semi_supervised._teacher import first_of_the_best

pytestmark = pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
QUICK = {"max_iter": 20, "batch_size": 64, "learning_rate": 5e-3, "random_state": 0}
SHORT = {"max_iter": 2, "early_stopping": False, "random_state": 0}


@pytest.fixture(scope="module")
def circles():
    """Two circles, one within the other, with four labels of each."""
    X, y = make_circles(300, noise=0.03, factor=0.5, random_state=0)
    few = np.full(300, -1)
    for k in (0, 1):
        few[np.flatnonzero(y == k)[:4]] = k
    return X, y, few


@pytest.fixture(scope="module")
def fitted(circles):
    return Autoencoder(2, hidden_layer_sizes=(32,), **SHORT).fit(circles[0])


# ------------------------------------------------------------------------------------- the parts


def test_spread_labels_solve_the_linear_system(rng):
    codes, k = rng.normal(size=(40, 3)), 5
    d = np.linalg.norm(codes[:, None] - codes, axis=2)
    nearest = np.argsort(d, axis=1)[:, 1 : k + 1]
    W = np.zeros_like(d)
    for i, j in enumerate(nearest):
        W[i, j] = np.exp(-4 * d[i, j] ** 2 / d[i, j[-1]] ** 2)
    W = (W + W.T) / 2
    scale = 1 / np.sqrt(W.sum(1))
    Y = np.zeros((40, 2))
    Y[[3, 8], [0, 1]] = 1
    expected = (1 - ALPHA) * np.linalg.solve(np.eye(40) - ALPHA * scale[:, None] * W * scale, Y)
    F = NeighborGraph(codes, k).spread(np.array([3, 8]), Y[[3, 8]])
    np.testing.assert_allclose(F, expected, rtol=1e-2, atol=1e-5)


def test_equal_codes_are_neighbours_of_each_other():
    F = NeighborGraph(np.zeros((6, 2)), 3).spread(np.array([0]), np.ones((1, 1)))
    assert np.isfinite(F).all()


def test_learning_rates_decay_towards_the_input():
    names = ["position", "patches.weight", "blocks.0.norm.weight", "blocks.0.qkv.bias"]
    names += ["blocks.1.norm.weight", "norm.weight"]
    layers = ["", "patches", "blocks.0", "blocks.0", "blocks.1", "norm"]
    assert [layer_of(name) for name in names] == layers
    assert layer_of("2.weight") == "2"
    module = Autoencoder(2, hidden_layer_sizes=(5, 4), **SHORT).fit(np.eye(6)).module_
    rates = learning_rates(module, 1.0, 0.5)
    assert rates["encoder.4.weight"] == rates["encoder.4.bias"] == 0.5
    assert rates["encoder.0.weight"] == rates["encoder_shortcut.weight"] == 0.125
    assert not any("decoder" in name for name in rates)


def test_folds_have_a_share_of_each_class_and_train_on_all(rng):
    y = np.repeat([0, 1, 2], [9, 3, 1])
    tests = list(folds(y, np.random.RandomState(0)))
    assert len(tests) == 3
    assert (np.sum(tests, axis=0) == (y < 2)).all()  # the only sample of a class stays in training
    for test in tests:
        assert np.bincount(y[test]).tolist() == [3, 1]
    assert not list(folds(np.arange(4), np.random.RandomState(0)))


def test_simpler_candidates_are_preferred_within_a_standard_error():
    signs, weight = np.tile([1.0, -1.0], 50), np.ones(100)
    assert first_of_the_best([signs, -signs - 0.1], weight) == 0  # standard error 0.2
    assert first_of_the_best([signs, -signs - 0.3], weight) == 1
    assert first_of_the_best([signs, signs - 0.01], weight) == 1  # better for each sample


# ------------------------------------------------------------------------------- the classifier


def test_head_is_logistic_regression_of_the_codes(circles, fitted):
    X, _, few = circles
    model = AutoencoderClassifier(fitted, prefit=True, fine_tune="head", random_state=0)
    model.fit(X, few)
    assert model.estimator_ is model.fine_tuned_ is fitted
    assert model.teacher_weights_ is None
    Z = fitted.transform(X)
    Z = (Z - Z.mean(0)) / np.sqrt(Z.var(0).mean())
    known = few != -1
    candidates = [
        LogisticRegression(C=10.0**c, max_iter=300).fit(Z[known], few[known]).predict_proba(Z)
        for c in range(-3, 4)
    ]
    proba = model.predict_proba(X)
    assert min(np.abs(proba - p).max() for p in candidates) < 1e-4


@pytest.mark.full
def test_labels_are_spread_where_held_out_labels_say_so(circles, fitted):
    X, y, few = circles
    before = {k: v.clone() for k, v in fitted.module_.state_dict().items()}
    head = AutoencoderClassifier(fitted, prefit=True, fine_tune="head", random_state=0).fit(X, few)
    auto = AutoencoderClassifier(fitted, prefit=True, **QUICK).fit(X, few)
    assert head.score(X, y) < 0.7
    assert auto.score(X, y) > 0.95
    assert sum(auto.teacher_weights_[2:]) > 0
    assert sum(auto.teacher_weights_) == 1
    assert all(torch.equal(v, before[k]) for k, v in fitted.module_.state_dict().items())
    assert not hasattr(auto.fine_tuned_.module_, "head")
    decision = auto.decision_function(X)
    np.testing.assert_allclose(1 / (1 + np.exp(-decision)), auto.predict_proba(X)[:, 1])
    alone = clone(auto).set_params(estimator=fitted, n_neighbors=None).fit(X, few)
    assert alone.teacher_weights_[2:] == (0, 0)


@pytest.mark.parametrize(
    ("unlabeled", "convert"),
    [
        (-1, lambda y: np.where(y == -1, -1, y + 5)),
        (-1, lambda y: [-1 if label == -1 else "ab"[label] for label in y]),
        ("", lambda y: np.where(y == -1, "", np.array(["a", "b"])[y])),
        (np.nan, lambda y: np.where(y == -1, np.nan, y)),
        (None, lambda y: [None if label == -1 else int(label) for label in y]),
        (None, lambda y: pd.Series(np.where(y == -1, None, np.array(["a", "b"])[y]))),
    ],
)
def test_the_label_of_unlabelled_samples_may_be_anything(circles, fitted, unlabeled, convert):
    X, _, few = circles
    params = {"prefit": True, "fine_tune": "head", "random_state": 0}
    expected = AutoencoderClassifier(fitted, **params).fit(X, few).predict(X)
    y = convert(few)
    y = np.array(y, dtype=object) if isinstance(y, list) else y
    model = AutoencoderClassifier(fitted, unlabeled=unlabeled, **params).fit(X, y)
    assert len(model.classes_) == 2
    assert np.array_equal(np.searchsorted(model.classes_, model.predict(X)), expected)


def test_a_weight_of_zero_is_no_sample_and_class_weights_multiply(circles, fitted):
    X, _, few = circles
    model = AutoencoderClassifier(fitted, prefit=True, fine_tune="head", random_state=0)
    kept = np.arange(300) % 3 > 0
    removed = clone(model).set_params(estimator=fitted).fit(X[kept], few[kept]).coef_
    ignored = clone(model).set_params(estimator=fitted).fit(X, few, sample_weight=kept).coef_
    np.testing.assert_allclose(ignored, removed, rtol=1e-4, atol=1e-6)
    known = few != -1
    uneven = np.where(np.arange(300) == np.flatnonzero(few == 0)[0], -1, few)
    weight = np.ones(300)
    weight[uneven != -1] = compute_sample_weight("balanced", uneven[uneven != -1])
    assert known.sum() == 8
    only = uneven != -1  # weights of unlabelled samples scale codes
    balanced = clone(model).set_params(estimator=fitted, class_weight="balanced")
    given = clone(model).set_params(estimator=fitted)
    weighted = given.fit(X[only], uneven[only], sample_weight=weight[only]).predict_proba(X)
    np.testing.assert_allclose(
        balanced.fit(X[only], uneven[only]).predict_proba(X), weighted, atol=0.05
    )


@pytest.mark.full
@pytest.mark.parametrize("fine_tune", ["head", "all", "auto"])
def test_missing_values_sparse_input_and_seeds(circles, fine_tune):
    X, _, few = circles
    X = np.c_[X, X @ [[1], [1]]]
    X[::7, 1] = np.nan
    X[5] = np.nan
    inner = DenoisingAutoencoder(2, noise_level=(0.1, 0.5), max_iter=2)
    model = AutoencoderClassifier(inner, fine_tune=fine_tune, max_iter=2, random_state=0)
    proba = model.fit(X, few).predict_proba(X)
    assert np.isfinite(proba).all()
    again = clone(model).fit(X, few).predict_proba(X)
    assert np.array_equal(proba, again)
    other = clone(model).fit(sparse.csr_array(X), few).predict_proba(sparse.csr_array(X))
    np.testing.assert_allclose(other, proba, atol=1e-4)
    assert model.fit(X.astype(np.float32), few).predict_proba(X.astype(np.float32)).shape == (
        300,
        2,
    )


# ---------------------------------------------------------------------------------- the regressor


@pytest.mark.full
def test_ridge_of_codes_and_several_targets(sheet, rng):
    inner = Autoencoder(3, **SHORT).fit(sheet)
    y = np.c_[sheet[:, 0], 100 + 5 * sheet[:, 1]]
    few = np.where(np.arange(len(y))[:, None] < 40, y, np.nan)
    model = AutoencoderRegressor(inner, prefit=True, fine_tune="head", random_state=0)
    predicted = model.fit(sheet, few).predict(sheet)
    assert predicted.shape == y.shape
    Z = inner.transform(sheet)
    Z = (Z - Z.mean(0)) / np.sqrt(Z.var(0).mean())
    candidates = []
    for c in range(-3, 4):
        mean, std = y[:40].mean(0), y[:40].std(0)
        ridge = Ridge(alpha=10.0**-c).fit(Z[:40], (y[:40] - mean) / std)
        candidates.append(ridge.predict(Z) * std + mean)
    assert min(np.abs(predicted - p).max() for p in candidates) < 1e-6
    auto = AutoencoderRegressor(inner, prefit=True, **QUICK)
    assert auto.fit(sheet, few).score(sheet, y) > 0.9
    one = auto.fit(sheet, few[:, 0])
    assert one.predict(sheet).shape == (len(sheet),)
    assert one.score(sheet, y[:, 0]) > 0.9


# ------------------------------------------------------------------------------ as an estimator


@pytest.mark.full
def test_files_hold_both_encoders(circles, sheet, tmp_path):
    X, _, few = circles
    params = {"max_iter": 2, "random_state": 0}
    y = np.where(few == -1, "", np.array(["a", "b"])[few])
    for model, data, target in (
        (AutoencoderClassifier(Autoencoder(2, **SHORT), unlabeled="", **params), X, y),
        (AutoencoderRegressor(Autoencoder(2, **SHORT), **params), sheet, sheet[:, 0]),
    ):
        model.fit(data, target)
        skae.save(model, tmp_path / "model")
        again = skae.load(tmp_path / "model")
        assert np.array_equal(again.predict(data), model.predict(data))
        assert np.array_equal(again.estimator_.transform(data), model.estimator_.transform(data))
        for name, value, message in (
            ("coef_", model.coef_[:, :1], "not of the shape"),
            ("n_features_in_", 9, "not fitted to as many features"),
            ("estimator_", Autoencoder(2), "not fitted"),
        ):
            broken = clone(model)
            broken.__dict__.update(vars(model) | {name: value})
            with pytest.raises(ValueError, match=message):
                skae.save(broken, tmp_path / "broken")


def test_metadata_is_routed_to_the_autoencoder(circles):
    X, _, few = circles
    weight = np.where(np.arange(300) % 2, 1.0, 3.0)
    plain = AutoencoderClassifier(Autoencoder(2, **SHORT), fine_tune="head", random_state=0)
    expected = plain.fit(X, few, sample_weight=weight).predict_proba(X)
    with sklearn.config_context(enable_metadata_routing=True):
        inner = Autoencoder(2, **SHORT).set_fit_request(sample_weight=True)
        routed = AutoencoderClassifier(inner, fine_tune="head", random_state=0)
        routed.set_fit_request(sample_weight=True)
        found = routed.fit(X, few, sample_weight=weight).predict_proba(X)
    assert np.array_equal(found, expected)


NO_LABEL = "y has no labelled sample: all are -1"
CASES = {
    NO_LABEL: lambda X, y, ae: AutoencoderClassifier(ae).fit(X, np.full(300, -1)),
    "all of one class, 1, but": lambda X, y, ae: AutoencoderClassifier(ae).fit(
        X, np.where(y == 1, 1, -1)
    ),
    "y has 1 labelled samples": lambda X, y, ae: AutoencoderRegressor(ae).fit(
        X, np.where(np.arange(300) == 0, 1.0, np.nan)
    ),
    "prefit=True needs an estimator that is a fitted": lambda X, y, ae: AutoencoderClassifier(
        Autoencoder(), prefit=True
    ).fit(X, y),
    "prefit=True needs": lambda X, y, ae: AutoencoderClassifier(prefit=True).fit(X, y),
    "X has 3 features, but Autoencoder is expecting 2": lambda X, y, ae: AutoencoderClassifier(
        ae, prefit=True
    ).fit(np.c_[X, X[:, 0]], y),
    "inconsistent numbers of samples": lambda X, y, ae: AutoencoderClassifier(ae).fit(X, y[:9]),
    "'estimator' parameter of AutoencoderClassifier": lambda X, y, ae: AutoencoderClassifier(
        Ridge()
    ).fit(X, y),
    "all strings or all numbers": lambda X, y, ae: AutoencoderClassifier(ae).fit(
        X, np.array([1, "a", *y[2:]], dtype=object)
    ),
    "Unknown label type": lambda X, y, ae: AutoencoderClassifier(ae).fit(X, X[:, 0]),
    "requires y to be passed": lambda X, y, ae: AutoencoderClassifier(ae).fit(X, None),
}


@pytest.mark.parametrize("message", CASES)
def test_bad_input_is_refused_by_one_sentence(circles, fitted, message):
    X, _, few = circles
    with pytest.raises(ValueError, match=message):
        CASES[message](X, few, fitted)


def test_a_diverging_fine_tuning_keeps_the_linear_model(circles, fitted):
    X, _, few = circles
    params = {"prefit": True, "random_state": 0}
    head = AutoencoderClassifier(fitted, fine_tune="head", **params).fit(X, few)
    model = AutoencoderClassifier(fitted, fine_tune="all", learning_rate=1e12, **params)
    with pytest.warns(skae.AutoencoderWarning, match="fine-tuning of the encoder diverged"):
        model.fit(X, few)
    np.testing.assert_allclose(model.predict_proba(X), head.predict_proba(X))

"""The promises that every autoencoder inherits."""

import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skae import MLP, Autoencoder, AutoencoderWarning, LinearAutoencoder
from skae.metrics import explained_variance, neg_reconstruction_error

BOTH = pytest.mark.parametrize(
    "autoencoder",
    [Autoencoder(2, max_iter=5, random_state=0), LinearAutoencoder(2, max_iter=5, random_state=0)],
    ids=["Autoencoder", "LinearAutoencoder"],
)
METHODS = ["transform", "reconstruct", "score_samples"]


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    t = rng.uniform(-1, 1, size=(400, 2))
    X = np.column_stack([t, t**2, t[:, 0] * t[:, 1], np.sin(2 * t)])
    return Autoencoder(2, max_iter=60, random_state=0).fit(X), X


def equal(a, b, X):
    return all(np.array_equal(getattr(a, m)(X), getattr(b, m)(X)) for m in METHODS)


# Promise 1: never worse than PCA.


@pytest.mark.parametrize("k", [1, 3, 6])
def test_epoch_0_is_pca(sheet, k):
    start = Autoencoder(k, max_iter=1, learning_rate=1e-12, early_stopping=False).fit(sheet)
    pca = PCA(k).fit(sheet)
    np.testing.assert_allclose(
        start.reconstruct(sheet), pca.inverse_transform(pca.transform(sheet)), atol=1e-5
    )
    np.testing.assert_allclose(
        start.transform(sheet) * start.scale_, pca.transform(sheet), atol=1e-5
    )


def test_epoch_0_is_weighted_pca_of_all_rows_held_out_ones_too(sheet, rng):
    weight = rng.integers(1, 4, len(sheet))
    start = Autoencoder(2, max_iter=1, learning_rate=1e-12).fit
    with pytest.warns(AutoencoderWarning, match="the fit is PCA"):
        start = start(sheet, sample_weight=weight)
    pca = PCA(2).fit(np.repeat(sheet, weight, axis=0))
    np.testing.assert_allclose(
        start.reconstruct(sheet), pca.inverse_transform(pca.transform(sheet)), atol=1e-5
    )


def test_better_than_pca_on_a_curved_sheet(fitted):
    autoencoder, X = fitted
    assert explained_variance(autoencoder, X) > 0.97 > 0.9 > explained_variance(PCA(2).fit(X), X)


def test_stays_pca_where_nothing_else_is_to_learn(rng):
    X = rng.normal(size=(300, 5))
    with pytest.warns(AutoencoderWarning, match="No epoch of Autoencoder .* the fit is PCA"):
        stayed = Autoencoder(4, random_state=0, max_iter=30).fit(X)
    assert stayed.best_epoch_ == 0
    start_fit = rng.normal(size=(1000, 5))
    assert explained_variance(stayed, start_fit) == pytest.approx(
        explained_variance(PCA(4).fit(X), start_fit)
    )


def test_codes_beyond_the_rank_leave_the_start_at_pca(rng):
    X = rng.normal(size=(100, 2)) @ rng.normal(size=(2, 6))
    wide = Autoencoder(4, max_iter=1, learning_rate=1e-12, early_stopping=False).fit(X)
    np.testing.assert_allclose(wide.reconstruct(X), X, atol=1e-5)
    beyond = wide.transform(X)[:, 2:].std(axis=0)
    assert (beyond > 0).all()
    assert (beyond < 0.1).all()


@pytest.mark.filterwarnings("ignore:No epoch:skae.AutoencoderWarning")
@pytest.mark.parametrize("load", [load_wine, load_iris])
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.full)])
def test_not_worse_than_pca_on_small_tables(load, seed):
    X = load().data
    train, test = train_test_split(X / X.std(axis=0), test_size=0.25, random_state=seed)
    model, pca = Autoencoder(2, random_state=seed).fit(train), PCA(2).fit(train)
    assert neg_reconstruction_error(model, test) >= 1.05 * neg_reconstruction_error(pca, test)


@pytest.mark.filterwarnings("ignore:No epoch:skae.AutoencoderWarning")
def test_starts_at_pca_with_more_columns_than_are_decomposed_exactly(rng):
    X = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 2100)) + 0.01 * rng.normal(size=(300, 2100))
    model = Autoencoder(3, max_iter=1, learning_rate=1e-12).fit(X)
    by_pca = neg_reconstruction_error(PCA(3, random_state=0).fit(X), X)
    assert model.score(X) == pytest.approx(by_pca, rel=1e-3)


# Promise 2: conditioning.


@BOTH
def test_codes_do_not_change_with_units(autoencoder, sheet):
    codes = autoencoder.fit_transform(sheet)
    in_units = isinstance(autoencoder, LinearAutoencoder)  # of X, as PCA's codes are
    a, b = (1024, 1e3) if in_units else (1, 1)
    np.testing.assert_array_equal(clone(autoencoder).fit_transform(1024 * sheet), a * codes)
    other = clone(autoencoder).fit(-300 + 1e3 * sheet)
    np.testing.assert_allclose(other.transform(-300 + 1e3 * sheet), b * codes, atol=1e-3 * b)
    assert other.score(-300 + 1e3 * sheet) == pytest.approx(
        1e6 * autoencoder.score(sheet), rel=1e-3
    )


@BOTH
def test_offset_costs_nothing_in_float64(autoencoder, sheet):
    plain = clone(autoencoder).fit(sheet)
    offset = clone(autoencoder).fit(sheet + 1e6)
    assert offset.score(sheet + 1e6) == pytest.approx(plain.score(sheet), rel=1e-3)


# Promise 3: missing values are data.


@BOTH
def test_missing_values_are_replaced_by_the_mean_and_ignored_by_losses(autoencoder, sheet, rng):
    X_missing = np.where(rng.random(sheet.shape) < 0.2, np.nan, sheet)
    autoencoder = clone(autoencoder).fit(X_missing)
    filled = np.where(np.isnan(X_missing), autoencoder.mean_, X_missing)
    np.testing.assert_allclose(autoencoder.mean_, np.nanmean(X_missing, axis=0))
    np.testing.assert_allclose(autoencoder.transform(X_missing), autoencoder.transform(filled))
    x_hat = autoencoder.reconstruct(X_missing)
    assert np.isfinite(x_hat).all()
    np.testing.assert_allclose(
        autoencoder.score_samples(X_missing),
        -np.nanmean((x_hat - X_missing) ** 2, axis=1),
        rtol=1e-6,
    )


@BOTH
def test_blank_rows_do_not_train_and_score_0(autoencoder, sheet):
    blank = np.full((1, 6), np.nan)
    with_blank = clone(autoencoder).fit(np.vstack([sheet[:200], blank, sheet[200:]]))
    without = clone(autoencoder).fit(sheet)
    assert equal(with_blank, without, sheet)
    assert without.score_samples(blank) == 0
    np.testing.assert_array_equal(without.transform(blank), without.transform(without.mean_[None]))


@BOTH
def test_blank_and_constant_columns(autoencoder, sheet):
    X = np.column_stack([sheet, np.full(len(sheet), np.nan), np.full(len(sheet), 0.1)])
    autoencoder = clone(autoencoder).fit(X)
    x_hat = autoencoder.reconstruct(X)
    np.testing.assert_array_equal(x_hat[:, 6], 0)
    np.testing.assert_allclose(x_hat[:, 7], 0.1, atol=0.02)
    assert np.isfinite(autoencoder.score_samples(X)).all()


# Promise 4: dtype.


def test_results_have_the_precision_of_x(default_dtype, sheet):
    for dtype in (np.float32, np.float64):
        autoencoder = Autoencoder(2, max_iter=2, early_stopping=False).fit(sheet.astype(dtype))
        assert autoencoder.module_.output_bias.dtype == default_dtype
        for other in (np.float32, np.float64):
            codes = autoencoder.transform(sheet.astype(other))
            assert codes.dtype == other
            assert autoencoder.inverse_transform(codes).dtype == other
            assert autoencoder.reconstruct(sheet.astype(other)).dtype == other
            assert autoencoder.score_samples(sheet.astype(other)).dtype == other
    integers = (9 * sheet).astype(int)
    assert LinearAutoencoder(2).fit_transform(integers).dtype == np.float64


def test_precision_of_inference_is_the_one_of_x(fitted):
    autoencoder, X = fitted
    one_by_one = np.vstack([autoencoder.transform(row[None]) for row in X[:50]])
    np.testing.assert_allclose(autoencoder.transform(X)[:50], one_by_one, rtol=1e-10, atol=1e-12)


# Promise 5: randomness.


@BOTH
def test_same_seed_same_bits(autoencoder, sheet):
    autoencoder = clone(autoencoder).set_params(init="random", max_iter=3)
    first, second = clone(autoencoder).fit(sheet), clone(autoencoder).fit(sheet)
    assert equal(first, second, sheet)
    other = clone(autoencoder).set_params(random_state=1).fit(sheet)
    assert not equal(first, other, sheet)


def test_generator_instance_advances(sheet):
    state = np.random.RandomState(0)
    a = Autoencoder(2, max_iter=2, random_state=state).fit(sheet)
    b = Autoencoder(2, max_iter=2, random_state=state).fit(sheet)
    assert not equal(a, b, sheet)


def test_torchs_generator_neither_matters_nor_moves(sheet):
    torch_state = torch.random.get_rng_state()
    a = Autoencoder(2, max_iter=2, random_state=0).fit(sheet)
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    torch.manual_seed(99)
    b = Autoencoder(2, max_iter=2, random_state=0).fit(sheet)
    torch.random.set_rng_state(torch_state)
    assert equal(a, b, sheet)


# Promise 6: weights.


@BOTH
def test_rows_of_weight_0_are_absent(autoencoder, sheet, rng):
    weight = np.ones(len(sheet) + 30)
    weight[100:130] = 0
    junk = 1e3 * rng.normal(size=(30, 6))
    with_junk = clone(autoencoder).fit(
        np.vstack([sheet[:100], junk, sheet[100:]]), sample_weight=weight
    )
    assert equal(with_junk, clone(autoencoder).fit(sheet), sheet)


@pytest.mark.parametrize("factor", [8, 2.0**-500, 2.0**1000])
def test_scale_of_the_weights_does_not_matter(sheet, rng, factor):
    weight = rng.uniform(0.5, 2, len(sheet))
    model = Autoencoder(2, max_iter=3, early_stopping=False, random_state=0)
    a = clone(model).fit(sheet, sample_weight=weight)
    assert equal(a, model.fit(sheet, sample_weight=factor * weight), sheet)


@BOTH
def test_weights_may_be_a_column_of_a_frame(autoencoder, sheet):
    frame = pd.DataFrame({"w": np.linspace(1, 2, len(sheet))})
    frame["w"].to_numpy().flags.writeable = False
    clone(autoencoder).fit(sheet, sample_weight=frame["w"])


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:No epoch:skae.AutoencoderWarning")
def test_weight_moves_the_fit_to_the_heavy_rows(sheet, rng):
    X, heavy = np.vstack([sheet, rng.normal(size=(400, 6))]), np.repeat([1e3, 1], 400)
    model = Autoencoder(2, max_iter=15, random_state=0)
    on_sheet = clone(model).fit(X, sample_weight=heavy).score(sheet)
    alone = clone(model).fit(sheet).score(sheet)
    unweighted = clone(model).fit(X).score(sheet)
    assert on_sheet == pytest.approx(alone, rel=0.5)
    assert unweighted < 3 * on_sheet


# Promise 7: best epoch.


def test_best_epoch_is_the_lowest_of_the_held_out_curve(fitted):
    autoencoder, _ = fitted
    curve = autoencoder.validation_loss_curve_
    assert len(curve) == len(autoencoder.loss_curve_) == autoencoder.n_iter_
    assert autoencoder.best_epoch_ == 1 + int(np.argmin(curve))


def test_stops_after_patience_and_gives_back_the_best(rng):
    X = rng.normal(size=(200, 4))
    X[:, 3] = X[:, 0] ** 2
    model = Autoencoder(3, n_iter_no_change=4, max_iter=500, random_state=0).fit(X)
    curve = model.validation_loss_curve_
    assert model.n_iter_ < 500
    assert min(curve[-4:]) > min(curve[:-4]) * (1 - 1e-4)
    assert curve[model.best_epoch_ - 1] == min(curve)


def test_without_early_stopping_all_epochs_run(sheet):
    model = Autoencoder(2, max_iter=7, early_stopping=False).fit(sheet)
    assert (model.n_iter_, model.best_epoch_) == (7, 7)
    assert model.validation_loss_curve_ is None
    assert Autoencoder(2, max_iter=2).fit(sheet[:7]).validation_loss_curve_ is None


# Promise 9: state.


@BOTH
@pytest.mark.parametrize("how", ["pickle", "joblib", "memmap"])
def test_round_trip_is_equal_to_the_bit(autoencoder, sheet, how, tmp_path):
    before = clone(autoencoder).fit(sheet)
    if how == "pickle":
        after = pickle.loads(pickle.dumps(before))
    else:
        joblib.dump(before, tmp_path / "model")
        after = joblib.load(tmp_path / "model", mmap_mode="r" if how == "memmap" else None)
    assert equal(before, after, sheet)
    assert after.get_params() == before.get_params()
    assert pickle.dumps(after) == pickle.dumps(pickle.loads(pickle.dumps(after)))


@BOTH
def test_state_holds_no_torch_objects(autoencoder, sheet):
    state = pickle.dumps(clone(autoencoder).fit(sheet))
    assert b"torch" not in state
    assert len(state) < 400_000


@BOTH
def test_set_params_after_fit_breaks_nothing(autoencoder, sheet):
    autoencoder = clone(autoencoder).fit(sheet)
    codes, scores = autoencoder.transform(sheet), autoencoder.score_samples(sheet)
    autoencoder.set_params(n_components=5)
    if isinstance(autoencoder, Autoencoder):
        autoencoder.set_params(hidden_layer_sizes=(3,), loss="log_loss", linear_shortcut=False)
    for model in (autoencoder, pickle.loads(pickle.dumps(autoencoder))):
        np.testing.assert_array_equal(model.transform(sheet), codes)
        np.testing.assert_array_equal(model.score_samples(sheet), scores)
        assert len(model.get_feature_names_out()) == 2


def test_changing_the_architecture_after_fit_breaks_nothing(sheet):
    architecture = MLP((4,))
    model = Autoencoder(2, architecture=architecture, max_iter=2, early_stopping=False).fit(sheet)
    codes = model.transform(sheet)
    architecture.set_params(hidden_layer_sizes=(9, 9))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).transform(sheet), codes)


# Promise 10: scores.


@BOTH
def test_scores_are_minus_the_mean_squared_error_in_units_of_x(autoencoder, sheet):
    X = 50 * sheet + 3
    autoencoder = clone(autoencoder).fit(X)
    error = ((autoencoder.reconstruct(X) - X) ** 2).mean(axis=1)
    np.testing.assert_allclose(autoencoder.score_samples(X), -error)
    weight = np.arange(len(X))
    assert autoencoder.score(X) == pytest.approx(-error.mean())
    assert autoencoder.score(X, sample_weight=weight) == pytest.approx(
        -np.average(error, weights=weight)
    )


@BOTH
def test_reconstruction_is_the_inverse_of_the_code(autoencoder, sheet):
    autoencoder = clone(autoencoder).fit(sheet)
    np.testing.assert_array_equal(
        autoencoder.inverse_transform(autoencoder.transform(sheet)), autoencoder.reconstruct(sheet)
    )


# Promise 11: failure is loud.


@pytest.mark.parametrize("learning_rate", [1e2, 1e6])
@pytest.mark.parametrize("early_stopping", [True, False])
def test_divergence_raises_and_leaves_nothing(sheet, learning_rate, early_stopping):
    model = Autoencoder(2, learning_rate=learning_rate, early_stopping=early_stopping)
    with pytest.raises(ValueError, match=r"diverged in epoch \d+: .* lower learning_rate \(now 1"):
        model.fit(sheet)
    assert not [name for name in vars(model) if name.endswith("_")]


def test_failed_fit_leaves_the_former_one(fitted):
    model, X = pickle.loads(pickle.dumps(fitted[0])), fitted[1]
    codes = model.transform(X)
    with pytest.raises(ValueError, match="learning_rate"):
        model.set_params(learning_rate=1e6).fit(np.hstack([X, X]))
    np.testing.assert_array_equal(model.transform(X), codes)
    assert model.n_features_in_ == X.shape[1]


# scikit-learn around it.


def test_pandas_in_and_out(sheet):
    frame = pd.DataFrame(sheet, columns=list("abcdef"), index=np.arange(1000, 1400))
    model = (
        Autoencoder(2, max_iter=2, early_stopping=False).set_output(transform="pandas").fit(frame)
    )
    codes = model.transform(frame)
    assert list(codes.columns) == ["autoencoder0", "autoencoder1"]
    assert codes.index.equals(frame.index)
    assert list(model.feature_names_in_) == list("abcdef")
    assert model.inverse_transform(codes).shape == sheet.shape


@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.full)])
def test_grid_search_over_reducers_and_their_parameters(n_jobs):
    X = load_digits().data[:300]
    pipeline = Pipeline([("scale", StandardScaler()), ("reduce", PCA(8))])
    grid = [
        {"reduce": [PCA(8), Autoencoder(8, max_iter=2, random_state=0)]},
        {
            "reduce": [Autoencoder(8, architecture=MLP(), max_iter=2, random_state=0)],
            "reduce__architecture__hidden_layer_sizes": [(), (16,), (16, 8)],
        },
    ]
    search = GridSearchCV(pipeline, grid, scoring=explained_variance, cv=2, n_jobs=n_jobs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.fit(X)
    scores = search.cv_results_["mean_test_score"]
    assert len(scores) == 5
    assert np.isfinite(scores).all()


def test_verbose_prints_a_line_per_epoch_and_otherwise_nothing(sheet, capsys):
    Autoencoder(2, max_iter=3, random_state=0).fit(sheet)
    assert capsys.readouterr().out == ""
    Autoencoder(2, max_iter=3, random_state=0, verbose=1).fit(sheet)
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 2 + 3
    assert "valid_loss" in lines[0]


def test_net_params_win(sheet):
    model = Autoencoder(2, max_iter=9, early_stopping=False, random_state=0)
    sgd = {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9}
    assert not equal(clone(model).set_params(net_params=sgd).fit(sheet), model.fit(sheet), sheet)
    assert len(model.set_params(net_params={"max_epochs": 4}).fit(sheet).loss_curve_) == 4

import pickle

import numpy as np
import pandas as pd
import pytest
import torch

import skae
from skae import AutoencoderOutlierDetector, LinearAutoencoder, TableEncoder, VariationalAutoencoder
from skae.autoencoders._gaussian import standard_draws
from skae.outlier._loss_criteria import N_NOISE_DRAWS
from tests.tables import mixed

LINEAR = LinearAutoencoder(4, max_iter=5)
ADDITIVE = ["reconstruction", "standardized", "denoising", "tails"]


@pytest.fixture(scope="module", name="X")
def table():
    X = mixed(200)
    return X.mask(np.random.default_rng(1).random(X.shape) < 0.05).astype(X.dtypes)


def detector(method="auto", estimator=LINEAR, **params):
    params = {"trim": 0.0, "random_state": 0} | params
    return AutoencoderOutlierDetector(estimator, method=method, **params)


@pytest.fixture(scope="module")
def fitted(X):
    return detector().fit(X)


# ------------------------------------------------------------------------- one variable, one vote


def squares_of_variables(X, Z_hat):
    """Return the squared distance of each variable from its reconstruction, and the mask."""
    encoder = TableEncoder().fit(X)
    squares = np.nan_to_num((Z_hat - encoder.transform(X)) ** 2)
    return encoder._groups.sum(squares), X.notna().to_numpy()


def test_losses_are_sums_over_the_indicators_of_a_variable(X):
    for method in ("reconstruction", "standardized"):
        fitted = detector(method).fit(X)
        Z_hat = fitted.estimator_.reconstruct(TableEncoder().fit_transform(X))
        squares, observed = squares_of_variables(X, Z_hat)
        if method == "standardized":
            squares /= squares.sum(0) / observed.sum(0)
        expected = squares / observed.sum(1, keepdims=True)
        np.testing.assert_allclose(fitted.feature_contributions(X), expected, rtol=1e-5)
        np.testing.assert_allclose(fitted.score_samples(X), -expected.sum(1), rtol=1e-5)


def test_denoising_is_relative_to_the_mean_losses_of_variables(X):
    X = X.dropna()
    fitted = detector("denoising").fit(X)
    Z = TableEncoder().fit(X).transform(X)
    d = Z.shape[1]
    draws = standard_draws(N_NOISE_DRAWS, torch.zeros(1, d).double(), paired=True)[:, 0].numpy()
    expected = np.zeros(len(X))
    for level in np.geomspace(0.1, 1, 5):
        noisy = [Z + level * Z.std(0) * epsilon for epsilon in draws]
        reconstructed = [fitted.estimator_.reconstruct(z) for z in noisy]
        squares = np.mean([squares_of_variables(X, x_hat)[0] for x_hat in reconstructed], axis=0)
        expected += (squares * (0.5 / squares.mean() + 0.5 / squares.mean(0))).mean(1) / 5
    np.testing.assert_allclose(fitted.score_samples(X), -expected, rtol=1e-5)


def test_tails_of_categories_are_the_shares_of_those_at_most_as_frequent():
    X = pd.DataFrame({"c": list("uuuuuvvvwx"), "flag": [True] * 9 + [False]})
    fitted = detector("tails", estimator=LinearAutoencoder(1)).fit(X)
    p = {"u": 1, "v": 0.5, "w": 0.2, "x": 0.2, "new": 0.1}
    rows = pd.DataFrame({"c": list(p), "flag": True})
    expected = np.log(list(p.values())) / 2
    np.testing.assert_allclose(fitted.score_samples(rows), expected)
    np.testing.assert_allclose(
        fitted.score_samples(rows.assign(flag=False)), expected + np.log(0.1) / 2
    )


def test_categories_without_an_indicator_count_as_one():
    names = [f"n{i:03d}" for i in range(100)]
    X = pd.DataFrame({"name": names, "x": np.arange(100.0)})
    fitted = detector("tails", estimator=LinearAutoencoder(1)).fit(X)
    contributions = fitted.feature_contributions(X)[:, 0]
    assert (contributions[50:] == 0).all()  # half of the samples
    assert (contributions[:50] == -np.log(0.5) / 2).all()


def test_numbers_are_scored_as_in_a_table_of_numbers(X):
    """Tails do not depend on scale, so a table of numbers has the same ones."""
    numbers = X[["a", "b"]]
    tables = numbers, numbers.assign(same="u")
    terms = []
    for table in tables:
        fitted = detector("tails", estimator=LinearAutoencoder(1, max_iter=5)).fit(table)
        n_observed = table.notna().sum(axis=1).to_numpy()[:, None]
        terms.append(fitted.feature_contributions(table)[:, :2] * n_observed)
    np.testing.assert_allclose(*terms, rtol=1e-3, atol=1e-4)  # values are compared in float32


# ----------------------------------------------------------------------------- what is an outlier


def test_features_are_the_columns_of_the_table(X, fitted):
    assert fitted.n_features_in_ == 8
    assert fitted.feature_names_in_.tolist() == X.columns.tolist()
    contributions = fitted.feature_contributions(X)
    assert contributions.shape == X.shape
    assert (contributions[X.isna().to_numpy()] == 0).all()
    assert (contributions.mean(axis=0) > 0).all()


@pytest.mark.parametrize("method", ADDITIVE)
def test_contributions_sum_to_the_score(X, method):
    fitted = detector(method).fit(X)
    np.testing.assert_allclose(
        fitted.feature_contributions(X).sum(axis=1), -fitted.score_samples(X), rtol=1e-5
    )


@pytest.mark.full
def test_rows_whose_columns_contradict_each_other_are_outliers():
    X = mixed()[:393]
    fitted = AutoencoderOutlierDetector(random_state=0, max_iter=60).fit(X)
    wrong = X[:100].assign(sign=np.where(X["sign"][:100] == "plus", "minus", "plus"))
    assert (fitted.score_samples(wrong) < fitted.score_samples(X[:100])).mean() > 0.95
    contributions = fitted.feature_contributions(wrong)
    assert (contributions.argmax(axis=1) == X.columns.get_loc("sign")).mean() > 0.5


@pytest.mark.parametrize("method", ["auto", *ADDITIVE, "neighbors", "mahalanobis"])
def test_a_category_that_fit_did_not_see_is_scored(X, method):
    fitted = detector(method).fit(X)
    scores = fitted.score_samples(X.assign(quarter="somewhere"))
    assert np.isfinite(scores).all()
    least = {"auto": 0.9, "tails": 1}.get(method, 0)
    for quarter in ("NE", "NW", "SE", "SW"):
        assert (scores < fitted.score_samples(X.assign(quarter=quarter))).mean() >= least


@pytest.mark.full
def test_frames_of_numbers_are_arrays_as_before(X):
    numbers = X[["a", "b", "count"]]
    fitted = detector("reconstruction", estimator=LinearAutoencoder(1)).fit(numbers)
    array = numbers.astype("Float64").to_numpy(float, na_value=np.nan)
    of_array = detector("reconstruction", estimator=LinearAutoencoder(1)).fit(array)
    assert fitted._encoder is None
    np.testing.assert_array_equal(fitted.score_samples(numbers), of_array.score_samples(array))


def test_scores_do_not_depend_on_the_other_samples_or_on_dtypes(X, fitted):
    scores = fitted.score_samples(X)
    np.testing.assert_allclose(fitted.score_samples(X[40:50]), scores[40:50], rtol=1e-6)
    other = X.astype({"quarter": object, "sign": "category", "count": "Float64", "up": object})
    np.testing.assert_allclose(fitted.score_samples(other), scores, rtol=1e-6)


def test_frames_of_polars(X, fitted):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(
        {name: X[name].astype(object).where(X[name].notna(), None).tolist() for name in X}
    )
    scores = detector().fit(frame).score_samples(frame)
    np.testing.assert_allclose(scores, fitted.score_samples(X), rtol=1e-4)


def test_a_variational_autoencoder_scores_tables(X):
    model = VariationalAutoencoder(2, max_iter=5, early_stopping=False)
    fitted = AutoencoderOutlierDetector(model, method="likelihood", random_state=0).fit(X)
    assert np.isfinite(fitted.score_samples(X.assign(sign="neither"))).all()


# ------------------------------------------------------------------ weights, trimming, calibration


def test_samples_of_weight_zero_are_ignored(X):
    weight = np.arange(200) % 4 > 0
    X = X.assign(sign=np.where(weight, X["sign"], "of weight zero"))
    fitted = detector().fit(X, sample_weight=weight)
    again = detector().fit(X[weight])
    np.testing.assert_allclose(fitted.score_samples(X), again.score_samples(X), rtol=1e-4)
    assert not fitted.support_[~weight].any()


def test_integer_weights_equal_repetitions(X):
    X = X.dropna()
    weight = np.arange(len(X)) % 3
    for method in (*ADDITIVE, "mahalanobis"):
        fitted = detector(method).fit(X, sample_weight=weight)
        again = detector(method).fit(X.iloc[np.repeat(np.arange(len(X)), weight)])
        rtol = 0.02 if method == "tails" else 1e-3  # the smallest p-value is that of a row
        np.testing.assert_allclose(fitted.score_samples(X), again.score_samples(X), rtol=rtol)


def test_held_out_samples_have_no_part_in_the_scores(X):
    fitted = detector(calibration_fraction=0.3).fit(X)
    weight = fitted.support_
    other = X.copy()
    other.loc[~weight, ["a", "sign"]] = [1e6, "other"]
    again = detector(calibration_fraction=0.3).fit(other)
    np.testing.assert_array_equal(again.support_, weight)
    np.testing.assert_array_equal(again.score_samples(X), fitted.score_samples(X))
    assert len(fitted.calibration_scores_) == 60
    assert (again.p_values(other[~weight]) >= 1 / 61).all()
    assert again.calibration_scores_.mean() < fitted.calibration_scores_.mean()


def test_groups_of_outliers_are_excluded(X):
    outliers = X[:10].assign(a=8.0, quarter="SW", sign="neither", size="l")
    both = pd.concat([X, outliers])
    fitted = detector(trim="auto").fit(both)
    assert not fitted.support_[200:].any()
    assert fitted.support_[:200].mean() > 0.8
    assert (fitted.predict(both)[200:] == -1).all()


# -------------------------------------------------------------------------- errors and persistence


@pytest.mark.full
def test_bad_tables(X, fitted):
    with pytest.raises(TypeError, match="AutoencoderOutlierDetector was fitted to a DataFrame of"):
        fitted.predict(np.zeros((3, 8)))
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(X[X.columns[::-1]])
    with pytest.raises(TypeError, match="Column 'a' of X holds str, but held numbers in fit"):
        fitted.predict(X.assign(a="u"))
    with pytest.raises(ValueError, match="Column 'a' of X holds infinity"):
        detector().fit(X.assign(a=np.inf))
    with pytest.raises(TypeError, match="Column 'day' of X holds datetime"):
        detector().fit(X.assign(day=pd.Timestamp("2020")))
    with pytest.raises(ValueError, match="n_samples = 1 with a weight above 0"):
        detector().fit(X[:1])
    numbers = detector(estimator=LinearAutoencoder(1)).fit(X[["a", "b"]])
    with pytest.raises(ValueError, match="Column 'b' of X holds text, such as"):
        numbers.predict(X[["a"]].assign(b=X["sign"]))


def test_files_and_copies(X, fitted, tmp_path):
    skae.save(fitted, tmp_path / "detector")
    for again in (skae.load(tmp_path / "detector"), pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(again.score_samples(X), fitted.score_samples(X))
        np.testing.assert_array_equal(again.predict(X), fitted.predict(X))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda state: state.update(_encoder=None), "not fitted to as many features"),
        (lambda state: state.update(_encoder=TableEncoder()), "its encoder is not fitted"),
        (lambda state: state.update(_encoder=3), "'_encoder' is not valid"),
        (lambda state: state.update(_encoder=TableEncoder().fit(np.eye(17))), "as many features"),
    ],
)
def test_encoders_in_files_belong_to_the_autoencoder(fitted, tmp_path, change, sentence):
    other = pickle.loads(pickle.dumps(fitted))
    change(vars(other))
    with pytest.raises(ValueError, match=sentence):
        skae.save(other, tmp_path / "detector")

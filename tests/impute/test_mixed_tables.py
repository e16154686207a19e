import copy
import pickle
from datetime import date

import numpy as np
import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import KNNImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from skops.io import dumps, get_untrusted_types, loads
from tables import passengers

import skae
from skae import (
    Autoencoder,
    AutoencoderImputer,
    LinearAutoencoder,
    PooledEstimator,
    VariationalAutoencoder,
    make_missing,
)
from skae.impute._conditional_gaussian import probabilities
from skae.impute._network import column_errors
from skae.impute._residuals import draw_category, masked_tensors, random_mask
from skae.losses import CrossEntropy
from skae.tables import ColumnGroups, EncodedTable, MixedTable, _mixed_table, is_mixed
from tests.tables import KINDS, mixed

BRIEF = AutoencoderImputer(max_iter=1, random_state=0)
pytestmark = pytest.mark.usefixtures("quick")
DROPPED = pytest.mark.filterwarnings("ignore:Columns without any observed:skae.AutoencoderWarning")


def with_missing(frame, fraction=0.2, seed=0):
    return make_missing(frame, fraction=fraction, random_state=seed).astype(frame.dtypes)


@pytest.fixture(scope="module")
def table():
    return mixed()


@pytest.fixture(scope="module", name="X_missing")
def incomplete_table(table):
    return with_missing(table)


@pytest.fixture(scope="module")
def fitted(X_missing):
    return AutoencoderImputer(random_state=0).fit(X_missing)


@pytest.fixture(scope="module")
def few(X_missing):
    return X_missing[:100]


@pytest.fixture(scope="module")
def brief(few):
    return clone(BRIEF).fit(few)


# ---------------------------------------------------------------------------------- dtypes


@pytest.mark.parametrize("column", KINDS.values(), ids=KINDS)
def test_what_is_encoded_comes_back(column):
    frame = column.to_frame("x")
    encoder = MixedTable(np.nan, 50)._fit_columns(frame, np.ones(4))
    encoded = encoder._encode(frame)
    missing = np.zeros(encoded.shape, dtype=bool)
    missing[1:3] = True
    # NaN is what pandas takes for a missing value where the dtype has no room for one.
    for X_missing in (frame.mask([[False], [True], [True], [False]]), frame):
        given = EncodedTable(X_missing, X_missing, encoded, missing)
        back = encoder.decode(given, encoded, np.array([True]))
        assert back["x"].tolist() == column.tolist()
        assert back["x"].dtype == X_missing["x"].dtype
    again = encoder._encode(frame.mask([[False], [True], [True], [False]]))
    np.testing.assert_array_equal(np.isnan(again), missing)
    np.testing.assert_array_equal(again[~missing], encoded[~missing])


def test_every_dtype_is_filled():
    frame = pd.DataFrame(
        {name: pd.concat([c] * 15, ignore_index=True) for name, c in KINDS.items()}
    )
    X_missing = frame.assign(text="one")
    for j, (name, column) in enumerate(KINDS.items()):
        if column.dtype not in (np.dtype("int64"), np.dtype("uint8"), np.dtype(bool)):
            X_missing.loc[j % 5 :: 5, name] = None
    filled = AutoencoderImputer(random_state=0).fit(X_missing).transform(X_missing)
    assert not filled.isna().any().any()
    for name, column in KINDS.items():
        assert filled[name].dtype == column.dtype, name
        known = X_missing[name].notna()
        assert filled[name][known].tolist() == frame[name][known].tolist(), name
        if pd.api.types.infer_dtype(column) in ("categorical", "string", "boolean"):
            assert (filled[name] == frame[name]).mean() > 0.9, name


def test_frames_of_numbers_are_arrays_as_before(rng):
    X = make_missing(rng.normal(size=(60, 3)), random_state=0)
    frame = pd.DataFrame(X, columns=list("abc"))
    assert not is_mixed(frame)
    assert is_mixed(frame.astype("Float64"))
    imputer = clone(BRIEF).fit(frame)
    filled = imputer.transform(frame)
    assert isinstance(filled, np.ndarray)
    np.testing.assert_array_equal(filled, clone(BRIEF).fit_transform(X))
    assert imputer.over_impute(frame, random_state=0).columns.tolist() == [
        "n_cells",
        "rmse",
        "rmse_of_means",
        "coverage",
    ]
    nullable = clone(BRIEF).fit_transform(frame.astype("Float64"))
    assert (nullable.dtypes == "Float64").all()
    np.testing.assert_allclose(nullable.to_numpy(float), filled)


def test_what_stands_for_missing_beside_text():
    text = ["a", "b"] * 10
    small = pd.Series([-9.9, 1, 2, 3] * 5, dtype="float32")
    filled = AutoencoderImputer(missing_values=-9.9, max_iter=1, random_state=0).fit_transform(
        pd.DataFrame({"x": small, "text": text})
    )
    assert filled["x"].min() >= 1
    truths = pd.Series([True, False] * 10, dtype=object)
    frame = pd.DataFrame({"truths": truths, "kinds": truths.astype("category"), "n": [0, 3] * 10})
    filled = AutoencoderImputer(missing_values=0, max_iter=1, random_state=0).fit_transform(frame)
    assert_frame_equal(filled[["truths", "kinds"]], frame[["truths", "kinds"]])
    assert (filled["n"] == 3).all()


# ------------------------------------------------------------------------------- mathematics


def test_columns_of_a_category_are_masked_together(rng):
    group_start = np.array([0, 1, 1, 1, 4])
    Z = rng.normal(size=(200, 5))
    hidden = random_mask(Z, 0.3, ColumnGroups(group_start), np.random.RandomState(0))
    assert (hidden[:, 1:4] == hidden[:, 1:2]).all()
    assert (hidden[:, 0] != hidden[:, 1]).any()
    np.testing.assert_allclose(hidden.mean(0), 0.3, atol=0.12)


def test_training_minimises_twice_the_cross_entropy_of_categories(fitted):
    module = fitted.estimator_.module_
    group_start, grouped = module.group_start, module.grouped
    assert group_start.tolist() == [0, 1, 2, *[3] * 4, *[7] * 4, *[11] * 2, *[13] * 2, *[15] * 2]
    d = len(group_start)
    x = torch.randn(50, d, generator=torch.Generator().manual_seed(0))
    largest = torch.full_like(x, -9).scatter_reduce(1, group_start.expand_as(x), x, "amax")
    onehot = x == largest[:, group_start]
    target = torch.where(grouped, onehot.float(), x)
    output = torch.randn(50, d, generator=torch.Generator().manual_seed(1))
    errors = column_errors(module, output, target)
    for a, b in ((3, 7), (7, 11), (13, 15)):
        p = torch.log_softmax(output[:, a:b], 1)
        expected = -2 * p[onehot[:, a:b]]
        torch.testing.assert_close(errors[:, a:b].sum(1), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(errors[:, :3], ((output - x) ** 2)[:, :3])


def test_cross_entropy_is_the_softmax_of_groups():
    loss = CrossEntropy(torch.tensor([0, 0, 0, 3, 3]))
    mean = np.array([0.2, 0.3, 0.5, 0.9, 0.1])
    output = torch.tensor(loss.bias(mean)) + torch.tensor([5, 5, 5, 99, 99])
    np.testing.assert_allclose(loss.link(output[None])[0], mean)
    x = torch.tensor([[0.0, 1, 0, 0, 1]], dtype=torch.float64)
    np.testing.assert_allclose(loss.cell(output[None], x).sum(), -np.log(0.3 * 0.1))


def test_the_network_starts_at_the_gaussian(X_missing, fitted):
    imputer = copy.deepcopy(fitted)
    by_network = imputer._completion.completion
    module = imputer.estimator_.module_
    with torch.no_grad():
        for parameter in (*module.decoder.parameters(), module.output_bias):
            parameter.zero_()
    table = imputer._table.encode(X_missing, imputer)
    Z = imputer._scaler.transform(table.X, table.missing)
    estimate = by_network.gaussian.fill(*masked_tensors(Z))
    expected = probabilities(estimate, module.frequency.double(), module.group_start)
    expected = torch.where(module.grouped, expected, estimate).numpy()
    filled = by_network.complete(Z)
    np.testing.assert_allclose(filled[np.isnan(Z)], expected[np.isnan(Z)], atol=1e-5)
    assert (filled[:, 3:] >= 0).all()
    np.testing.assert_allclose(filled[:, 3:7].sum(1), 1)


def test_probabilities_are_exact_for_any_correlation(rng):
    n = 40_000
    p = np.tile([0.1, 0.25, 0.6, 0.05], (n, 1))
    A = rng.normal(size=(4, 4))
    covariance = A @ A.T
    scale = np.sqrt(np.diag(covariance))
    normal = torch.from_numpy(rng.normal(size=(n, 4)) @ (A / scale[:, None]).T)
    correlation = torch.from_numpy(covariance / np.outer(scale, scale))
    drawn = draw_category(p, normal, correlation.expand(n, 4, 4))
    assert (drawn.sum(1) == 1).all()
    assert (np.abs(drawn.mean(0) - p[0]) < 4 * np.sqrt(p[0] * (1 - p[0]) / n)).all()
    # The larger its number, the rather a category is drawn.
    assert all(np.corrcoef(drawn[:, k], normal[:, k])[0, 1] > 0.2 for k in range(3))


def test_drawn_categories_are_as_frequent_as_they_are(rng):
    n = 1000
    group = rng.integers(0, 2, n)
    tall = rng.random(n) < np.where(group, 0.7, 0.2)
    frame = pd.DataFrame({"group": np.where(group, "one", "other"), "tall": tall})
    X_missing = with_missing(frame.astype({"tall": "boolean"}))
    imputer = AutoencoderImputer(random_state=0).fit(X_missing)
    new = pd.DataFrame({"group": ["one", "other"] * 2000, "tall": pd.array([None] * 4000)})
    drawn = imputer.sample(new.astype({"tall": "boolean"}), 1, random_state=0)[0]
    for name in ("one", "other"):
        # The frequency in the training rows, which has an error of its own.
        truth = X_missing["tall"][X_missing["group"] == name].mean()
        error = np.sqrt(truth * (1 - truth) / 2000)
        assert abs(drawn["tall"][drawn["group"] == name].mean() - truth) < 4 * error


@pytest.mark.full
def test_a_variational_autoencoder_draws_categories_by_its_probabilities():
    frame = mixed(300)
    X_missing = with_missing(frame)
    vae = VariationalAutoencoder(3, max_iter=5, early_stopping=False, random_state=0)
    imputer = AutoencoderImputer(vae, random_state=0).fit(X_missing)
    draws = imputer.sample(X_missing, 20, random_state=0)
    for name in frame.select_dtypes(exclude="number"):
        hidden = X_missing[name].isna().to_numpy()
        drawn = pd.concat([table[name][hidden] for table in draws])
        known = X_missing[name].dropna()
        assert drawn.dtype == frame[name].dtype
        assert set(drawn) <= set(known)
        shares = pd.concat([drawn.value_counts(normalize=True), known.value_counts(True)], axis=1)
        assert (shares.iloc[:, 0] - shares.iloc[:, 1]).abs().max() < 0.15


def test_drawn_categories_of_a_row_are_correlated(rng):
    one = rng.random(600) < 0.5
    frame = pd.DataFrame({"one": one, "other": one ^ (rng.random(600) < 0.02), "x": 1.0 * one})
    frame["x"] += 0.1 * rng.normal(size=600)
    imputer = AutoencoderImputer(random_state=0).fit(with_missing(frame.astype(object)))
    nothing = pd.DataFrame(None, index=range(400), columns=["one", "other", "x"], dtype=object)
    drawn = imputer.sample(nothing, 1, random_state=0)[0]
    assert drawn["one"].mean() == pytest.approx(0.5, abs=0.15)
    assert (drawn["one"] == drawn["other"]).mean() > 0.75
    assert np.corrcoef(drawn["one"].astype(float), drawn["x"].astype(float))[0, 1] > 0.6


def test_a_category_that_numbers_decide_is_filled_by_them():
    frame = mixed(900)[["a", "b", "quarter"]]
    imputer = AutoencoderImputer(max_iter=36, random_state=0).fit(with_missing(frame[:600], 0.1))
    test = frame[600:].copy()
    test["quarter"] = None
    assert (imputer.transform(test)["quarter"] == frame["quarter"][600:]).mean() > 0.93


def test_a_number_is_predicted_by_a_category(rng):
    kind = rng.choice(list("uvw"), 400)
    x = pd.Series(kind).map({"u": 0.0, "v": 10.0, "w": 3.0}).to_numpy() + rng.normal(size=400)
    frame = pd.DataFrame({"x": x, "y": rng.normal(size=400), "kind": kind})
    X_missing = frame.copy()
    X_missing.loc[::4, "x"] = np.nan
    error = {}
    for names in (["x", "y"], ["x", "y", "kind"]):
        filled = AutoencoderImputer(random_state=0).fit_transform(X_missing[names])
        error[len(names)] = np.sqrt(((np.asarray(filled)[::4, 0] - x[::4]) ** 2).mean())
    assert error[3] < 1.3
    assert error[2] > 3


# --------------------------------------------------------------------------------------- promises


def test_a_table_comes_back_whole(table, X_missing, fitted):
    filled = fitted.transform(X_missing)
    assert filled.dtypes.equals(X_missing.dtypes)
    assert filled.columns.equals(X_missing.columns)
    assert filled.index.equals(X_missing.index)
    assert filled.index.name == "row"
    assert not filled.isna().any().any()
    assert_frame_equal(filled.mask(X_missing.isna()).astype(X_missing.dtypes), X_missing)
    assert filled["count"].between(X_missing["count"].min(), X_missing["count"].max()).all()
    right = {
        name: (filled[name] == table[name])[X_missing[name].isna()].mean()
        for name in ("quarter", "size", "sign", "up")
    }
    assert min(right.values()) > 0.6
    alone = pd.concat([fitted.transform(X_missing[i : i + 1]) for i in range(9)])
    assert_frame_equal(alone, filled[:9], rtol=1e-4)
    assert_frame_equal(X_missing, with_missing(table))


def test_attributes_are_those_of_the_users_columns(X_missing, fitted):
    assert fitted.n_features_in_ == 8
    assert fitted.feature_names_in_.tolist() == X_missing.columns.tolist()
    assert fitted.get_feature_names_out().tolist() == X_missing.columns.tolist()
    np.testing.assert_allclose(fitted.mean_[:3], X_missing.iloc[:, :3].mean().astype(float))
    np.testing.assert_allclose(fitted.data_min_[:3], X_missing.iloc[:, :3].min().astype(float))
    for values in (fitted.mean_, fitted.scale_, fitted.data_min_, fitted.data_max_):
        assert np.isnan(values[3:]).all()
        assert values.shape == (8,)


def test_integers_stay_in_range_and_are_whole(rng):
    x = rng.integers(0, 4, 200)
    frame = pd.DataFrame({"x": pd.array(x, dtype="UInt8"), "y": x + 0.3 * rng.normal(size=200)})
    frame.loc[::3, "x"] = pd.NA
    new = pd.DataFrame({"x": [np.nan, None, np.nan], "y": [-50.0, 1.9, 50.0]})
    for clip, expected in ((True, [0, 2, 3]), (False, [0, 2, None])):
        imputer = clone(BRIEF).set_params(clip=clip).fit(frame)
        filled = imputer.transform(new.astype({"x": "UInt8"}))["x"]
        assert filled.dtype == "UInt8"
        assert filled[:2].tolist() == expected[:2]
        assert (filled[2] == 3) == clip
        # Missing values make floats of a column of integers.
        floats = imputer.transform(new.astype({"x": float}))["x"]
        assert floats.dtype == float
        assert floats[1] == 2
        assert (floats == floats.round()).all()


def test_exact_integers_beyond_floats_are_kept(rng):
    large = pd.array([2**62 + 1, None, 2**62 + 3] * 20, dtype="Int64")
    frame = pd.DataFrame({"large": large, "y": rng.normal(size=60)})
    filled = clone(BRIEF).fit_transform(frame)
    assert filled["large"][0] == 2**62 + 1
    assert filled["large"].notna().all()


def test_rows_with_nothing_get_means_and_modes(X_missing, fitted):
    nothing = pd.DataFrame(None, index=[1], columns=X_missing.columns, dtype=object)
    filled = fitted.transform(nothing.astype(X_missing.dtypes)).iloc[0]
    assert abs(filled["a"] - X_missing["a"].mean()) < 0.1
    assert filled["size"] == X_missing["size"].mode()[0]
    # Where a column came without its dtype, it goes with the dtype that fit saw.
    assert fitted.transform(nothing).dtypes.equals(X_missing.dtypes)


@DROPPED
def test_columns_with_nothing_are_dropped_or_kept(few, brief):
    frame = few.copy()
    frame.insert(1, "number", np.nan)
    frame.insert(2, "Number", pd.array([None] * len(frame), dtype="Int64"))
    frame["object"] = pd.Series([None] * len(frame), dtype=object, index=frame.index)
    frame["category"] = pd.Categorical([None] * len(frame), ["u", "v"])
    imputer = clone(brief).fit(frame)
    expected = brief.transform(few)
    assert_frame_equal(imputer.transform(frame), expected)
    assert imputer.get_feature_names_out().tolist() == few.columns.tolist()
    kept = clone(brief).set_params(keep_empty_features=True).fit(frame)
    filled = kept.transform(frame)
    assert filled.dtypes.equals(frame.dtypes)
    assert (filled[["number", "Number"]] == 0).all().all()
    assert filled[["object", "category"]].isna().all().all()
    assert_frame_equal(filled[few.columns], expected)
    nothing = frame[["object"]]
    only = AutoencoderImputer().fit(nothing)
    assert only.transform(nothing).shape == (len(frame), 0)
    assert only.sample(nothing, 2)[1].shape == (len(frame), 0)
    assert len(only.over_impute(nothing)) == 0


def test_categories_that_only_the_dtype_declares_are_known_and_rare_ones_count_little(monkeypatch):
    monkeypatch.setattr(_mixed_table, "MAX_CATEGORIES", 2)
    colours = ["red"] * 30 + ["blue"] * 20 + ["green"] * 2
    frame = pd.DataFrame({"x": np.arange(52.0), "colour": pd.Categorical(colours)})
    frame["colour"] = frame["colour"].cat.add_categories(["violet"])
    imputer = clone(BRIEF).fit(frame)
    assert len(imputer._groups.group_start) == 3
    new = frame[-4:].copy()
    new["colour"] = ["violet", "green", None, "blue"]
    new["colour"] = new["colour"].astype(frame["colour"].dtype)
    filled = imputer.transform(new)
    assert filled["colour"].tolist()[:2] == ["violet", "green"]
    assert filled["colour"].iloc[2] in ("red", "blue")
    assert filled["colour"].dtype == frame["colour"].dtype


def test_categories_that_come_in_another_dtype(X_missing, fitted):
    text = X_missing.astype({"quarter": object, "up": object, "sign": "category", "count": float})
    assert_frame_equal(
        fitted.transform(text).astype(X_missing.dtypes),
        fitted.transform(X_missing),
        check_dtype=False,
    )
    assert fitted.transform(text)["count"].dtype == float
    few = X_missing[:2].astype({"quarter": object, "up": float})
    few["quarter"], few["up"] = pd.Categorical([None, "NE"]), [1.0, np.nan]
    filled = fitted.transform(few)
    assert filled["quarter"].dtype == X_missing["quarter"].dtype
    assert filled["up"].dtype == X_missing["up"].dtype
    assert filled["up"].iloc[0]


def test_sentinels_and_indicator(few, brief):
    marked = few.copy()
    marked["sign"] = marked["sign"].fillna("?")
    marked["quarter"] = marked["quarter"].cat.add_categories(["?"]).fillna("?")
    imputer = clone(brief).set_params(missing_values="?", add_indicator=True)
    filled, expected = imputer.fit_transform(marked), brief.transform(few)
    names = [f"missingindicator_{name}" for name in few]
    assert filled.columns.tolist() == [*few.columns, *names]
    assert imputer.get_feature_names_out().tolist() == filled.columns.tolist()
    np.testing.assert_array_equal(filled[names], few.isna())
    assert_frame_equal(filled[["a", "sign"]], expected[["a", "sign"]])
    assert "?" not in set(filled["quarter"])
    numbers = pd.DataFrame({"x": [1, -1, 3, 4] * 10, "flag": [True, False, False, True] * 10})
    filled = clone(brief).set_params(missing_values=-1).fit_transform(numbers)
    assert filled["x"].between(1, 4).all()
    assert filled["x"].dtype == np.int64
    for missing in (pd.NA, None):
        again = clone(brief).set_params(missing_values=missing).fit_transform(few)
        assert_frame_equal(again, expected)


def test_output_follows_set_output(few, brief):
    imputer = clone(brief).set_output(transform="pandas").fit(few)
    assert_frame_equal(imputer.transform(few), brief.transform(few))
    numbers = few[["a", "b"]].astype(np.float32)
    filled = clone(imputer).fit_transform(numbers)
    assert filled.dtypes.equals(numbers.dtypes)


def test_names_and_indices_of_any_kind(few, brief):
    frame = few.set_axis(range(8), axis=1)
    frame.index = [5] * len(frame)
    filled = clone(brief).fit_transform(frame)
    assert filled.columns.tolist() == list(range(8))
    assert filled.index.equals(frame.index)
    np.testing.assert_array_equal(filled, brief.transform(few))


def test_samples_of_weight_zero_are_ignored(X_missing):
    frame = X_missing.astype({"sign": object})
    frame.loc[frame.index[-1], "sign"] = "neither"
    weight = np.repeat([1.0, 0], [300, 100])
    one = clone(BRIEF).fit(frame, sample_weight=weight)
    other = clone(BRIEF).fit(frame[:300])
    known = frame[:-1]
    assert_frame_equal(one.transform(known), other.transform(known))


def test_draws_are_tables(X_missing, fitted):
    one, other = (fitted.sample(X_missing, 3, random_state=1) for _ in range(2))
    assert len(one) == 3
    for a, b in zip(one, other, strict=True):
        assert_frame_equal(a, b)
        assert a.dtypes.equals(X_missing.dtypes)
        assert not a.isna().any().any()
        assert_frame_equal(a.mask(X_missing.isna()).astype(X_missing.dtypes), X_missing)
    assert not one[0].equals(one[1])


def test_reports_have_a_row_per_column(table, fitted):
    report = fitted.over_impute(table, 0.3, random_state=0)
    assert report.index.tolist() == table.columns.tolist()
    numbers, labels = table.columns[:3], table.columns[3:]
    errors, shares = ["rmse", "rmse_of_means", "coverage"], ["accuracy", "accuracy_of_modes"]
    assert report.loc[labels, errors].isna().all().all()
    assert report.loc[numbers, shares].isna().all().all()
    assert not report.loc[numbers, errors].isna().any().any()
    group_start = fitted._groups.group_start
    own = np.random.RandomState(np.random.RandomState(0).randint(2**31 - 1))
    hidden = (own.uniform(size=(400, len(group_start))) < 0.3)[
        :, np.unique(group_start)
    ] & table.notna().to_numpy()
    filled = fitted.transform(table.astype(object).mask(hidden).astype(table.dtypes))
    np.testing.assert_array_equal(report["n_cells"], hidden.sum(0))
    for j, name in enumerate(table):
        cells = hidden[:, j]
        if name in numbers:
            error = (filled[name] - table[name])[cells].astype(float)
            assert report.loc[name, "rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-4)
        else:
            right = (filled[name] == table[name])[cells].mean()
            assert report.loc[name, "accuracy"] == pytest.approx(right)


def test_cells_of_over_impute_are_those_of_numbers(table, fitted):
    cells = fitted.over_impute_cells(table, 0.3, random_state=0)
    report = fitted.over_impute(table, 0.3, random_state=0)
    n_cells = report["n_cells"][report["rmse"].notna()]
    assert cells["column"].value_counts()[n_cells.index].tolist() == n_cells.tolist()
    assert set(cells["column"]) == set(n_cells.index)
    values = [
        table[name].iloc[row] for row, name in zip(cells["row"], cells["column"], strict=True)
    ]
    np.testing.assert_allclose(cells["truth"], np.array(values, dtype=float))


def test_modes_are_those_of_the_training_rows():
    frame = pd.DataFrame({"x": list("aaabbc") * 10, "y": np.arange(60.0)})
    imputer = clone(BRIEF).fit(frame)
    report = imputer.over_impute(frame, 0.9, random_state=0)
    assert report.loc["x", "accuracy_of_modes"] == pytest.approx(0.5, abs=0.1)


def test_other_autoencoders_fill_too(X_missing):
    imputer = AutoencoderImputer(LinearAutoencoder(3, max_iter=2), random_state=0).fit(X_missing)
    filled = imputer.transform(X_missing)
    assert filled.dtypes.equals(X_missing.dtypes)
    assert not filled.isna().any().any()
    assert not imputer.sample(X_missing, 1, random_state=0)[0].isna().any().any()


def test_small_tables_are_imputed_by_the_gaussian():
    frame = pd.DataFrame({"x": ["a", None, "a", "b"], "flag": [True, False, True, False]})
    imputer = AutoencoderImputer().fit(frame)
    assert imputer.estimator_ is None
    assert imputer.transform(frame)["x"].tolist() == ["a", "b", "a", "b"]
    one = AutoencoderImputer().fit(frame[["x"]][[True] * 4].loc[np.repeat(range(4), 20)])
    assert one.estimator_ is None
    assert one.transform(frame[["x"]])["x"].tolist() == ["a", "a", "a", "b"]
    assert one.sample(frame[["x"]], 2, random_state=0)[0].notna().all().all()
    assert imputer.over_impute(frame, 0.5, random_state=0).shape == (2, 6)


# ------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("values", "holds"),
    [
        (pd.to_datetime(["2020-01-01", "2020-01-02"]), "datetime64"),
        ([date(2020, 1, 1), None], "date"),
        ([[1], [2, 3]], "list"),
        (["u", 1], "int and str"),
        ([b"u", b"v"], "bytes"),
        (np.array([1j, 2]), "complex128"),
        (pd.arrays.SparseArray([0.0, 1.0]), "Sparse"),
    ],
)
def test_unsupported_dtypes_are_refused(values, holds):
    frame = pd.DataFrame({"text": ["u", "v"], "odd": values})
    with pytest.raises(TypeError, match=f"Column 'odd' of X holds {holds}.*convert it"):
        AutoencoderImputer().fit(frame)


def test_tables_that_differ_from_those_of_fit_are_refused(X_missing, fitted):
    with pytest.raises(ValueError, match="Column 'sign' of X holds 'nought', a category that fit"):
        fitted.transform(X_missing.assign(sign="nought"))
    with pytest.raises(TypeError, match="Column 'a' of X holds str, but held numbers in fit"):
        fitted.transform(X_missing.assign(a="text"))
    with pytest.raises(TypeError, match="Column 'a' of X holds bool, but held numbers in fit"):
        fitted.transform(X_missing.assign(a=True))
    with pytest.raises(ValueError, match="Column 'sign' of X holds 1.5, a category"):
        fitted.transform(X_missing.assign(sign=1.5))
    with pytest.raises(TypeError, match="Column 'sign' of X holds datetime64"):
        fitted.transform(X_missing.assign(sign=pd.Timestamp("2020-01-01")))
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.transform(X_missing[X_missing.columns[::-1]])
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.transform(X_missing.drop(columns="a"))
    with pytest.raises(TypeError, match="fitted to a DataFrame of mixed columns, but got ndarray"):
        fitted.transform(X_missing.to_numpy())
    with pytest.raises(ValueError, match="0 sample"):
        fitted.transform(X_missing[:0])
    with pytest.raises(ValueError, match="0 sample"):
        AutoencoderImputer().fit(X_missing[:0])
    infinite = X_missing.copy()
    infinite.iloc[3, 0] = np.inf
    for call in (fitted.transform, AutoencoderImputer().fit):
        with pytest.raises(ValueError, match=r"Column 'a' of X holds infinity \(row 3\)"):
            call(infinite)


def test_failed_fits_change_nothing(X_missing, fitted):
    imputer = copy.deepcopy(fitted)
    with pytest.raises(TypeError):
        imputer.fit(X_missing.assign(a=pd.Timestamp("2020-01-01")))
    assert_frame_equal(imputer.transform(X_missing), fitted.transform(X_missing))


# ----------------------------------------------------------------------------- in company, and kept


def test_files_and_copies(X_missing, fitted, tmp_path):
    skae.save(fitted, tmp_path / "imputer.skae")
    file = dumps(fitted)
    types = get_untrusted_types(data=file)
    assert all(name.startswith("skae.") for name in types)
    for again in (
        pickle.loads(pickle.dumps(fitted)),
        copy.deepcopy(fitted),
        skae.load(tmp_path / "imputer.skae"),
        loads(file, trusted=types),
    ):
        assert_frame_equal(again.transform(X_missing), fitted.transform(X_missing))
        one, other = (i.sample(X_missing, 1, random_state=0)[0] for i in (again, fitted))
        assert_frame_equal(one, other)
    assert not hasattr(clone(fitted), "mean_")


@pytest.mark.full
def test_in_a_pipeline_and_a_grid(table, few):
    y = (table["fair"].astype(bool) ^ (table["a"] > 0.5))[:100]
    encode = make_column_transformer(
        (OneHotEncoder(), make_column_selector(dtype_exclude="number")),
        remainder="passthrough",
    )
    pipeline = make_pipeline(AutoencoderImputer(random_state=0), encode, LogisticRegression())
    grid = {"autoencoderimputer__max_iter": [1, 2]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(few, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(few).shape == (100,)


def test_any_estimator_is_pooled_over_completed_frames(table, few):
    y = (table["fair"].astype(bool) ^ (table["a"] > 0.5))[:100]
    encode = make_column_transformer(
        (OneHotEncoder(), make_column_selector(dtype_exclude="number")),
        remainder="passthrough",
    )
    model = make_pipeline(encode, LogisticRegression())
    imputer = AutoencoderImputer(max_iter=1)
    pooled = PooledEstimator(model, imputer, n_imputations=2, random_state=0).fit(few, y)
    by_each = [e.predict_proba(few.dropna()) for e in pooled.estimators_]
    np.testing.assert_allclose(pooled.predict_proba(few.dropna()), np.mean(by_each, axis=0))
    assert np.abs(by_each[0] - by_each[1]).max() > 0
    assert set(pooled.predict(few)) <= {True, False}
    assert len(pooled.predict(few)) == 100


# --------------------------------------------------------------------------------- a real table


@pytest.mark.full
@pytest.mark.as_usual
def test_passengers_are_filled_better_than_by_modes_and_neighbours():
    table = passengers()
    assert len(table) == 1309
    X_missing = with_missing(table)
    first = np.arange(len(table)) % 3 == 0
    train, test, complete = X_missing[first], X_missing[~first], table[~first]
    imputer = AutoencoderImputer(max_iter=50, random_state=0).fit(train)
    filled = imputer.transform(test)
    assert filled.dtypes.equals(table.dtypes)
    assert filled.index.equals(test.index)
    assert not filled.isna().any().any()

    encoder = MixedTable(np.nan, 50)._fit_columns(train, np.ones(len(train)))
    neighbours = make_pipeline(StandardScaler(), KNNImputer()).fit(encoder._encode(train))
    encoded = encoder._encode(test)
    estimate = neighbours[0].inverse_transform(neighbours.transform(encoded))
    given = EncodedTable(test, test, encoded, np.isnan(encoded))
    by_neighbours = encoder.decode(given, estimate, np.ones(8, dtype=bool))

    right = np.zeros(4)
    labels = ["pclass", "survived", "sex", "embarked"]
    for name in labels:
        hidden = test[name].isna() & complete[name].notna()
        truth = complete[name][hidden]
        mode = train[name].mode()[0]
        right += [len(truth)] + [
            (guess == truth).sum()
            for guess in (filled[name][hidden], by_neighbours[name][hidden], mode)
        ]
    ours, neighbours_, modes = right[1:] / right[0]
    assert ours > neighbours_ + 0.08
    assert ours > modes + 0.08


@pytest.fixture
def polars_frame():
    polars = pytest.importorskip("polars")
    return polars.DataFrame(
        {
            "number": polars.Series([0.5, 1.5, None, 3.5] * 10, dtype=polars.Float32),
            "id": [2**60 + 1, None, 2**60 + 3, 2**60 + 5] * 10,
            "flag": [True, None, False, True] * 10,
            "text": ["a", "b", None, "a"] * 10,
            "level": polars.Series(
                ["low", None, "high", "low"] * 10, dtype=polars.Enum(["low", "mid", "high"])
            ),
            "kind": polars.Series(["u", "v", None, "u"] * 10, dtype=polars.Categorical),
        }
    )


@pytest.mark.parametrize("output", ["default", "polars"])
def test_frames_of_polars_come_back_as_they_were(polars_frame, output):
    imputer = AutoencoderImputer(max_iter=1, random_state=0).set_output(transform=output)
    filled = imputer.fit_transform(polars_frame)
    assert filled.schema == polars_frame.schema
    assert sum(filled.null_count().row(0)) == 0
    for name in polars_frame.columns:
        known = polars_frame[name].is_not_null()
        assert filled[name].filter(known).equals(polars_frame[name].filter(known))
    assert [table.schema for table in imputer.sample(polars_frame, 2)] == [filled.schema] * 2
    as_pandas = imputer.set_output(transform="pandas").transform(polars_frame)
    assert as_pandas["text"].tolist() == filled["text"].to_list()
    assert as_pandas["id"].tolist() == filled["id"].to_list()


def test_sentences_about_frames_of_polars(polars_frame):
    polars = pytest.importorskip("polars")
    numbers = polars_frame.select("number")
    model = Autoencoder(1, max_iter=1)
    with pytest.raises(ValueError, match="Column 'text' of X holds text, such as 'a'"):
        model.fit(polars_frame)
    with pytest.raises(ValueError, match=r"Column 'x' of X holds infinity \(row 3\)"):
        model.fit(numbers.with_columns(x=polars.Series([0.0, 1.0, 2.0, np.inf] * 10)))
    times = numbers.with_columns(x=polars.Series(range(40)).cast(polars.Datetime))
    for estimator in (model, AutoencoderImputer()):
        with pytest.raises(TypeError, match="Column 'x' of X holds (times|datetime)"):
            estimator.fit(times)
        with pytest.raises(TypeError, match="LazyFrame, which holds no values yet; .*collect"):
            estimator.fit(numbers.lazy())


@DROPPED
def test_columns_of_nothing_in_arrow_and_polars(polars_frame):
    arrow = pytest.importorskip("pyarrow")
    nothing = pd.array([None] * 40, dtype=pd.ArrowDtype(arrow.null()))
    x = np.r_[np.nan, np.arange(39.0)]
    frames = [pd.DataFrame({"x": x, "n": nothing}), polars_frame.select("id").with_columns(n=None)]
    for frame in frames:
        assert AutoencoderImputer(max_iter=1).fit_transform(frame).shape == (40, 1)
        kept = AutoencoderImputer(max_iter=1, keep_empty_features=True).fit_transform(frame)
        assert list(kept.dtypes) == list(frame.dtypes)

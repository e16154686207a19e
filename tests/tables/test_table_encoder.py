import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

import skae
from skae import Autoencoder, LinearAutoencoder, TableEncoder
from skae._schema import check_state
from tests.tables import KINDS, mixed


@pytest.fixture(scope="module", name="X")
def table():
    return mixed()[:393]  # without missing values


@pytest.fixture(scope="module")
def encoder(X):
    return TableEncoder().fit(X)


# ------------------------------------------------------------------------------- encoded values


def test_numbers_are_standardised_and_indicators_centred(X, encoder):
    Z = pd.DataFrame(encoder.transform(X), columns=encoder.get_feature_names_out())
    np.testing.assert_allclose(Z["a"], (X["a"] - X["a"].mean()) / X["a"].std(ddof=0))
    count = X["count"].to_numpy(float)
    np.testing.assert_allclose(Z["count"], (count - count.mean()) / count.std())
    for name in ("quarter", "size", "sign", "up", "fair"):
        share = X[name].value_counts(normalize=True)
        for category in share.index:
            expected = ((X[name] == category).to_numpy(float) - share[category]) / np.sqrt(2)
            np.testing.assert_allclose(Z[f"{name}_{category}"], expected)


def test_different_categories_are_as_far_apart_as_numbers_that_differ_by_a_standard_deviation():
    X = pd.DataFrame({"c": ["u"] * 90 + ["v"] * 9 + ["w"], "flag": [True] * 99 + [False]})
    Z = TableEncoder().fit(X).transform(X)
    u, v, w = Z[[0, 90, 99], :3]
    distances = [np.linalg.norm(a - b) for a, b in ((u, v), (u, w), (v, w))]
    np.testing.assert_allclose(distances, 1)
    assert np.isclose(np.linalg.norm(Z[0, 3:] - Z[99, 3:]), 1)


def test_missing_values_are_nan_in_all_columns_that_encode_them(X, encoder):
    missing = np.random.default_rng(0).random(X.shape) < 0.3
    Z = encoder.transform(X.mask(missing))
    np.testing.assert_array_equal(np.isnan(Z), encoder._groups.spread(missing))
    np.testing.assert_allclose(Z[~np.isnan(Z)], encoder.transform(X)[~np.isnan(Z)])


def test_statistics_are_those_of_observed_values_and_weights():
    X = pd.DataFrame({"x": [1.0, 2.0, np.nan, 9.0], "c": ["u", "v", "v", None]})
    weight = [1, 3, 2, 0]
    encoder = TableEncoder().fit(X, sample_weight=weight)
    repeated = X.loc[np.repeat(range(4), weight)]
    again = TableEncoder().fit(repeated)
    np.testing.assert_allclose(encoder.mean_, again.mean_)
    np.testing.assert_allclose(encoder.scale_, again.scale_)
    np.testing.assert_allclose(encoder.mean_, [1.75, 5 / 6, 1 / 6])


def test_only_the_most_frequent_categories_have_columns():
    X = pd.DataFrame({"c": ["u"] * 5 + ["v"] * 3 + ["w", "x"]})
    encoder = TableEncoder(max_categories=2).fit(X)
    Z = encoder.transform(X)
    assert encoder.get_feature_names_out().tolist() == ["c_u", "c_v"]
    np.testing.assert_array_equal(Z[8], Z[9])
    np.testing.assert_allclose(Z[8], -encoder.mean_ / encoder.scale_)


@pytest.mark.full
def test_constant_and_empty_columns():
    X = pd.DataFrame(
        {"one": [3.0] * 3, "same": ["u"] * 3, "none": [np.nan] * 3, "nothing": [None] * 3}
    ).assign(category=pd.Categorical([None] * 3, ["u"]), x=[1, 2, 3])
    encoder = TableEncoder().fit(X)
    Z = encoder.transform(X)
    assert encoder.get_feature_names_out()[:2].tolist() == ["one", "same_u"]
    assert (Z[:, :2] == 0).all()
    assert np.isnan(Z[:, 2:5]).all()
    back = encoder.inverse_transform(Z)
    assert back.isna().equals(X.isna())
    assert back.dtypes.equals(X.dtypes)
    values = X.assign(none=5.0, nothing="u", category=pd.Categorical(["u"] * 3))
    assert np.isnan(encoder.transform(values)[:, 2:5]).all()
    codes = LinearAutoencoder(1).fit(Z).transform(Z)
    np.testing.assert_allclose(np.abs(codes).ravel(), np.abs(Z[:, 5]), atol=1e-6)


def test_a_category_that_fit_did_not_see_is_an_error_or_ignored(X, encoder):
    unseen = X.assign(sign="plus or minus")
    with pytest.raises(ValueError, match="Column 'sign' of X holds 'plus or minus', a category"):
        encoder.transform(unseen)
    ignoring = TableEncoder(handle_unknown="ignore").fit(X)
    columns = slice(
        *np.flatnonzero([n.startswith("sign") for n in ignoring.get_feature_names_out()])[[0, -1]]
        + [0, 1]
    )
    Z = ignoring.transform(unseen)[:, columns]
    np.testing.assert_allclose(
        Z * ignoring.scale_[columns] + ignoring.mean_[columns], 0, atol=1e-12
    )
    np.testing.assert_array_equal(ignoring.transform(X), encoder.transform(X))


def test_other_markers_of_missing_values():
    X = pd.DataFrame({"n": [1, -1, 3], "c": ["u", "v", "v"]})
    assert np.isnan(TableEncoder(missing_values=-1).fit_transform(X)[1, 0])
    assert np.isnan(TableEncoder(missing_values="u").fit_transform(X)[0, 1:]).all()


# ------------------------------------------------------------------------------------- and back


@pytest.mark.parametrize("column", KINDS.values(), ids=KINDS)
def test_every_dtype_comes_back(column):
    X = column.to_frame("x")
    encoder = TableEncoder().fit(X)
    Z = encoder.transform(X)
    assert_frame_equal(encoder.inverse_transform(Z), X)
    Z[1] = np.nan
    back = encoder.inverse_transform(Z)["x"]
    assert back.isna().tolist() == [False, True, False, False]
    assert back[[0, 2, 3]].tolist() == X["x"][[0, 2, 3]].tolist()
    nullable = {"int64": "Int64", "uint8": "UInt8", "bool": "boolean"}
    assert str(back.dtype) == nullable.get(str(column.dtype), str(column.dtype))


def test_a_table_comes_back_with_its_columns_and_index(X):
    X = X.mask(np.random.default_rng(0).random(X.shape) < 0.2).astype(X.dtypes)
    encoder = TableEncoder().fit(X)
    assert_frame_equal(encoder.inverse_transform(encoder.transform(X)), X.reset_index(drop=True))
    encoder.set_output(transform="pandas")
    assert_frame_equal(encoder.inverse_transform(encoder.transform(X)), X)


def test_labels_of_columns_of_any_kind(X):
    for labels in (range(8), [("u", i) for i in range(8)], np.arange(8) / 2):
        frame = X.set_axis(pd.Index(labels), axis=1)
        back = TableEncoder().fit(frame)
        back = back.inverse_transform(back.transform(frame))
        assert back.columns.tolist() == list(labels)


def test_reconstructions_become_whole_numbers_in_range_and_the_likeliest_categories():
    X = pd.DataFrame({"n": np.array([0, 100, 255], np.uint8), "c": ["u", "v", "v"]})
    encoder = TableEncoder().fit(X)
    units = np.array([[-7.2, 0.1, 0.2], [99.6, 0.9, -3.0], [1e9, 0.5, 0.4]])
    back = encoder.inverse_transform((units - encoder.mean_) / encoder.scale_)
    assert back["n"].tolist() == [0, 100, 255]
    assert back["n"].dtype == np.uint8
    names = encoder.get_feature_names_out()[1:]
    assert names.tolist() == ["c_v", "c_u"]
    assert back["c"].tolist() == ["u", "v", "v"]


def test_objects_are_rounded_too():
    X = pd.DataFrame({"n": pd.Series([1, 2, 4], dtype=object), "c": list("uvw")})
    encoder = TableEncoder().fit(X)
    Z = encoder.transform(X)
    Z[:, 0] += 0.3 / encoder.scale_[0]
    assert encoder.inverse_transform(Z)["n"].tolist() == [1, 2, 4]


def test_arrays_are_standardised_and_come_back_as_arrays(rng):
    X = rng.normal(3, 2, size=(50, 3)).astype(np.float32)
    X[0, 0] = np.nan
    encoder = TableEncoder().fit(X)
    Z = encoder.transform(X)
    assert Z.dtype == np.float32
    np.testing.assert_allclose(np.nanmean(Z, axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.nanstd(Z, axis=0), 1, rtol=1e-6)
    np.testing.assert_allclose(encoder.inverse_transform(Z), X, rtol=1e-5)


def test_frames_of_numbers_accept_arrays_and_come_back_as_frames():
    X = pd.DataFrame({"i": [1, 2, 3], "f": np.float32([0.5, 1, 2])})
    encoder = TableEncoder().fit(X)
    assert_frame_equal(encoder.inverse_transform(encoder.transform(X)), X)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        Z = encoder.transform(X.to_numpy())
    np.testing.assert_allclose(Z, encoder.transform(X))


@pytest.mark.parametrize("output", ["default", "polars"])
def test_frames_of_polars_come_back(output):
    polars = pytest.importorskip("polars")
    levels = polars.Enum(["lo", "mid", "hi"])
    X = polars.DataFrame(
        {
            "number": polars.Series([0.5, 1.5, None, 3.5], dtype=polars.Float32),
            "id": [2, None, 3, 5],
            "byte": polars.Series([1, 2, 3, 255], dtype=polars.UInt8),
            "flag": [True, None, False, True],
            "text": ["a", "b", None, "a"],
            "level": polars.Series(["lo", None, "hi", "lo"], dtype=levels),
        }
    )
    encoder = TableEncoder().set_output(transform=output).fit(X)
    Z = encoder.transform(X)
    back = encoder.inverse_transform(Z)
    assert back.schema == X.schema
    assert back.equals(X)


# ------------------------------------------------------------------------------ with autoencoders


def test_a_pipeline_reconstructs_tables(X):
    pipeline = make_pipeline(TableEncoder(), LinearAutoencoder(None)).fit(X)
    assert_frame_equal(
        pipeline.inverse_transform(pipeline.transform(X)), X.reset_index(drop=True), rtol=1e-4
    )
    few = make_pipeline(TableEncoder(), Autoencoder(6, max_iter=20, random_state=0)).fit(X)
    back = few.inverse_transform(few.transform(X))
    assert back.dtypes.equals(X.dtypes)
    assert (back["quarter"].to_numpy() == X["quarter"].to_numpy()).mean() > 0.9


def test_it_can_be_searched(X):
    pipeline = make_pipeline(TableEncoder(), KNeighborsClassifier())
    search = GridSearchCV(pipeline, {"tableencoder__max_categories": [1, 50]}, cv=3)
    search.fit(X.drop(columns="quarter"), X["quarter"])
    assert search.best_score_ > 0.8


# --------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("bad", "error", "sentence"),
    [
        (np.array([["a", 1], ["b", 2]], dtype=object), ValueError, "Column 0 .* text, such as 'a'"),
        (pd.DataFrame({"a": [1, np.inf], "b": ["u", "v"]}), ValueError, r"'a' .* \(row 1\)"),
        (pd.DataFrame([[1, "u"], [2, "v"]], columns=["a", "a"]), ValueError, "several columns"),
        (pd.DataFrame({"a": [1, "u"]}), TypeError, "Column 'a' of X holds int and str"),
        (pd.DataFrame({"a": pd.to_datetime(["2020"])}), TypeError, "Column 'a' .* convert it to"),
        (pd.DataFrame({"a": [[1], [2]]}), TypeError, "Column 'a' of X holds list"),
        (
            pd.DataFrame({"a": [10**400, 1]}, dtype=object),
            ValueError,
            "Column 'a' .* beyond the largest",
        ),
        (pd.DataFrame({"a": []}), ValueError, "0 sample"),
        (pd.DataFrame(index=range(3)), ValueError, "at least one"),
        (np.array([[2**60 + 1], [1]]), ValueError, "Column 0 .* dtype is 'Int64'"),
    ],
)
def test_bad_tables(bad, error, sentence):
    with pytest.raises(error, match=sentence):
        TableEncoder().fit(bad).transform(bad)


def test_bad_calls(X, encoder):
    before = copy.copy(vars(encoder))
    with pytest.raises(TypeError, match="TableEncoder was fitted to a DataFrame of mixed columns"):
        encoder.transform(X.to_numpy())
    with pytest.raises(TypeError, match="Column 'a' of X holds str, but held numbers in fit"):
        encoder.transform(X.assign(a="u"))
    with pytest.raises(ValueError, match="feature names should match"):
        encoder.transform(X[X.columns[::-1]])
    with pytest.raises(ValueError, match="Z has 2 columns, but .* tables in 17;"):
        encoder.inverse_transform(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="Input Z contains infinity"):
        encoder.inverse_transform(np.full((1, 17), np.inf))
    numbers = TableEncoder().fit([[1e-200], [2e-200]])
    with pytest.raises(ValueError, match="Row 1 of X is so far .* overflows"):
        numbers.transform([[1e-200], [1e200]])
    with pytest.raises(ValueError, match="Row 0 of Z is so far .* overflows"):
        TableEncoder().fit([[-1e200], [1e200]]).inverse_transform([[1e200]])
    with pytest.raises(TypeError, match="holds times|holds datetime"):
        encoder.fit(X.assign(a=pd.Timestamp("2020")))
    assert vars(encoder) == before
    with pytest.raises(ValueError, match="The 'handle_unknown' parameter"):
        TableEncoder(handle_unknown="drop").fit(X)


# ------------------------------------------------------------------------------------- persistence


def test_files_and_copies(X, encoder, tmp_path):
    skae.save(encoder, tmp_path / "encoder")
    for again in (
        skae.load(tmp_path / "encoder"),
        pickle.loads(pickle.dumps(encoder)),
        copy.deepcopy(encoder),
    ):
        Z = again.transform(X)
        np.testing.assert_array_equal(Z, encoder.transform(X))
        assert_frame_equal(again.inverse_transform(Z), encoder.inverse_transform(Z))
    skae.save(clone(encoder), tmp_path / "unfitted")
    assert not hasattr(skae.load(tmp_path / "unfitted"), "mean_")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda state: state.update(scale_=-state["scale_"]), "means and scales"),
        (lambda state: state.update(scale_=state["scale_"][1:]), "means and scales"),
        (lambda state: state.update(mean_=np.full(17, np.inf)), "means and scales"),
        (lambda state: state.update(mean_=np.zeros(3), scale_=np.ones(3)), "as many"),
        (lambda state: state.update(_labels=["a"]), "column labels"),
        (lambda state: state.update(_library="os"), "_library"),
        (
            lambda state: state.update(
                n_features_in_=7, feature_names_in_=np.array(list("abcdefg"))
            ),
            "column labels",
        ),
    ],
)
def test_parts_of_files_that_do_not_belong_together_are_refused(encoder, change, sentence):
    state = dict(encoder.__getstate__())
    check_state(TableEncoder, state)
    change(state)
    with pytest.raises(ValueError, match=sentence):
        check_state(TableEncoder, state)


def test_dtypes_in_files_hold_the_values_of_their_columns(encoder):
    changes = [("dtypes_", 0, "string"), ("dtypes_", 5, "bool"), ("declared_", 3, ("int64", False))]
    for name, j, value in changes:
        state = copy.deepcopy(encoder._table.__getstate__())
        check_state(type(encoder._table), state)
        state[name][j] = value
        with pytest.raises(ValueError, match="dtypes of its columns do not hold their values"):
            check_state(type(encoder._table), state)

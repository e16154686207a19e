"""What onnxruntime imputes agrees with the fitted imputers."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae
from tests.onnx.running import NEEDS_ONNX, assert_agree, in_both_dtypes, run, tables

pytestmark = [
    NEEDS_ONNX,
    pytest.mark.filterwarnings("ignore:Columns without any observed:skae.AutoencoderWarning"),
]

SHORT = {"max_iter": 3, "early_stopping": False, "random_state": 0}
# Distances are in float32 in the imputer: 1e-5 of a column's scale, for either dtype.
BY_DISTANCES, EXACT = 1e-5, 1e-9
IMPUTERS = {
    "default": (skae.AutoencoderImputer(max_iter=2, random_state=0), BY_DISTANCES),
    "not_clipped": (
        skae.AutoencoderImputer(max_iter=2, clip=False, add_indicator=True, random_state=0),
        BY_DISTANCES,
    ),
    "mar": (skae.AutoencoderImputer(max_iter=2, mechanism="mar", random_state=0), BY_DISTANCES),
    "gaussian": (skae.AutoencoderImputer(random_state=0), EXACT),
    "reconstruction": (
        skae.AutoencoderImputer(skae.Autoencoder(2, **SHORT), keep_empty_features=True),
        EXACT,
    ),
}
N_ROWS = {"gaussian": 25}
QUICK = {("default", "float32"), ("gaussian", "float64")}
CASES = in_both_dtypes(IMPUTERS, QUICK)


@pytest.fixture(name="X")
def incomplete_samples(rng):
    """Two columns follow from others, one is constant, one is empty, one hides its large values."""
    z = rng.normal(size=(400, 3))
    X = np.c_[z, z[:, 0] + z[:, 1], z[:, 1] * z[:, 2], np.ones(400), np.zeros(400)]
    X = X * [1, 10, 0.1, 5, 2, 1, 1] + [5, 100, -3, 0, 1, 2, 0]
    missing = rng.uniform(size=X.shape) < [0, 0.2, 0.1, 0.2, 0.1, 0.1, 2]
    missing[:, 1] |= (z[:, 1] > 0.5) & (rng.uniform(size=400) < 0.8)
    X[5, 2] = 1e9  # not plausible
    return np.where(missing, np.nan, X)


def assert_imputes_alike(imputer, X, dtype, tolerance):
    model = skae.onnx.to_onnx(imputer, dtype=dtype)
    assert [output.name for output in model.graph.output] == ["imputed"]
    n_columns = imputer._kept_columns.sum()
    scale = np.r_[np.nan_to_num(imputer.scale_, nan=1.0)[imputer._kept_columns], np.ones(9)]
    for x in (*tables(X, dtype), X[:20].astype(dtype)):
        (found,), expected = run(model, x), imputer.transform(x)
        assert found.dtype == expected.dtype == x.dtype
        assert found.shape == expected.shape
        error = np.abs(found.astype(float) - expected) / scale[: found.shape[1]]
        rounding = 4 * np.finfo(dtype).eps * np.abs(expected) / scale[: found.shape[1]]
        assert (error <= tolerance + rounding).all()
        seen = (~np.isnan(x) & (x != imputer.missing_values))[:, imputer._kept_columns]
        assert (found[:, :n_columns][seen] == expected[:, :n_columns][seen]).all()


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_imputed_values(name, dtype, X):
    imputer, tolerance = IMPUTERS[name]
    fitted = clone(imputer).fit(X[: N_ROWS.get(name)])
    assert_imputes_alike(fitted, X, dtype, tolerance)


@pytest.mark.full
def test_values_that_are_missing_because_of_their_size_are_shifted(X):
    fitted = skae.AutoencoderImputer(
        skae.LinearAutoencoder(2, max_iter=2), max_iter=2, random_state=0
    ).fit(X)
    assert type(fitted._completion).__name__ == "SelfMaskedCompletion"
    assert_imputes_alike(fitted, X, "float64", EXACT)


def test_placeholders_and_nothing_known(X):
    filled = np.where(np.isnan(X), -1.5, X)
    fitted = skae.AutoencoderImputer(missing_values=-1.5, random_state=0).fit(filled[:25])
    assert_imputes_alike(fitted, filled, "float64", EXACT)

    empty = np.full((5, 2), np.nan)
    for keep in (True, False):
        fitted = skae.AutoencoderImputer(keep_empty_features=keep).fit(empty)
        model = skae.onnx.to_onnx(fitted)
        assert_agree(run(model, empty.astype(np.float32)), [np.zeros((5, 2 * keep), np.float32)])


def test_pipelines_with_an_imputer(X):
    x = X[:, :-1].astype(np.float32)
    skae.onnx.to_onnx  # noqa: B018  importing the module registers the converters
    from skl2onnx import to_onnx

    imputer = skae.AutoencoderImputer(random_state=0)
    ridge = make_pipeline(imputer, StandardScaler(), Ridge()).fit(x[:30], np.arange(30))
    model = to_onnx(ridge, x[:1])
    for some in (x[:1], x[:7]):
        (found,) = run(model, some)
        np.testing.assert_allclose(found[:, 0], ridge.predict(some), rtol=1e-5, atol=1e-4)

    last = make_pipeline(StandardScaler(), clone(imputer)).fit(x[:30])
    model = skae.onnx.to_onnx(last)
    assert [output.name for output in model.graph.output] == ["imputed"]
    assert_agree(run(model, x[:7]), [last.transform(x[:7])])


@pytest.mark.full
def test_several_imputers_with_loops_that_share_values(X):
    x = X[:, :-1].astype(np.float32)
    skae.onnx.to_onnx  # noqa: B018  importing the module registers the converters
    from skl2onnx import to_onnx

    imputer = skae.AutoencoderImputer(max_iter=2, random_state=0)
    both = ColumnTransformer([("one", imputer, [0, 1, 2, 3]), ("two", imputer, [1, 2, 4, 5])])
    model = to_onnx(make_pipeline(both.fit(x), StandardScaler()).fit(x), x[:1])
    for some in (x[:1], x[:7]):
        expected = StandardScaler().fit(both.transform(x)).transform(both.transform(some))
        np.testing.assert_allclose(run(model, some)[0], expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("imputer", [skae.AutoencoderImputer(random_state=0), SimpleImputer()])
def test_reconstructions_after_an_imputer_are_in_its_units(imputer, X):
    x = X[:, :-1].astype(np.float32)
    pipeline = make_pipeline(clone(imputer), StandardScaler(), skae.LinearAutoencoder(2))
    pipeline.fit(x[:30])
    x_hat = pipeline[1].inverse_transform(pipeline[2].reconstruct(pipeline[:2].transform(x[:7])))
    model = skae.onnx.to_onnx(pipeline, outputs="reconstruction")
    np.testing.assert_allclose(run(model, x[:7])[0], x_hat, rtol=1e-4, atol=1e-4)

    with_indicator = clone(pipeline).set_params(**{f"{pipeline.steps[0][0]}__add_indicator": True})
    with pytest.raises(ValueError, match="not for this .*Imputer; leave 'reconstruction' out"):
        skae.onnx.to_onnx(with_indicator.fit(x[:30]))


def test_refused_imputers(X):
    table = pd.DataFrame({"a": X[:40, 0], "b": pd.Categorical(["x", "y"] * 20)})
    mixed = skae.AutoencoderImputer(max_iter=1, random_state=0).fit(table)
    with pytest.raises(ValueError, match="imputers of arrays of numbers.*categories.*fit it to"):
        skae.onnx.to_onnx(mixed)
    drawing = skae.AutoencoderImputer(skae.VariationalAutoencoder(2, **SHORT)).fit(X[:40])
    with pytest.raises(ValueError, match="is a VariationalAutoencoder, which imputes by random"):
        skae.onnx.to_onnx(drawing)
    with pytest.raises(ValueError, match=r"outputs of AutoencoderImputer must be .*'imputed'"):
        skae.onnx.to_onnx(mixed, outputs="code")

"""Steps of pipelines before the last one: columns by any selector, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.impute import KNNImputer
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    PolynomialFeatures,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)
from torch import nn

import skae
from tests.onnx.running import NEEDS_ONNX, assert_agree, run

pytestmark = [NEEDS_ONNX, pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")]
SHORT = {"max_iter": 3, "early_stopping": False, "random_state": 0}


@pytest.fixture
def frame(rng):
    return pd.DataFrame(rng.normal(5, 3, size=(60, 4)), columns=list("abcd"))


def assert_codes_agree(pipeline, X, dtype="float32"):
    x = np.asarray(X, dtype=dtype)[:7]
    model = skae.onnx.to_onnx(pipeline, outputs="code", dtype=dtype)
    expected = pipeline.transform(pd.DataFrame(x, columns=getattr(X, "columns", None)))
    assert_agree(run(model, x), [expected.astype(dtype)])


@pytest.mark.parametrize(
    "transformers",
    [
        [("one", StandardScaler(), ["a", "c"]), ("two", MinMaxScaler(), ["d"])],
        pytest.param(
            [("one", StandardScaler(), slice("b", "c")), ("two", RobustScaler(), ["d"])],
            marks=pytest.mark.full,
        ),
        pytest.param([("one", StandardScaler(), slice(1, None))], marks=pytest.mark.full),
        [("one", StandardScaler(), [True, False, True, False]), ("two", MinMaxScaler(), [-1])],
        pytest.param([("one", StandardScaler(), lambda X: ["d", "a"])], marks=pytest.mark.full),
        pytest.param(
            [
                ("none", "drop", ["b"]),
                (
                    "two",
                    make_pipeline(StandardScaler(), make_union(MinMaxScaler(), RobustScaler())),
                    ["c", "a"],
                ),
            ],
            marks=pytest.mark.full,
        ),
    ],
)
def test_columns_by_any_selector(transformers, frame):
    columns = ColumnTransformer(transformers, remainder="passthrough")
    assert_codes_agree(make_pipeline(columns, skae.LinearAutoencoder(2)).fit(frame), frame)


@pytest.mark.parametrize(
    ("step", "match"),
    [
        (PowerTransformer(), "makes of PowerTransformer loses missing values"),
        (KNNImputer(), "makes of KNNImputer loses missing values"),
        (MaxAbsScaler(clip=True), "makes of MaxAbsScaler does not clip"),
        (
            ColumnTransformer([("one", make_pipeline(PowerTransformer()), ["a", "b"])]),
            "makes of PowerTransformer",
        ),
        (make_union(StandardScaler(), PowerTransformer()), "makes of PowerTransformer"),
    ],
)
def test_steps_whose_results_would_be_others_are_refused(step, match, frame):
    pipeline = make_pipeline(step, skae.LinearAutoencoder(1)).fit(frame)
    with pytest.raises(ValueError, match=match):
        skae.onnx.to_onnx(pipeline, outputs="code")


def test_steps_must_be_fitted(frame):
    pipeline = make_pipeline(StandardScaler(), skae.LinearAutoencoder(1).fit(frame))
    with pytest.raises(NotFittedError, match="StandardScaler"):
        skae.onnx.to_onnx(pipeline)


@pytest.mark.parametrize("step", [KBinsDiscretizer(4, encode="ordinal"), OneHotEncoder()])
def test_results_have_the_dtype_whatever_that_of_a_step(step, frame):
    X = np.round(frame.to_numpy())
    step = step.set_params(sparse_output=False) if isinstance(step, OneHotEncoder) else step
    pipeline = make_pipeline(step, skae.LinearAutoencoder(1)).fit(X)
    assert_codes_agree(pipeline, X, "float64")


def test_models_that_no_runtime_could_load_are_refused(frame):
    pipeline = make_pipeline(PolynomialFeatures(2), skae.LinearAutoencoder(1)).fit(frame)
    with pytest.raises(ValueError, match="is not valid, so that no runtime could load it"):
        skae.onnx.to_onnx(pipeline, outputs="code", dtype="float64")


class Clamp(nn.Module):
    def forward(self, x):
        return x.clamp(-1, 1)


def clamped(n_in, n_out):
    return nn.Sequential(Clamp(), nn.Linear(n_in, n_out))


def test_clamped_inputs_agree(frame):
    X = frame.to_numpy(dtype=np.float32)
    own = skae.FunctionArchitecture(encoder=clamped)
    fitted = skae.Autoencoder(2, architecture=own, **SHORT).fit(X)
    expected = fitted.transform(X), fitted.reconstruct(X), fitted.score_samples(X)
    assert_agree(run(skae.onnx.to_onnx(fitted), X), expected)

"""What onnxruntime computes agrees with the fitted estimators."""

import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)
from torch import nn

import skae
from skae.onnx import _export
from tests.onnx.running import NEEDS_ONNX, assert_agree, in_both_dtypes, run, tables

pytestmark = NEEDS_ONNX
ROOT = Path(__file__).parents[2]

SHORT = {"max_iter": 3, "early_stopping": False, "random_state": 0}
TINY = {"width": 4, "n_layers": 1, "n_heads": 2, "decoder_width": 4}
IMAGE = (2, 3)
VARIANTS = {
    "linear": skae.LinearAutoencoder(2),
    "absolute": skae.Autoencoder(2, loss="absolute_error", **SHORT),
    "log_loss": skae.Autoencoder(2, loss="log_loss", **SHORT),
    "poisson": skae.Autoencoder(2, loss="poisson", **SHORT),
    "sparse": skae.SparseAutoencoder(8, **SHORT),
    "kl_sparse": skae.SparseAutoencoder(8, penalty="kl", **SHORT),
    "k_sparse": skae.KSparseAutoencoder(8, n_nonzero_coefs=2, **SHORT),
    "batch_sparse": skae.KSparseAutoencoder(
        8, n_nonzero_coefs=2, selection="batch", positive_code=True, **SHORT
    ),
    "quantized": skae.QuantizedAutoencoder(3, levels=5, **SHORT),
    "denoising": skae.DenoisingAutoencoder(noise_level=(0.1, 0.5), **SHORT),
    "swap": skae.DenoisingAutoencoder(3, noise="swap", **SHORT),
    "contractive": skae.ContractiveAutoencoder(3, **SHORT),
    "masked": skae.MaskedAutoencoder(3, architecture=skae.FTTransformer(**TINY), **SHORT),
    "masked_image": skae.MaskedAutoencoder(
        3, architecture=skae.ViT(image_shape=IMAGE, **TINY), masking="block", **SHORT
    ),
    "vit": skae.Autoencoder(2, architecture=skae.ViT(**TINY), **SHORT),
    "ft_transformer": skae.QuantizedAutoencoder(
        3, architecture=skae.FTTransformer(**TINY), **SHORT
    ),
    "conv": skae.Autoencoder(
        2, architecture=skae.Conv((2, 4), image_shape=IMAGE, n_residual_blocks=1), **SHORT
    ),
    "resize": skae.DenoisingAutoencoder(
        2,
        architecture=skae.Conv((2, 4), image_shape=IMAGE, upsampling="resize"),
        noise_level=(0.1, 0.5),
        **SHORT,
    ),
    "variational_conv": skae.VariationalAutoencoder(2, architecture=skae.Conv((2, 4)), **SHORT),
    "per_feature": skae.VariationalAutoencoder(2, variance="feature", **SHORT),
    "iwae": skae.VariationalAutoencoder(
        2, variance=0.5, objective="iwae", n_draws=2, n_importance_draws=3, **SHORT
    ),
    "counts": skae.VariationalAutoencoder(2, likelihood="poisson", **SHORT),
    "bernoulli": skae.VariationalAutoencoder(2, likelihood="bernoulli", **SHORT),
    "tied": skae.Autoencoder(2, architecture=skae.MLP((5,), tied=True), **SHORT),
    "relu": skae.Autoencoder(2, activation="relu", **SHORT),
    "gelu": skae.Autoencoder(2, activation="gelu", **SHORT),
    "softplus": skae.Autoencoder(2, activation="softplus", **SHORT),
}
QUICK = {("conv", "float32"), ("gelu", "float64"), ("counts", "float32"), ("k_sparse", "float64")}
CASES = in_both_dtypes(VARIANTS, QUICK)
IN_UNIT_INTERVAL, COUNTS = ("log_loss", "bernoulli"), ("poisson", "counts")


@pytest.fixture(name="X")
def samples(rng):
    return rng.normal(size=(60, 6)) * [1, 10, 0.1, 5, 2, 3] + [5, 100, -3, 0, 1, 2]


def samples_for(name, X):
    if name in IN_UNIT_INTERVAL:
        return 1 / (1 + np.exp(-X / X.std(axis=0)))
    return np.abs(np.round(X)) if name in COUNTS else X


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_code_reconstruction_and_score_of_every_variant(name, dtype, X):
    X = samples_for(name, X)
    fitted = clone(VARIANTS[name]).fit(X)
    model = skae.onnx.to_onnx(fitted, dtype=dtype)
    assert [output.name for output in model.graph.output] == ["code", "reconstruction", "score"]
    for x in tables(X, dtype):
        expected = fitted.transform(x), fitted.reconstruct(x), fitted.score_samples(x)
        assert_agree(run(model, x), expected)


def test_outputs_are_those_asked_for_in_their_order(X):
    fitted = skae.Autoencoder(2, **SHORT).fit(X)
    model = skae.onnx.to_onnx(fitted, outputs=("score", "code"), target_opset=20)
    assert model.opset_import[0].version == 20
    x = X[:4].astype(np.float32)
    assert_agree(run(model, x), (fitted.score_samples(x), fitted.transform(x)))


def test_fitted_module_and_generators_stay_as_they_were(X):
    fitted = skae.Autoencoder(2, architecture=skae.Conv((2,), image_shape=IMAGE), **SHORT).fit(X)
    before, state = fitted.transform(X), torch.get_rng_state()
    skae.onnx.to_onnx(fitted, dtype="float64")
    assert (fitted.transform(X) == before).all()
    assert (torch.get_rng_state() == state).all()
    assert not any(isinstance(layer, nn.Linear) for layer in fitted.module_.encoder[0].modules())


SCALERS = [
    pytest.param([StandardScaler()], "float32", id="standard"),
    pytest.param(
        [MinMaxScaler(clip=True), "passthrough", make_pipeline(RobustScaler())],
        "float64",
        id="several",
    ),
    pytest.param([MaxAbsScaler()], "float64", id="max_abs", marks=pytest.mark.full),
    pytest.param([RobustScaler()], "float32", id="robust", marks=pytest.mark.full),
    pytest.param(
        [StandardScaler(with_mean=False), StandardScaler(with_std=False)],
        "float32",
        id="two",
        marks=pytest.mark.full,
    ),
]


@pytest.mark.parametrize(("scalers", "dtype"), SCALERS)
def test_pipelines_reconstruct_in_their_own_units(scalers, dtype, X):
    pipeline = make_pipeline(*map(clone_step, scalers), skae.Autoencoder(2, **SHORT)).fit(X)
    model = skae.onnx.to_onnx(pipeline, dtype=dtype)
    assert [output.name for output in model.graph.output] == ["code", "reconstruction", "score"]
    before, last = pipeline[:-1], pipeline[-1]
    for x in tables(X, dtype):
        x_hat = before.inverse_transform(last.reconstruct(before.transform(x)))
        assert_agree(run(model, x), (pipeline.transform(x), x_hat, pipeline.score_samples(x)))


def clone_step(step):
    return step if isinstance(step, str) else clone(step)


def test_other_steps_are_refused_for_the_reconstruction_only(X):
    pipeline = make_pipeline(PCA(3), skae.Autoencoder(2, **SHORT)).fit(X)
    with pytest.raises(ValueError, match="not for this PCA; leave 'reconstruction' out"):
        skae.onnx.to_onnx(pipeline)
    x = X[:7].astype(np.float32)
    (code,) = run(skae.onnx.to_onnx(pipeline, outputs=["code"]), x)
    assert_agree([code], [pipeline.transform(x).astype(np.float32)])


METHODS = [
    pytest.param("reconstruction", "float32"),
    pytest.param("standardized", "float64", marks=pytest.mark.full),
    pytest.param("denoising", "float32", marks=pytest.mark.full),
    pytest.param(("reconstruction", "standardized"), "float64", marks=pytest.mark.full),
]


@pytest.mark.parametrize(("method", "dtype"), METHODS)
def test_detectors_that_sum_losses(method, dtype, X):
    X = np.vstack([X, X[:2] * 3])
    detector = skae.AutoencoderOutlierDetector(method=method, max_iter=3, random_state=0).fit(X)
    names = ("score", "label", "decision")
    model = skae.onnx.to_onnx(detector, dtype=dtype, outputs=names)
    labels = set()
    for x in tables(X[::-1], dtype):
        expected = detector.score_samples(x), detector.predict(x), detector.decision_function(x)
        found = run(model, x)
        assert_agree(found, expected, 1e-6)
        labels |= set(found[1].tolist())
    assert labels == {-1, 1}
    default = skae.onnx.to_onnx(detector)
    assert [output.name for output in default.graph.output] == ["score", "label"]


def test_skl2onnx_converts_pipelines_with_steps_of_skae(X):
    x = X.astype(np.float32)
    skae.onnx.to_onnx  # noqa: B018  importing the module registers the converters
    from skl2onnx import to_onnx

    encoders = ColumnTransformer(
        [
            ("one", make_pipeline(StandardScaler(), skae.Autoencoder(2, **SHORT)), [0, 1, 2]),
            ("two", skae.VariationalAutoencoder(1, **SHORT), [3, 4, 5]),
        ]
    )
    classifier = make_pipeline(encoders, LogisticRegression()).fit(x, x[:, 0] > 5)
    model = to_onnx(classifier, x[:1], options={"zipmap": False})
    assert_agree(run(model, x[:7])[1:], [classifier.predict_proba(x[:7])])

    detector = skae.AutoencoderOutlierDetector(method="reconstruction", max_iter=3, random_state=0)
    pipeline = make_pipeline(StandardScaler(), detector).fit(x)
    label, scores = run(to_onnx(pipeline, x[:1]), x[:7])
    assert (label == pipeline.predict(x[:7])).all()
    assert_agree([scores], [pipeline.decision_function(x[:7])])


@pytest.mark.parametrize(
    ("estimator", "options", "message"),
    [
        (skae.Autoencoder(2, **SHORT), {"dtype": "float16"}, "dtype must be"),
        (skae.Autoencoder(2, **SHORT), {"outputs": ("codes",)}, "outputs of Autoencoder must be"),
        (skae.Autoencoder(2, **SHORT), {"outputs": ()}, "outputs of Autoencoder must be"),
        (PCA(2), {}, "not PCA"),
        (skae.AutoencoderOutlierDetector(max_iter=3), {}, "'tails', 'neighbors'"),
        (skae.LinearAutoencoder(1), {"outputs": None}, "outputs of LinearAutoencoder must be"),
        (skae.LinearAutoencoder(1), {"target_opset": 18.0}, "target_opset must be a positive int"),
        (skae.LinearAutoencoder(1), {"target_opset": 7}, "written with target_opset=7; .* from 18"),
        (
            skae.MaskedAutoencoder(
                architecture=skae.ViT(image_shape=IMAGE, patch_size=(2, 1), **TINY),
                normalize_targets=True,
                **SHORT,
            ),
            {},
            "has no reconstruct",
        ),
    ],
)
def test_refusals(estimator, options, message, X):
    fitted = clone(estimator).fit(X)
    with pytest.raises(ValueError, match=message):
        skae.onnx.to_onnx(fitted, **options)


class FixedSize(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.layer = nn.Linear(n_in, n_out)

    def forward(self, x):
        return self.layer(x) + torch.zeros(len(x), 1)


def fixed_size(n_in, n_out):
    return FixedSize(n_in, n_out)


def test_networks_that_cannot_be_traced_are_refused(X):
    own = skae.FunctionArchitecture(encoder=fixed_size, decoder=fixed_size)
    fitted = skae.Autoencoder(
        2, architecture=own, linear_shortcut=False, init="random", **SHORT
    ).fit(X)
    with pytest.raises(ValueError, match="cannot trace the networks"):
        skae.onnx.to_onnx(fitted)


@pytest.mark.parametrize(
    ("step", "options", "reason"),
    [
        (SplineTransformer(), {}, "converts SplineTransformer, refuses .*SplineTransformer"),
        (FunctionTransformer(np.abs), {}, "converts FunctionTransformer, refuses .*not supported"),
        (StandardScaler(), {"target_opset": 99}, "converts StandardScaler, refuses .*opset 99"),
    ],
)
def test_steps_that_skl2onnx_refuses(step, options, reason, X):
    pipeline = make_pipeline(clone(step), skae.LinearAutoencoder(1)).fit(X)
    with pytest.raises(ValueError, match=reason) as caught:
        skae.onnx.to_onnx(pipeline, outputs="code", **options)
    assert "\n" not in str(caught.value)


def test_table_encoders_are_refused_with_what_to_use_in_their_place(X):
    skae.onnx.to_onnx  # noqa: B018  importing the module registers the converters
    from skl2onnx import to_onnx

    table = pd.DataFrame({"a": X[:, 0], "b": ["x", "y", "z"] * 20})
    pipeline = make_pipeline(skae.TableEncoder(), skae.LinearAutoencoder(1)).fit(table)
    with pytest.raises(ValueError, match="TableEncoder cannot be .*; use StandardScaler"):
        skae.onnx.to_onnx(pipeline, outputs="code")
    with pytest.raises(ValueError, match="TableEncoder cannot be .*; use StandardScaler"):
        to_onnx(pipeline, table[:1])


@pytest.mark.parametrize("name", ["onnx", "onnxscript"])
def test_missing_packages_are_named(name, X, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    fitted = skae.LinearAutoencoder(1).fit(X)
    with pytest.raises(ImportError, match=rf"requires {name}\. .*skae\[onnx\]"):
        skae.onnx.to_onnx(fitted)


def test_a_pipeline_needs_skl2onnx(X, monkeypatch):
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    fitted = make_pipeline(StandardScaler(), skae.LinearAutoencoder(1)).fit(X)
    with pytest.raises(ImportError, match=r"to_onnx of a pipeline requires skl2onnx\."):
        skae.onnx.to_onnx(fitted)


def test_the_module_is_imported_without_any_of_them():
    code = """
import sys
sys.modules.update(dict.fromkeys(("onnx", "onnxscript", "onnxruntime")))
import numpy as np
import skae
fitted = skae.LinearAutoencoder(1).fit(np.eye(4))
try:
    skae.onnx.to_onnx(fitted)
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, cwd=ROOT
    )
    assert done.stdout.startswith("to_onnx requires onnx. ")
    assert done.stderr == ""


def test_threads_convert_at_once_and_leave_no_trace(X, capfd):
    fitted = skae.LinearAutoencoder(2).fit(X)
    loggers = [logging.getLogger(name) for name in _export.LOGGERS]
    before = [(logger.level, list(logger.filters)) for logger in loggers]
    x = X[:3].astype(np.float32)
    with ThreadPoolExecutor(2) as pool:
        models = list(pool.map(lambda _: skae.onnx.to_onnx(fitted, outputs="code"), range(3)))
    for model in models:
        assert_agree(run(model, x), [fitted.transform(x)])
    with pytest.raises(ValueError, match="written with target_opset=7"):
        skae.onnx.to_onnx(fitted, target_opset=7)
    assert before == [(logger.level, list(logger.filters)) for logger in loggers]
    assert capfd.readouterr() == ("", "")


def test_messages_of_other_threads_are_kept(caplog):
    logger = logging.getLogger(_export.LOGGERS[0])
    with _export._quietly():
        logger.warning("own")
        thread = threading.Thread(target=logger.warning, args=["of another"])
        thread.start()
        thread.join()
    logger.warning("afterwards")
    assert [record.message for record in caplog.records] == ["of another", "afterwards"]

"""The conformance suite: scikit-learn's checks over one table of estimators."""

import inspect

import pytest
import torch
from sklearn.base import OutlierMixin
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_get_feature_names_out_error,
    check_global_output_transform_pandas,
    check_inplace_ensure_writeable,
    check_param_validation,
    check_sample_weight_equivalence_on_dense_data,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
    estimator_checks_generator,
)

import skae
from skae.base import BaseAutoencoder

pytestmark = [
    pytest.mark.conformance,
    # Small or random tables stay at PCA, or have fewer columns than the code: skae warns of both.
    pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning"),
]

# Few epochs, for speed.
TINY = {"width": 4, "n_layers": 1, "n_heads": 2, "decoder_width": 4}
ESTIMATORS = [
    skae.Autoencoder(max_iter=3),
    skae.Autoencoder(max_iter=3, init="random", linear_shortcut=False),
    skae.Autoencoder(max_iter=3, architecture=skae.Conv((4, 8), n_residual_blocks=1)),
    skae.LinearAutoencoder(max_iter=3),
    skae.LinearAutoencoder(init="random", max_iter=3),
    skae.SparseAutoencoder(max_iter=3),
    skae.SparseAutoencoder(penalty="kl", max_iter=3),
    skae.SparseAutoencoder(sparse_output=True, max_iter=3),
    skae.KSparseAutoencoder(max_iter=3),
    skae.KSparseAutoencoder(selection="batch", max_iter=3),
    skae.KSparseAutoencoder(sparse_output=True, max_iter=3),
    skae.QuantizedAutoencoder(max_iter=3),
    skae.QuantizedAutoencoder(levels=5, quantization="noise", max_iter=3),
    skae.DenoisingAutoencoder(max_iter=3, early_stopping=False),
    skae.DenoisingAutoencoder(noise="swap", noise_level=(0.1, 0.5), max_iter=3),
    skae.ContractiveAutoencoder(max_iter=3),
    skae.VariationalAutoencoder(max_iter=3, architecture=skae.Conv((4,), upsampling="resize")),
    skae.VariationalAutoencoder(max_iter=3),
    skae.VariationalAutoencoder(
        init="random", objective="iwae", n_draws=2, n_importance_draws=5, max_iter=3
    ),
    skae.MaskedAutoencoder(max_iter=2, architecture=skae.FTTransformer(**TINY)),
    skae.MaskedAutoencoder(2, max_iter=2, masking="block", architecture=skae.ViT(**TINY)),
    skae.Autoencoder(max_iter=2, architecture=skae.FTTransformer(**TINY)),
    skae.VariationalAutoencoder(max_iter=2, architecture=skae.ViT(**TINY)),
    skae.AutoencoderImputer(max_iter=3),
    skae.AutoencoderImputer(skae.LinearAutoencoder(1, max_iter=3), add_indicator=True),
    skae.AutoencoderOutlierDetector(max_iter=3),
    skae.AutoencoderOutlierDetector(
        skae.DenoisingAutoencoder(noise_level=(0.1, 1.0), max_iter=3, early_stopping=False)
    ),
    skae.AutoencoderOutlierDetector(
        skae.LinearAutoencoder(1, max_iter=3), method=("reconstruction", "mahalanobis"), trim=0.0
    ),
    skae.AutoencoderClassifier(skae.Autoencoder(max_iter=3), max_iter=3),
    skae.AutoencoderClassifier(skae.DenoisingAutoencoder(max_iter=3), fine_tune="head"),
    skae.AutoencoderRegressor(skae.Autoencoder(max_iter=3), max_iter=3),
    skae.AutoencoderRegressor(skae.Autoencoder(10, max_iter=3), fine_tune="all", max_iter=3),
    skae.AutoencoderCompressor(skae.Autoencoder(max_iter=2)),
    skae.AutoencoderCompressor(skae.Autoencoder(max_iter=2), max_error=0.5),
    skae.AutoencoderCompressor(skae.QuantizedAutoencoder(max_iter=2)),
    skae.AutoencoderSearch(skae.QuantizedAutoencoder(8, max_iter=2)),
    skae.AutoencoderSearch(skae.LinearAutoencoder(1), rerank=10),
    skae.TableEncoder(),
    skae.PooledEstimator(Ridge(), skae.AutoencoderImputer(max_iter=2), n_imputations=2),
    skae.PooledEstimator(
        LogisticRegression(), skae.AutoencoderImputer(max_iter=3), n_imputations=2
    ),
    skae.PooledEstimator(
        RidgeClassifier(), skae.AutoencoderImputer(max_iter=3), n_imputations=2, with_target=False
    ),
]

# The others inherit most of what these checks are about.
QUICK = (skae.Autoencoder,)

HELD_OUT = "as many rows are held out, but not the same"
NOISE = "noise is drawn per row"
STORED = "samples of weight 0 are stored, too"

FOR_ALL = [
    check_dataframe_column_names_consistency,
    check_inplace_ensure_writeable,
    check_param_validation,
]
EXTRA = [
    *FOR_ALL,
    check_get_feature_names_out_error,
    check_global_output_transform_pandas,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
]


def expected_failures(estimator):
    """Return the checks that cannot pass, each with its reason; they must fail."""
    reason = None
    if isinstance(estimator, (skae.SparseAutoencoder, skae.KSparseAutoencoder)):
        reason = HELD_OUT
    if isinstance(estimator, skae.DenoisingAutoencoder) and estimator.noise == "gaussian":
        reason = NOISE
    if isinstance(estimator, skae.MaskedAutoencoder):
        reason = NOISE
    if isinstance(estimator, skae.VariationalAutoencoder) and estimator.init == "random":
        reason = NOISE
    if isinstance(estimator, skae.AutoencoderOutlierDetector) and not isinstance(
        estimator.estimator, skae.LinearAutoencoder
    ):
        reason = NOISE
    if isinstance(estimator, (skae.AutoencoderClassifier, skae.AutoencoderRegressor)):
        reason = HELD_OUT
    if isinstance(estimator, skae.AutoencoderSearch):
        reason = STORED
    check = "check_sample_weight_equivalence_on_{}_data"
    failures = {check.format(kind): reason for kind in ("dense", "sparse") if reason is not None}
    if isinstance(estimator, skae.AutoencoderClassifier):
        failures["check_classifiers_classes"] = "the label -1 stands for no label"
    return failures


def name_of(value):
    name = getattr(value, "func", value)
    return name.__name__ if callable(name) else str(value).replace("\n", "")


def is_first(estimator):
    return estimator is next(e for e in ESTIMATORS if type(e) is type(estimator))


def cases(checks_of):
    """Yield each dtype, estimator and check: float64 for the first estimator of each class only."""
    for estimator in ESTIMATORS:
        quick = type(estimator) in QUICK and is_first(estimator)
        for dtype in (torch.float32, torch.float64) if is_first(estimator) else (torch.float32,):
            marks = [] if quick and dtype is torch.float32 else [pytest.mark.full]
            for check in checks_of(estimator):
                name = f"{str(dtype)[6:]}-{name_of(estimator)}-{name_of(check)}"
                yield pytest.param(dtype, estimator, check, id=name, marks=marks)


def every(checks_of):
    return pytest.mark.parametrize(
        ("default_dtype", "estimator", "check"), list(cases(checks_of)), indirect=["default_dtype"]
    )


@every(lambda estimator: (c for _, c in estimator_checks_generator(estimator, legacy=True)))
def test_scikit_learn_check(default_dtype, estimator, check):
    reason = expected_failures(estimator).get(name_of(check))
    if reason is None:
        check(estimator)
    else:
        with pytest.raises((AssertionError, ValueError)):
            check(estimator)


@pytest.mark.filterwarnings("ignore:X (does not have|has).* feature names:UserWarning")
@every(lambda e: (c for c in EXTRA if hasattr(e, "transform") or c in FOR_ALL))
def test_check_that_scikit_learn_keeps_for_itself(default_dtype, estimator, check):
    check(type(estimator).__name__, estimator)


@pytest.mark.parametrize(
    "estimator",
    [
        skae.Autoencoder(max_iter=5, early_stopping=False, batch_size=1000),
        skae.LinearAutoencoder(init="random", max_iter=5),
        skae.SparseAutoencoder(max_iter=5, early_stopping=False, batch_size=1000),
        skae.SparseAutoencoder(penalty="kl", max_iter=5, early_stopping=False, batch_size=1000),
        skae.KSparseAutoencoder(max_iter=5, early_stopping=False, batch_size=1000),
        skae.KSparseAutoencoder(
            selection="batch", max_iter=5, early_stopping=False, batch_size=1000
        ),
        skae.ContractiveAutoencoder(max_iter=5, early_stopping=False, batch_size=1000),
    ],
    ids=name_of,
)
def test_weights_are_repetitions_without_noise_in_float64(estimator):
    torch.set_default_dtype(torch.float64)
    try:
        check_sample_weight_equivalence_on_dense_data(type(estimator).__name__, estimator)
    finally:
        torch.set_default_dtype(torch.float32)


def test_table_is_complete():
    public = {
        value
        for name in skae.__all__
        if inspect.isclass(value := getattr(skae, name))
        and issubclass(
            value,
            (
                *(BaseAutoencoder, OutlierMixin, skae.AutoencoderImputer, skae.PooledEstimator),
                *(skae.AutoencoderClassifier, skae.AutoencoderRegressor, skae.TableEncoder),
                skae.AutoencoderCompressor,
                skae.AutoencoderSearch,
            ),
        )
    }
    assert public == {type(estimator) for estimator in ESTIMATORS}


def test_array_api_is_on():
    from scipy._lib import _array_api

    assert _array_api.SCIPY_ARRAY_API

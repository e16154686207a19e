"""AutoencoderCompressor: what is restored, how many bits it takes, and what is refused."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.stats import logistic
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

import skae
from skae import (
    Autoencoder,
    AutoencoderCompressor,
    AutoencoderWarning,
    Conv,
    LinearAutoencoder,
    QuantizedAutoencoder,
    VariationalAutoencoder,
)
from skae.compression._rate_distortion import RateDistortionAutoencoder, n_bits
from skae.compression._stream import read_stream, write_stream
from skae.compression._tolerance import Tolerance
from skae.extension import check_autoencoder

pytest.importorskip("constriction")
pytestmark = pytest.mark.filterwarnings("ignore:No epoch of:skae.AutoencoderWarning")

SHORT = {"max_iter": 2, "early_stopping": False, "random_state": 0}
INNER = Autoencoder(3, **SHORT)
DIGITS = load_digits().data.astype("uint8")


def numbers(n=200, seed=0):
    draw = np.random.default_rng(seed)
    return draw.normal(size=(n, 2)) @ draw.normal(size=(2, 5)) + draw.normal(size=(n, 5)) / 10


X = numbers()
ARRAYS = {
    "uint8": DIGITS[:200, 18:30],
    "int64": np.rint(X * 1000).astype(np.int64),
    "int8": np.clip(np.rint(X * 30), -128, 127).astype(np.int8),
    "float32": X.astype(np.float32),
    "float64": X,
    "bool": X > 0.5,
}
FRAME = pd.DataFrame(
    {
        "number": X[:, 0],
        "single": X[:, 1].astype(np.float32),
        "count": np.rint(X[:, 2] * 20).astype(np.int16),
        "truth": X[:, 3] > 0,
        "text": np.array(["u", "v", "w"])[np.digitize(X[:, 0], [-1, 1])],
        "grade": pd.Categorical(
            np.array(["s", "m", "l"])[np.digitize(X[:, 1], [-1, 1])], ["s", "m", "l"], ordered=True
        ),
    }
)
POLARS = pl.DataFrame({name: FRAME[name].to_numpy() for name in FRAME.columns[:4]}).with_columns(
    pl.Series("text", FRAME["text"].tolist())
)


def fitted(X, **params):
    return AutoencoderCompressor(**{"estimator": INNER, "random_state": 0} | params).fit(X)


@pytest.fixture(scope="module")
def plain():
    return fitted(X)


@pytest.fixture(scope="module")
def bounded():
    return fitted(X, max_error=0.1)


@pytest.fixture(scope="module")
def of_frame():
    return fitted(FRAME, max_error=[0.1, 0.2, 1, 0, 0, 0])


# ------------------------------------------------------------------------ what is restored


@pytest.mark.parametrize("max_error", [None, 1.5])
@pytest.mark.parametrize("dtype", ARRAYS)
def test_decompressed_arrays_are_the_reconstructions(dtype, max_error):
    given = ARRAYS[dtype]
    model = fitted(given, max_error=max_error)
    expected = model.reconstruct(given)
    assert expected.dtype == given.dtype == dtype
    for per_row in (False, True):
        again = model.decompress(model.compress(given, per_row=per_row))
        assert again.dtype == given.dtype
        np.testing.assert_array_equal(again, expected)


@pytest.mark.parametrize("max_error", [None, 0.3])
@pytest.mark.parametrize("frame", [FRAME, POLARS], ids=["pandas", "polars"])
def test_decompressed_frames_are_the_reconstructions(frame, max_error):
    model = fitted(frame, max_error=max_error)
    expected = model.reconstruct(frame)
    assert type(expected) is type(frame)
    assert list(expected.columns) == list(frame.columns)
    assert list(expected.dtypes) == list(frame.dtypes)
    for per_row in (False, True):
        again = model.decompress(model.compress(frame, per_row=per_row))
        assert again.equals(expected)


def test_any_row_is_decompressed_without_the_others(bounded):
    rows = bounded.compress(X[:20], per_row=True)
    np.testing.assert_array_equal(bounded.decompress(rows[3:5]), bounded.reconstruct(X[3:5]))


def test_integers_are_the_same_with_any_number_of_threads_and_precision(bounded):
    """Those of a stream, and those that another configuration decodes from it."""
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    try:
        torch.set_num_threads(1)
        torch.set_default_dtype(torch.float64)
        symbols, data = bounded._read_symbols(X)[0], bounded.compress(X)
        torch.set_num_threads(2)
        torch.set_default_dtype(torch.float32)
        sections = read_stream(data, bounded._digest.encode()).sections
        np.testing.assert_array_equal(bounded._tables.decode(sections, len(X)), symbols)
        assert np.abs(bounded.decompress(data) - X).max() <= 0.1
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)


def test_integers_in_other_containers(plain):
    given = ARRAYS["uint8"]
    model = fitted(given)
    expected = model.reconstruct(given)
    for other in (given.tolist(), pd.DataFrame(given), given.astype(np.int64)):
        np.testing.assert_array_equal(model.reconstruct(other), expected)
    np.testing.assert_array_equal(plain.reconstruct(pd.DataFrame(X)), plain.reconstruct(X))


def test_arrays_in_the_place_of_a_frame_of_numbers():
    frame = pd.DataFrame(X, columns=list("abcde"))
    model = fitted(frame, max_error=0.1)
    with pytest.warns(UserWarning, match="valid feature names"):
        pd.testing.assert_frame_equal(model.reconstruct(X), model.reconstruct(frame))


# ----------------------------------------------------------------------------- maximum errors


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64"])
def test_no_cell_is_further_off_than_allowed(dtype, seed):
    given = ARRAYS[dtype]
    errors = np.random.default_rng(seed).choice([0.5, 1, 2.5, 7], given.shape[1])
    for max_error in (0.5, 2, errors):
        model = fitted(given[:150], max_error=max_error)
        again = model.decompress(model.compress(given))
        assert (np.abs(again.astype(float) - given) <= max_error).all()


@pytest.mark.parametrize("dtype", ["uint8", "int64", "int8", "bool"])
def test_integers_are_lossless_with_a_maximum_error_of_0(dtype):
    given = ARRAYS[dtype]
    model = fitted(given[:150], max_error=0)
    np.testing.assert_array_equal(model.decompress(model.compress(given)), given)


def test_maximum_errors_of_frames(of_frame):
    again = of_frame.decompress(of_frame.compress(FRAME))
    for name, largest in (("number", 0.1), ("single", 0.2), ("count", 1)):
        assert np.abs(again[name].astype(float) - FRAME[name]).max() <= largest
    for name in ("truth", "text", "grade"):
        assert again[name].equals(FRAME[name])


def test_categories_are_exact_whatever_the_maximum_error_is():
    model = fitted(FRAME, max_error=5)
    again = model.decompress(model.compress(FRAME))
    for name in ("truth", "text", "grade"):
        assert again[name].equals(FRAME[name])


def test_rare_categories_are_exact():
    text = np.array([f"c{i}" for i in range(60)])  # more than have an encoded column
    frame = FRAME[["number"]].assign(text=text[np.arange(200) % 60])
    model = fitted(frame, max_error=0.1)
    assert model.decompress(model.compress(frame))["text"].equals(frame["text"])


def test_corrections_by_hand():
    is_exact, is_category = np.array([False, True, True]), np.array([False, False, True])
    tolerance = Tolerance.of(2.5, is_exact, is_category, np.full(3, 0.125))
    near = 2.5 * (1 - 2.0**-10) - 0.125
    np.testing.assert_array_equal(tolerance.max_error, [2.5, 2, 0])
    np.testing.assert_array_equal(tolerance.error, [near, 2, 0])
    np.testing.assert_array_equal(tolerance.step, [2 * near, 5, 1])
    given = np.array([[0.0, 0, 2], [2.3, 2, 1], [9.0, 3, 0], [np.nan, np.nan, np.nan]])
    q = tolerance.corrections(given, np.zeros((4, 3)))
    np.testing.assert_array_equal(q, [[0, 0, 2], [0, 0, 1], [2, 1, 0], [0, 0, 0]])


def test_errors_that_the_dtype_cannot_represent_are_refused():
    far = (1e6 + 3 * X).astype(np.float32)  # 1/16 apart
    with pytest.raises(ValueError, match="max_error is too small for values of this size"):
        fitted(far, max_error=0.05)
    with pytest.raises(ValueError, match="max_error is too small for values of this size"):
        fitted(X, max_error=1e-25)
    for max_error in (0.15, 0.5):
        model = fitted(far, max_error=max_error)
        again = model.decompress(model.compress(far))
        assert np.abs(again.astype(float) - far).max() <= max_error
        further = 1000 * far  # exact once rounded
        np.testing.assert_array_equal(model.decompress(model.compress(further)), further)


@pytest.mark.parametrize("container", [np.array, pd.DataFrame], ids=["array", "frame"])
def test_integers_that_float64_cannot_represent_are_refused_with_a_maximum_error(container):
    large = np.array([[2**53 + 1, 1], [3, 4], [5, 9]])
    with pytest.raises(ValueError, match="integers beyond 2..53, which float64 cannot represent"):
        fitted(container(large), max_error=0)
    model = fitted(container(large % 7), max_error=0)
    with pytest.raises(ValueError, match="integers beyond 2..53, which float64 cannot represent"):
        model.compress(container(large))


@pytest.mark.parametrize(
    ("max_error", "message"),
    [
        ([1, 2], r"one for each of the 5 features of X; got an array of shape \(2,\)"),
        ([1, 1, 1, 1, -1], "max_error must be non-negative; got"),
        (["a"] * 5, "max_error must be non-negative; got"),
        ([1, 1, 1, 1, np.inf], "max_error must be non-negative; got"),
        (0, "must be positive for features that are not integers"),
    ],
)
def test_maximum_errors_that_are_none(max_error, message):
    with pytest.raises(ValueError, match=message):
        fitted(X, max_error=max_error)


# ------------------------------------------------------------------------------ rate and start


def test_bits_are_those_of_a_logistic_distribution(rng):
    z, location = rng.normal(size=(50, 4)) * 5, rng.normal(size=4)
    log_scale = np.array([-3.0, -1.0, 0.0, 3.0])
    scale = np.exp(log_scale)
    near = np.abs(z - location * scale) < 8 * scale  # beyond, scipy's differences are inexact
    bits = n_bits(*map(torch.tensor, (z, location, log_scale))).numpy()
    p = np.diff([logistic.cdf(z + d, location * scale, scale) for d in (-0.5, 0.5)], axis=0)[0]
    np.testing.assert_allclose(bits[near], -np.log2(p[near]), rtol=1e-6)
    assert np.isfinite(bits).all()


@pytest.mark.parametrize("max_error", [None, 0.05])
def test_a_stream_is_as_long_as_the_rates(max_error):
    model = fitted(X, max_error=max_error)
    n_bytes = model.rate(X).sum() / 8
    assert abs(len(model.compress(X)) - n_bytes) <= 45
    rows = model.compress(X, per_row=True)
    overhead = np.array([len(row) for row in rows]) - model.rate(X) / 8
    assert 4 < overhead.mean() < 5.2


def test_training_starts_at_principal_components_in_equal_steps():
    weight = 0.02
    model = RateDistortionAutoencoder(3, rate_weight=weight, random_state=0)._fit_start(X)
    step = np.sqrt(6 * weight / np.log(2)) * np.sqrt(X.var(axis=0).mean())
    pca = PCA(3).fit(X)
    codes = np.rint(pca.transform(X) / step)
    np.testing.assert_allclose(model.reconstruct(X), pca.inverse_transform(codes * step), atol=1e-4)
    np.testing.assert_array_equal(np.abs(model.transform(X)), np.abs(codes))


def test_an_epoch_is_kept_only_if_the_objective_is_lower():
    model = fitted(DIGITS[:600], estimator=Autoencoder(16, max_iter=15), rate_weight=0.05)
    inner = model.estimator_
    curve = inner.validation_loss_curve_
    assert inner.best_epoch_ > 0
    assert curve[inner.best_epoch_ - 1] < inner.initial_validation_loss_


def test_a_smaller_weight_of_the_rate_gives_more_bits_and_less_distortion():
    models = [fitted(X, rate_weight=weight) for weight in (0.001, 0.01, 0.1)]
    bits = [model.rate(X).mean() for model in models]
    error = [((model.reconstruct(X) - X) ** 2).mean() for model in models]
    assert bits == sorted(bits, reverse=True)
    assert error == sorted(error)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error"])
def test_score_is_minus_distortion_and_rate(loss):
    model = fitted(X, estimator=clone(INNER).set_params(loss=loss), rate_weight=0.05)
    off = np.abs(model.reconstruct(X) - X)
    unit = np.sqrt(X.var(axis=0).mean())
    distortion, unit = (off**2, unit**2) if loss == "squared_error" else (off, unit)
    expected = -distortion.mean(axis=1) - 0.05 * unit * model.rate(X) / X.shape[1]
    np.testing.assert_allclose(model.score_samples(X), expected, rtol=1e-4, atol=1e-6)
    w = np.arange(len(X))
    assert model.score(X, sample_weight=w) == pytest.approx(np.average(expected, weights=w), 1e-4)


def test_samples_do_not_depend_on_the_others(bounded):
    for ask, rtol in (
        (bounded.transform, 0),
        (bounded.rate, 0),
        (bounded.reconstruct, 1e-12),
        (bounded.score_samples, 1e-12),
    ):
        whole = ask(X)
        np.testing.assert_allclose(ask(X[::-1])[::-1], whole, rtol=rtol)
        np.testing.assert_allclose(np.concatenate([ask(X[:1]), ask(X[1:])]), whole, rtol=rtol)


def test_codes_are_integers_and_decoded_by_inverse_transform(plain):
    Z = plain.transform(X)
    np.testing.assert_array_equal(Z, np.rint(Z))
    np.testing.assert_array_equal(plain.inverse_transform(Z), plain.reconstruct(X))
    assert plain.get_feature_names_out().tolist() == [f"autoencodercompressor{i}" for i in range(3)]


def test_codes_of_a_quantized_autoencoder_are_compressed():
    model = fitted(X, estimator=QuantizedAutoencoder(6, levels=5, **SHORT))
    assert isinstance(model.estimator_, QuantizedAutoencoder)
    np.testing.assert_array_equal(model.decompress(model.compress(X)), model.reconstruct(X))
    np.testing.assert_allclose(model.reconstruct(X), model.estimator_.reconstruct(X), rtol=1e-5)
    assert model.rate(X).mean() < 6 * np.log2(5)


def test_samples_of_weight_0_are_ignored():
    weight = np.repeat([1.0, 0.0], [150, 50])
    models = [
        AutoencoderCompressor(INNER, random_state=0).fit(np.r_[X[:150], other], None, weight)
        for other in (X[150:], 100 * X[150:])
    ]
    streams = [model._tables.tables_[0].frequency_ for model in models]
    np.testing.assert_array_equal(*streams)
    np.testing.assert_array_equal(*[model.transform(X) for model in models])


# ------------------------------------------------------------------------------ missing values


def test_missing_values_are_filled_with_a_warning(bounded):
    X_missing = X.copy()
    X_missing[3, 2] = X_missing[7] = np.nan
    with pytest.warns(AutoencoderWarning, match="X has 6 missing values"):
        data = bounded.compress(X_missing)
    again = bounded.decompress(data)
    assert np.isfinite(again).all()
    known = ~np.isnan(X_missing)
    assert (np.abs(again - X)[known] <= 0.1).all()
    corrections = bounded._read_symbols(X_missing)[0][:, 3:]
    assert (corrections[~known] == 0).all()
    plain = bounded.inverse_transform(bounded.transform(X_missing))
    expected = -np.square(plain - X)[3][known[3]].mean()
    by_rate = 0.01 * X.var(axis=0).mean() * bounded.rate(X_missing)[3] / 5
    assert bounded.score_samples(X_missing)[3] == pytest.approx(expected - by_rate, rel=1e-3)


def test_missing_values_of_frames(of_frame):
    frame = FRAME.copy()
    frame.loc[4, ["text", "number"]] = None
    with pytest.warns(AutoencoderWarning, match="X has 2 missing values"):
        again = of_frame.decompress(of_frame.compress(frame))
    assert again.dtypes.equals(FRAME.dtypes)
    assert not again.isna().any().any()
    assert again["text"].drop(4).equals(frame["text"].drop(4))


# -------------------------------------------------------------------------------------- images


def test_images_of_an_architecture_are_bytes_or_fractions():
    inner = Autoencoder(4, architecture=Conv((2,), image_shape=(8, 8)), **SHORT)
    images = DIGITS[:100]
    model = fitted(images, estimator=inner)
    assert model.decompress(model.compress(images)).dtype == np.uint8
    assert fitted(images / 16, estimator=inner).reconstruct(images[:2] / 16).dtype == np.float64
    for wrong in (images.astype(float), -images / 16.0, images.astype(np.int64)):
        with pytest.raises(ValueError, match=r"must be uint8 or numbers in \[0, 1\]; got"):
            fitted(wrong, estimator=inner)


def test_other_numbers_than_those_of_fit_are_refused():
    model = fitted(ARRAYS["uint8"])
    for wrong in (ARRAYS["uint8"] / 16, ARRAYS["uint8"].astype(float), ARRAYS["int64"]):
        for ask in (model.compress, model.reconstruct, model.rate, model.transform):
            with pytest.raises(ValueError, match="to uint8, and X must be integers from 0"):
                ask(wrong[:, :1].repeat(12, axis=1))


def test_other_numbers_than_those_of_a_column_of_integers_are_refused(of_frame):
    with pytest.raises(ValueError, match=r"Column 'count' of X had integers from -32768 .* 0.5"):
        of_frame.compress(FRAME.assign(count=0.5))
    with pytest.raises(ValueError, match="Column 'count' of X had integers .* got 70000"):
        of_frame.compress(FRAME.assign(count=70000))


# ------------------------------------------------------------------------------ what is refused


def test_damaged_streams_are_refused(bounded):
    data = bounded.compress(X[:30])
    for wrong in (data[:-1], data[: len(data) // 2], b"", data + b"\0", b"PK" + data):
        with pytest.raises(ValueError, match="stream"):
            bounded.decompress(wrong)
    for bit in range(0, 8 * len(data), 7):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="stream"):
            bounded.decompress(bytes(flipped))
    rows = bounded.compress(X[:3], per_row=True)
    with pytest.raises(ValueError, match="compressed row was truncated or altered"):
        bounded.decompress([rows[0][:-1]])
    for wrong in ("text", 5, None, X):
        with pytest.raises(ValueError, match="must be bytes"):
            bounded.decompress(wrong)


def test_streams_of_another_model_are_refused(plain, bounded):
    with pytest.raises(ValueError, match="compressed by another model"):
        plain.decompress(bounded.compress(X[:5]))
    with pytest.raises(ValueError, match="another model"):
        plain.decompress(bounded.compress(X[:5], per_row=True))


def test_forged_streams_are_refused_or_decoded(bounded, of_frame):
    """Their checksum is right."""
    digest = bounded._digest.encode()
    with pytest.raises(ValueError, match="were not written by AutoencoderCompressor"):
        bounded.decompress(write_stream([b""], 1, digest))
    groups, *parts = bounded._tables.encode(bounded._read_symbols(X[:5])[0])
    empty = [groups, *(b"" for _ in parts)]
    assert bounded.decompress(write_stream(empty, 5, digest)).shape == (5, 5)
    symbols = of_frame._read_symbols(FRAME[:1])[0]
    symbols[:, -2] = 1000  # of a category
    forged = write_stream(of_frame._tables.encode(symbols), 1, of_frame._digest.encode())
    with pytest.raises(ValueError, match="categories that fit did not see"):
        of_frame.decompress(forged)


def test_no_samples(plain, of_frame):
    assert plain.decompress([]).shape == (0, 5)
    nothing = of_frame.decompress([])
    assert list(nothing.columns) == list(FRAME.columns)
    assert nothing.dtypes.equals(FRAME.dtypes)
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        plain.compress(X[:0])


def test_unknown_categories_and_other_columns_are_refused(of_frame):
    with pytest.raises(ValueError, match="Column 'text' of X holds 'new', a category that fit did"):
        of_frame.compress(FRAME.assign(text="new"))
    with pytest.raises(ValueError, match="feature names"):
        of_frame.compress(FRAME.drop(columns="text"))
    with pytest.raises(TypeError, match="fitted to a DataFrame of mixed columns"):
        of_frame.compress(X)


def test_values_far_from_the_training_samples_are_refused(plain):
    with pytest.raises(ValueError, match="too far from the training samples"):
        plain.compress(1e30 * X)


@pytest.mark.parametrize("inner", [LinearAutoencoder(2), VariationalAutoencoder(2)])
def test_estimators_of_other_classes_are_refused(inner):
    name = type(inner).__name__
    with pytest.raises(ValueError, match=f"estimator must be an Autoencoder, .*; got {name}"):
        AutoencoderCompressor(inner).fit(X)


def test_unfitted():
    for ask in (AutoencoderCompressor().compress, AutoencoderCompressor().rate):
        with pytest.raises(NotFittedError):
            ask(X)
    with pytest.raises(NotFittedError):
        AutoencoderCompressor().decompress(b"")


# ------------------------------------------------------------------------------------ copies


def test_saved_and_pickled_models_decompress(plain, bounded, of_frame, tmp_path):
    for model, given in ((plain, X), (bounded, X), (of_frame, FRAME)):
        data = model.compress(given)
        expected = model.decompress(data)
        skae.save(model, tmp_path / "model")
        for again in (skae.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
            assert again.compress(given) == data
            restored = again.decompress(data)
            assert restored.equals(expected) if given is FRAME else (restored == expected).all()


def test_a_clone_is_unfitted_and_the_same_seed_gives_the_same_streams(plain):
    again = clone(plain)
    assert not hasattr(again, "estimator_")
    assert again.fit(X).compress(X) == plain.compress(X)
    assert plain.estimator is INNER  # as it was given
    assert not hasattr(INNER, "module_")


@pytest.mark.parametrize("init", ["auto", "random"])
def test_the_autoencoder_of_integer_codes_keeps_the_promises_of_variants(init):
    """Of those of all variants, such as hooks that run on torch's meta device."""
    model = RateDistortionAutoencoder(3, init=init, max_iter=2, early_stopping=False)
    check_autoencoder(model)

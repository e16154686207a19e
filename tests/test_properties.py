"""Whatever the table: a sentence, or finite outputs of the right shape and dtype."""

import os
import tempfile
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest
import sklearn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

import skae
from skae import (
    Autoencoder,
    AutoencoderCompressor,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    AutoencoderSearch,
    AutoencoderWarning,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    KSparseAutoencoder,
    LinearAutoencoder,
    PooledEstimator,
    QuantizedAutoencoder,
    SparseAutoencoder,
    VariationalAutoencoder,
    make_missing,
    pool_estimates,
)
from skae.base import BaseAutoencoder
from skae.impute._missing_mechanisms import MECHANISMS
from skae.inspection import intrinsic_dimension, jacobian, tangent_basis
from skae.metrics import explained_variance, neg_reconstruction_error

EXAMPLES = int(os.environ.get("SKAE_EXAMPLES", "25"))

MAGNITUDES = [5e-324, 1e-300, 1e-150, 1e-38, 1e-10, 1e10, 1e19, 3.4e38, 1e150, 1e300, 1.7e308]
numbers = st.one_of(
    st.floats(-10, 10, width=32),
    st.sampled_from([0.0, 1.0, 255.0, *MAGNITUDES, *(-m for m in MAGNITUDES)]),
)
cells = st.one_of(numbers, st.sampled_from([np.nan, np.inf, -np.inf]))
sizes = st.sampled_from([1.0, *MAGNITUDES])


@st.composite
def tables(draw):
    """Draw a small table: any dtype, layout, missing values, and now and then something awful."""
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))
    kind = draw(st.sampled_from(["calm", "calm", "scaled", "awful"]))
    dtype = draw(st.sampled_from(["f8", "f4", "f2", "i4", "u1", "?"]))
    if dtype in ("f8", "f4"):
        calm = st.floats(-10, 10, width=32)
        X = draw(hnp.arrays(np.float64, shape, elements=cells if kind == "awful" else calm))
        if kind == "scaled":  # all cells, or those of each column
            X = (
                X
                / 10
                * draw(hnp.arrays(np.float64, st.sampled_from([1, X.shape[1]]), elements=sizes))
            )
        with np.errstate(over="ignore"):
            X = X.astype(dtype)
    else:
        X = draw(hnp.arrays(dtype, shape))
    layout = draw(st.sampled_from(["C", "F", "strided", "read-only", "csr", "list"]))
    if layout == "F":
        X = np.asfortranarray(X)
    elif layout == "strided":
        X = np.repeat(X, 2, axis=0)[::2]
    elif layout == "read-only":
        X.flags.writeable = False
    elif layout == "csr" and X.dtype.kind in "fiu" and X.dtype != np.float16:
        X = sparse.csr_array(X)
    elif layout == "list":
        X = X.tolist()
    return X


VARIANTS = {
    "sparse": (
        SparseAutoencoder,
        {"penalty": ["l1", "l2", "kl"], "target_activation": [None, 0.1]},
    ),
    "k-sparse": (KSparseAutoencoder, {"selection": ["row", "batch"], "n_nonzero_coefs": [None, 1]}),
    "quantized": (
        QuantizedAutoencoder,
        {
            "n_components": [1, 3],
            "levels": [2, 5],
            "quantization": ["straight_through", "noise"],
            "mask_ratio": [0.0, 0.5],
        },
    ),
    "denoising": (
        DenoisingAutoencoder,
        {
            "n_components": ["auto", 1],
            "noise": ["gaussian", "masking", "salt_and_pepper", "swap"],
            "noise_level": [0.0, 0.3, (0.1, 0.9)],
            "per_feature": [True, False],
            "loss": ["squared_error", "log_loss"],
        },
    ),
    "contractive": (ContractiveAutoencoder, {"n_components": [1, 5], "tied": [True, False]}),
    "variational": (
        VariationalAutoencoder,
        {
            "n_components": [1, 3],
            "likelihood": ["gaussian", "bernoulli", "poisson"],
            "variance": ["shared", "feature", 1.0],
            "free_bits": [0.0, 0.1],
            "n_importance_draws": [None, 3],
        },
    ),
}


@st.composite
def models(draw):
    k = draw(st.integers(1, 4))
    short = {"max_iter": 2, "early_stopping": draw(st.sampled_from(["auto", False]))}
    variant = draw(st.sampled_from(["plain", "linear", *VARIANTS]))
    if variant in VARIANTS:
        kind, choices = VARIANTS[variant]
        chosen = {name: draw(st.sampled_from(values)) for name, values in choices.items()}
        return kind(hidden_layer_sizes=draw(st.sampled_from([None, (3,)])), **chosen, **short)
    if variant == "linear":
        return LinearAutoencoder(k, init=draw(st.sampled_from(["pca", "random"])), max_iter=2)
    return Autoencoder(
        k,
        hidden_layer_sizes=draw(st.sampled_from([(), (3,), (4, 2)])),
        loss=draw(st.sampled_from(["squared_error", "absolute_error", "log_loss", "poisson"])),
        linear_shortcut=draw(st.booleans()),
        early_stopping=draw(st.sampled_from(["auto", False])),
        max_iter=2,
        random_state=0,
    )


# Where a sentence may come from: what scikit-learn checks input with, and skae.
CHECKS = [
    str(Path(sklearn.__file__).parent / "utils" / name)
    for name in ("validation.py", "_param_validation.py", "_array_api.py", "multiclass.py")
]
HOUSE = str(Path(skae.__file__).parent)


def is_sentence(error, *, also=()):
    """Return whether an error was raised on purpose, not by what was given to numpy or torch."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    ours = last.filename.startswith(HOUSE) and (last.line or "").startswith("raise")
    theirs = bool(also) and any(frame.filename.startswith(tuple(also)) for frame in frames)
    return (ours or theirs or last.filename in CHECKS) and len(str(error)) >= 15


def attempt(function, *args, also=(), **kwargs):
    """Return a finite output, or None for a ValueError or TypeError that is a sentence.

    Warnings are errors, but for those of skae. What goes wrong in the folders `also`, of an
    estimator that is not skae's, does not count.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if also:
            warnings.filterwarnings("ignore", module=r"sklearn\.|scipy\.|numpy\.")
        warnings.simplefilter("ignore", AutoencoderWarning)
        try:
            output = function(*args, **kwargs)
        except (ValueError, TypeError) as error:
            if not is_sentence(error, also=also):
                raise AssertionError("not a sentence") from error
            return None
    for part in output if isinstance(output, tuple) else [output]:
        if isinstance(part, (np.ndarray, float)) and np.asarray(part).dtype.kind == "f":
            assert np.isfinite(part).all()
    return output


def length(table):
    return table.shape[0] if hasattr(table, "shape") else len(table)


def dense(table):
    return table.toarray() if sparse.issparse(table) else np.asarray(table)


def weights_for(table):
    """Draw nothing, or weights of any magnitude."""
    kinds = st.sampled_from([0.0, 1.0, 2.5, 5e-324, 1e-300, 1e300])
    return st.none() | hnp.arrays(np.float64, length(table), elements=kinds)


BOOKKEEPING = {
    *("fit", "partial_fit", "fit_transform", "fit_predict", "get_params", "set_params"),
    *("set_output", "get_feature_names_out", "set_callbacks", "get_metadata_routing"),
}


def public_methods(kind):
    """Return the names of the methods that output about rows."""
    names = {n for n in dir(kind) if not n.startswith("_") and callable(getattr(kind, n))}
    return {n for n in names - BOOKKEEPING if not n.endswith("_request")}


def questions(model, *, level=None, weight=None):
    """Return everything that can be asked of a fitted autoencoder about rows, by name."""
    asked = {
        "transform": model.transform,
        "inverse_transform": lambda X: model.inverse_transform(model.transform(X)),
        "reconstruct": model.reconstruct,
        "score_samples": model.score_samples,
        "score": lambda X: model.score(X, sample_weight=weight),
        "jacobian": lambda X: jacobian(model, X),
        "tangent_basis": lambda X: tangent_basis(model, X, 1),
        "intrinsic_dimension": lambda X: intrinsic_dimension(model, X),
        "neg_reconstruction_error": lambda X: neg_reconstruction_error(model, X, None, weight),
        "explained_variance": lambda X: explained_variance(model, X, None, weight),
    }
    if hasattr(model, "score_field"):
        asked["score_field"] = lambda X: model.score_field(X, level)
        asked["project"] = lambda X: model.project(X, 3)
    if hasattr(model, "to_saelens"):
        asked["to_saelens"] = lambda X: tuple(written_for_saelens(model).values())
    if hasattr(model, "codes_to_indices"):
        asked["codes_to_indices"] = lambda X: model.codes_to_indices(model.transform(X))
        asked["indices_to_codes"] = lambda X: model.indices_to_codes(asked["codes_to_indices"](X))
    if hasattr(model, "sample"):
        asked |= {
            "posterior": model.posterior,
            "conditional_mean": model.conditional_mean,
            "conditional_sample": lambda X: model.conditional_sample(X, 2, random_state=0),
            "sample": lambda X: model.sample(2, random_state=0),
            "interpolate": lambda X: tuple(
                model.interpolate(dense(X)[0], dense(X)[-1], 3, method)
                for method in ("linear", "spherical")
            ),
        }
    return asked


def written_for_saelens(model):
    with tempfile.TemporaryDirectory() as folder:
        model.to_saelens(folder)
        return load_file(Path(folder) / "sae_weights.safetensors")


SAMPLES = {"transform", "reconstruct", "score_samples", "score_field", "project", "jacobian"}

quiet = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="SKAE_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize(
    "kind",
    [k for k in vars(skae).values() if isinstance(k, type) and issubclass(k, BaseAutoencoder)],
)
def test_every_public_method_is_asked(kind):
    assert public_methods(kind) <= set(questions(kind()))


@pytest.mark.full
@quiet
@given(model=models(), X=tables(), Y=tables(), data=st.data())
def test_outputs_are_finite_or_refused_with_a_sentence(model, X, Y, data):
    weight = data.draw(weights_for(X))
    in_chunks = data.draw(st.booleans())
    fitted = attempt(model.partial_fit if in_chunks else model.fit, X, sample_weight=weight)
    if fitted is None:
        assert not hasattr(model, "module_")
        return
    if in_chunks:
        before = vars(model).copy()
        if attempt(model.partial_fit, Y) is None:
            assert vars(model) == before
    level = data.draw(st.sampled_from([None, 0.1, 0.3, 1e-300, np.nan]))
    for table, own in ((X, weight), (Y, None)):
        for name, ask in questions(model, level=level, weight=own).items():
            output = attempt(ask, table)
            if output is not None and name in SAMPLES:
                assert output.dtype in (np.float32, np.float64)
                assert len(output) == length(table)
            if output is not None and name == "transform":
                assert output.shape[1] == model.n_components_
    codes = data.draw(hnp.arrays(np.float64, (2, model.n_components_), elements=cells))
    attempt(model.inverse_transform, codes)


@quiet
@given(model=models(), X=tables(), Y=tables())
def test_what_is_saved_gives_the_same_outputs(model, X, Y, tmp_path_factory):
    if attempt(model.fit, X) is None:
        return
    path = tmp_path_factory.mktemp("saved") / "model"
    skae.save(model, path)
    loaded = skae.load(path)
    for table in (X, Y):
        np.testing.assert_equal(attempt(loaded.transform, table), attempt(model.transform, table))


@pytest.mark.full
@quiet
@given(model=models(), X=tables(), data=st.data())
def test_arrays_in_a_list_are_one_table(model, X, data):
    X = np.ascontiguousarray(dense(X))  # whose sums are rounded as those of its parts
    bounds = data.draw(st.lists(st.integers(0, len(X)), max_size=3).map(sorted))
    parts = np.split(X, bounds)
    model.set_params(random_state=0)
    in_parts, whole = clone(model), clone(model)
    if (attempt(in_parts.fit, parts) is None) != (attempt(whole.fit, X) is None):
        raise AssertionError("only one is refused")
    if hasattr(whole, "module_"):
        for method in ("transform", "reconstruct", "score_samples"):
            answers = attempt(getattr(in_parts, method), parts), attempt(getattr(whole, method), X)
            np.testing.assert_array_equal(*answers)


@pytest.mark.full
@quiet
@given(X=tables(), Y=tables(), inner=st.none() | models(), data=st.data())
def test_what_is_observed_stays_and_missing_values_are_filled(X, Y, inner, data):
    options = {
        "missing_values": data.draw(st.sampled_from([np.nan, 0, -1.0])),
        "keep_empty_features": data.draw(st.booleans()),
        "clip": data.draw(st.booleans()),
    }
    if isinstance(inner, VariationalAutoencoder):
        inner = None  # draws for each missing value: slow
    imputer = AutoencoderImputer(inner, max_iter=1, random_state=0, **options)
    if attempt(imputer.fit, X, sample_weight=data.draw(weights_for(X))) is None:
        assert not hasattr(imputer, "mean_")
        return
    for table in (X, Y):
        filled = attempt(imputer.transform, table)
        if filled is not None:
            assert filled.dtype in (np.float32, np.float64)
            given = np.asarray(table)
            if filled.shape == given.shape:
                known = ~np.isnan(given) & (given != options["missing_values"])
                np.testing.assert_array_equal(filled[known], given[known].astype(filled.dtype))
            drawn = attempt(imputer.sample, table, 2, random_state=0)
            assert drawn is None or drawn.shape == (2, *filled.shape)
        report = attempt(imputer.over_impute, table, 0.5, 0.5, random_state=0)
        if report is not None:
            rmse = report["rmse"][report["n_cells"] > 0]
            assert np.isfinite(rmse).all()


@pytest.mark.full
@quiet
@given(X=tables(), Y=tables(), inner=st.none() | models(), data=st.data())
def test_scores_of_outliers_are_finite_and_each_row_has_its_own(X, Y, inner, data):
    method = data.draw(
        st.sampled_from(["auto", "reconstruction", "standardized", "mahalanobis", "neighbors"])
    )
    detector = AutoencoderOutlierDetector(inner, method=method, max_iter=3, random_state=0)
    kinds = st.sampled_from([0.0, 1.0, 2.5])
    weight = data.draw(st.none() | hnp.arrays(np.float64, length(X), elements=kinds))
    if attempt(detector.fit, X, sample_weight=weight) is None:
        assert not hasattr(detector, "offset_")
        return
    for table in (X, Y):
        scores = attempt(detector.score_samples, table)
        for ask in (
            detector.decision_function,
            detector.p_values,
            lambda table: detector.p_values(table, X_calibration=table),
            lambda table: detector.select_outliers(table, 0.5),
            detector.feature_contributions,
        ):
            output = attempt(ask, table)
            assert output is None or len(output) == len(scores)
        if scores is not None:
            assert set(attempt(detector.predict, table)) <= {-1, 1}
            alone = detector.score_samples(table[:1])
            size = np.abs(scores).max() or 1.0
            np.testing.assert_allclose(alone / size, scores[:1] / size, rtol=1e-3, atol=1e-6)


@pytest.mark.full
@quiet
@given(X=tables(), Y=tables(), inner=models(), data=st.data())
def test_neighbors_are_stored_samples_at_finite_distances(X, Y, inner, data):
    search = AutoencoderSearch(
        inner,
        n_neighbors=data.draw(st.integers(1, 4)),
        rerank=data.draw(st.sampled_from([None, 4])),
        random_state=0,
    )
    if attempt(search.fit, X, sample_weight=data.draw(weights_for(X))) is None:
        assert not hasattr(search, "codes_")
        return
    radius = data.draw(st.sampled_from([0.0, 1.0, 1e300, np.inf]))
    for table in (X, Y):
        for ask in (search.kneighbors, search.transform, search.kneighbors_graph):
            attempt(ask, table)
        attempt(search.radius_neighbors_graph, table, radius, "distance")
        found = attempt(search.kneighbors, table, 1)
        if found is not None:
            assert found[1].shape == (length(table), 1)
            assert ((found[1] >= 0) & (found[1] < search.n_samples_fit_)).all()
        before = vars(search).copy()
        if attempt(search.add, table) is None:
            assert vars(search) == before
    attempt(search.kneighbors)
    attempt(search.radius_neighbors, radius=radius)


@pytest.mark.full
@quiet
@given(X=tables(), Y=tables(), data=st.data())
def test_compressed_tables_are_restored_within_the_largest_error(X, Y, data):
    inner = data.draw(st.sampled_from([Autoencoder, QuantizedAutoencoder]))(2, max_iter=2)
    max_error = data.draw(st.sampled_from([None, 1e-30, 1e-3, 0.5, 3, 1e30]))
    model = AutoencoderCompressor(inner, max_error=max_error, random_state=0)
    if attempt(model.fit, X, sample_weight=data.draw(weights_for(X))) is None:
        assert not hasattr(model, "estimator_")
        return
    for table in (X, Y):
        for ask in (model.transform, model.rate, model.score_samples):
            attempt(ask, table)
        restored = attempt(model.reconstruct, table)
        stream = attempt(model.compress, table)
        assert (restored is None) == (stream is None)
        if stream is None:
            continue
        np.testing.assert_array_equal(model.decompress(stream), restored)
        if max_error is not None:
            off = np.abs(restored.astype(np.float64) - dense(table))
            assert np.nanmax(off, initial=0) <= max_error


LINEAR = str(Path(sklearn.__file__).parent / "linear_model")


@pytest.mark.full
@quiet
@given(X=tables(), Y=tables(), data=st.data())
def test_pooled_outputs_are_finite(X, Y, data):
    estimator = data.draw(st.sampled_from([LinearRegression(), Ridge(), LogisticRegression()]))
    labels = isinstance(estimator, LogisticRegression)
    elements = st.sampled_from([0, 1]) if labels else numbers
    y = data.draw(hnp.arrays(np.int64 if labels else np.float64, length(X), elements=elements))
    weight = data.draw(st.none() | st.just(np.ones(length(X))))
    pooled = PooledEstimator(
        estimator,
        AutoencoderImputer(max_iter=1),
        n_imputations=2,
        bootstrap=data.draw(st.booleans()),
        with_target=data.draw(st.booleans()),
        random_state=0,
    )
    if attempt(pooled.fit, X, y, sample_weight=weight, also=[LINEAR]) is None:
        assert not hasattr(pooled, "estimators_")
        return
    attempt(pooled.pool_coefficients)
    attempt(lambda: (np.asarray(pooled.coef_), np.asarray(pooled.intercept_)))
    for table in (X, Y):
        attempt(pooled.predict, table)
        if labels:
            attempt(pooled.predict_proba, table)
            attempt(pooled.decision_function, table)
    if len(y) > 1:
        attempt(pooled.score, X, y)


@quiet
@given(data=st.data())
def test_pooled_intervals_are_finite(data):
    shape = data.draw(hnp.array_shapes(max_dims=2, max_side=4))
    estimates = data.draw(
        hnp.arrays(np.float64, shape, elements=data.draw(st.sampled_from([numbers, cells])))
    )
    variances = data.draw(hnp.arrays(np.float64, shape, elements=numbers.map(abs)))
    df, coverage = data.draw(cells), data.draw(st.sampled_from([0.5, 0.95, 1e-300, 1 - 2**-53]))
    asked = attempt(lambda: [pool_estimates(estimates, variances)])
    if asked is not None:
        pooled = asked[0]
        assert (pooled.df > 0).all()  # infinite where tables agree
        size = np.abs(estimates).max(axis=0) * (1 + 1e-9)
        assert (np.abs(pooled.estimate) <= size).all()
        assert np.isfinite(pooled.std_error).all()
        assert ((-np.inf < pooled.low) & (pooled.low <= pooled.estimate)).all()
        assert ((pooled.estimate <= pooled.high) & (pooled.high < np.inf)).all()
    attempt(lambda: [pool_estimates(estimates, variances, df, coverage)])


@quiet
@given(X=tables(), mechanism=st.sampled_from(list(MECHANISMS)), data=st.data())
def test_missing_values_leave_the_rest_of_the_table(X, mechanism, data):
    fraction = data.draw(st.sampled_from([1e-300, 0.3, 0.9, 0.999, 1.0, 0.0, np.nan, np.inf]))
    X = dense(X)
    asked = attempt(lambda: [make_missing(X, mechanism, fraction, random_state=0)])
    if asked is not None:
        left = ~np.isnan(asked[0])
        np.testing.assert_array_equal(asked[0][left], X[left].astype(asked[0].dtype))


NO_NUMBERS = [None, "a", [1, 2], {}, np.array([1, 2]), 1j, np.nan, -np.inf, 0, -1, 1.5, 10**30]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_parameters_that_are_none_are_refused(rng, value):
    X = rng.normal(size=(20, 3))
    vae = VariationalAutoencoder(1, max_iter=1, early_stopping=False).fit(X)
    denoising = DenoisingAutoencoder(max_iter=1, early_stopping=False).fit(X)
    for refused in (
        lambda: vae.sample(value),
        lambda: vae.conditional_sample(X, value),
        lambda: vae.interpolate(X[0], X[1], value),
        lambda: vae.interpolate(X[0], X[1], method=value),
        lambda: vae.interpolate(value, X[1]),
        lambda: tangent_basis(vae, X, value),
        lambda: make_missing(X, fraction=value),
        lambda: make_missing(X, mechanism=value),
        lambda: pool_estimates([1, 2], [1, 1], coverage=value),
        lambda: pool_estimates([1, 2, 3], value),
    ):
        assert attempt(refused) is None
    if not isinstance(value, int) or value < 1:
        assert attempt(lambda: denoising.project(X, value)) is None
    if value is not None:
        assert attempt(lambda: denoising.score_field(X, value)) is None


def test_numpys_numbers_are_numbers(rng):
    X = rng.normal(size=(20, 3))
    vae = VariationalAutoencoder(
        np.int64(1), max_iter=np.int32(1), beta=np.float32(1), early_stopping=False
    ).fit(X)
    denoising = DenoisingAutoencoder(
        noise_level=np.float32(0.3), max_iter=np.int8(1), early_stopping=False
    ).fit(X)
    two = np.uint8(2)
    for output in (
        lambda: vae.sample(two, random_state=two),
        lambda: vae.conditional_sample(X, two, random_state=two),
        lambda: vae.interpolate(X[0], X[1], two),
        lambda: tangent_basis(denoising, X, two),
        lambda: denoising.project(X, two),
        lambda: denoising.score_field(X, np.float32(0.3)),
        lambda: [make_missing(X, fraction=np.float32(0.3), random_state=two)],
        lambda: pool_estimates([1, 2], [1, 1], two, np.float32(0.5)),
    ):
        assert attempt(output) is not None

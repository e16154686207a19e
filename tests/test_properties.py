"""Whatever the table: a sentence, or finite answers of the right shape and dtype."""

import os
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from skae import (
    Autoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    AutoencoderWarning,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    KSparseAutoencoder,
    LinearAutoencoder,
    SparseAutoencoder,
    VariationalAutoencoder,
)

EXAMPLES = int(os.environ.get("SKAE_EXAMPLES", "60"))

cells = st.one_of(
    st.floats(-10, 10, width=32),
    st.sampled_from([0.0, 1.0, np.nan, 1e-30, -1e30, np.inf, 1e300, 255.0]),
)


@st.composite
def tables(draw):
    """Draw a small table: any dtype, layout, holes, and now and then something awful."""
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))
    calm = draw(st.booleans())
    dtype = draw(st.sampled_from(["f8", "f4", "i4", "u1", "?"]))
    if dtype in ("f8", "f4"):
        elements = st.floats(-10, 10, width=32) if calm else cells
        X = draw(hnp.arrays(np.float64, shape, elements=elements))
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
    elif layout == "csr" and X.dtype.kind in "fiu":
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
            "n_importance": [None, 3],
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


def attempt(function, *args, **kwargs):
    """Return an answer, or None for a ValueError or TypeError with a sentence."""
    try:
        return function(*args, **kwargs)
    except (ValueError, TypeError) as error:
        if len(str(error)) < 15:
            pytest.fail(f"not a sentence: {error}")
        return None


def answered(model, method, X, Y, attribute):
    """Fit to X, and give the tables that are not refused with the method's answers."""
    if attempt(model.fit, X) is None:
        assert not hasattr(model, attribute)
        return
    for table in (X, Y):
        answer = attempt(getattr(model, method), table)
        if answer is not None:
            yield table, answer


quiet = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="SKAE_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
@quiet
@given(model=models(), X=tables(), Y=tables(), data=st.data())
def test_answers_are_finite_or_refused_with_a_sentence(model, X, Y, data):
    n = X.shape[0] if hasattr(X, "shape") else len(X)
    weight = data.draw(
        st.none() | hnp.arrays(np.float64, n, elements=st.sampled_from([0.0, 1.0, 2.5, 1e-300]))
    )
    in_chunks = data.draw(st.booleans())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AutoencoderWarning)
        fitted = attempt(model.partial_fit if in_chunks else model.fit, X, sample_weight=weight)
        if fitted is None:
            assert not hasattr(model, "module_")
            return
        if in_chunks:
            attempt(model.partial_fit, Y)
    for table in (X, Y):
        codes = attempt(model.transform, table)
        for method in (model.transform, model.reconstruct, model.score_samples):
            answer = attempt(method, table)
            if answer is not None:
                assert np.isfinite(answer).all()
                assert answer.dtype in (np.float32, np.float64)
                assert len(answer) == (table.shape[0] if hasattr(table, "shape") else len(table))
        if codes is not None:
            assert codes.shape[1] == model.n_components_


@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
@quiet
@given(X=tables(), Y=tables(), inner=st.none() | models(), data=st.data())
def test_what_is_observed_stays_and_holes_are_filled(X, Y, inner, data):
    options = {
        "missing_values": data.draw(st.sampled_from([np.nan, 0, -1.0])),
        "keep_empty_features": data.draw(st.booleans()),
        "clip": data.draw(st.booleans()),
    }
    if isinstance(inner, VariationalAutoencoder):
        inner = None  # draws for each hole: slow
    imputer = AutoencoderImputer(inner, max_iter=1, random_state=0, **options)
    for table, filled in answered(imputer, "transform", X, Y, "mean_"):
        assert filled.dtype in (np.float32, np.float64)
        assert np.isfinite(filled).all()
        given = np.asarray(table)
        if filled.shape == given.shape:
            known = ~np.isnan(given) & (given != options["missing_values"])
            np.testing.assert_array_equal(filled[known], given[known].astype(filled.dtype))
        drawn = imputer.sample(table, 2, random_state=0)
        assert drawn.shape == (2, *filled.shape)
        assert np.isfinite(drawn).all()


@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
@quiet
@given(X=tables(), Y=tables(), inner=st.none() | models(), data=st.data())
def test_scores_of_outliers_are_finite_and_each_row_has_its_own(X, Y, inner, data):
    method = data.draw(
        st.sampled_from(["auto", "reconstruction", "standardized", "mahalanobis", "neighbors"])
    )
    detector = AutoencoderOutlierDetector(inner, method=method, random_state=0)
    for table, scores in answered(detector, "score_samples", X, Y, "offset_"):
        assert np.isfinite(scores).all()
        assert set(detector.predict(table)) <= {-1, 1}
        alone = detector.score_samples(table[:1])
        np.testing.assert_allclose(alone, scores[:1], rtol=1e-3, atol=1e-6 * np.abs(scores).max())

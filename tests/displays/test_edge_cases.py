"""What the displays do with rare input: too few or equal values, other types, wrong shapes."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline

from skae import KSparseAutoencoder, LinearAutoencoder, TableEncoder, VariationalAutoencoder
from skae.displays import (
    ActivationDisplay,
    ContributionDisplay,
    InterpolationDisplay,
    JacobianDisplay,
    LatentDisplay,
    LossCurveDisplay,
    OutlierScoreDisplay,
    OverimputationDisplay,
    ReconstructionDisplay,
    SampleDisplay,
)

DIGITS = load_digits().data[:50] / 16


def overimputation(**params):
    cells = {key: [1.0, 2.0] for key in ("estimate", "low", "high", "mean")}
    return OverimputationDisplay([1.0, 2.0], column=["bmi", "bp"], scale=[1.0, 1.0], **cells).plot(
        **params
    )


def test_scores_that_differ_by_rounding_are_one_bar():
    for log_scale, bins in ((False, 30), (False, 1), (True, 7)):
        display = OutlierScoreDisplay(3 + 1e-15 * np.arange(9))
        bars = display.plot(bins=bins, log_scale=log_scale).bars_["all"]
        assert [bar.get_height() for bar in bars if bar.get_height()] == [1]


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_scores_of_any_unit_are_spread_over_the_bins(scale):
    bars = OutlierScoreDisplay(scale * np.arange(1, 9)).plot(bins=8).bars_["all"]
    assert [bar.get_height() for bar in bars] == [1 / 8] * 8


def test_labels_need_the_length_of_the_scores():
    for wrong in ([True], [[True], [False], [False]]):
        with pytest.raises(ValueError, match="pass one label for each sample"):
            OutlierScoreDisplay([1.0, 2.0, 3.0], is_outlier=wrong).plot()


def test_samples_without_any_observed_value_are_drawn_without_warnings():
    unknown = np.full((2, 4), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = ReconstructionDisplay(unknown, {"mean": np.ones((2, 4))}, image_shape=(2, 2))
        display = images.plot()
        assert np.isnan(display.relative_errors_["mean"])
        image = SampleDisplay(unknown, image_shape=(2, 2)).plot().image_
        assert image.get_array().mask.all()


def test_reconstructions_need_the_shape_of_the_samples():
    with pytest.raises(ValueError, match=r"\['a'\] has shape \(2, 64\), but X has shape \(3, 64\)"):
        ReconstructionDisplay(DIGITS[:3], {"a": DIGITS[:2]}).plot()
    with pytest.raises(ValueError, match="reconstructions is empty"):
        ReconstructionDisplay(DIGITS[:3], {}).plot()


def test_a_mask_of_the_features_is_that_of_each_sample():
    half = np.arange(64) < 32
    displays = [
        ReconstructionDisplay(DIGITS[:3], {"a": 0 * DIGITS[:3]}, image_shape=(8, 8), mask=mask)
        for mask in (half, np.tile(half, (3, 1)))
    ]
    overlays = [np.asarray(d.plot().hidden_image_.get_array()) for d in displays]
    np.testing.assert_array_equal(*overlays)
    with pytest.raises(ValueError, match="mask must be boolean, of shape"):
        ReconstructionDisplay(DIGITS[:3], {"a": DIGITS[:3]}, mask=half[:5]).plot()


def test_classes_that_cannot_be_sorted_are_names():
    display = LatentDisplay(DIGITS[:4, 2:4], np.array(["b", None, "a", "b"], dtype=object)).plot()
    assert [text.get_text() for text in display.legend_.get_texts()] == ["None", "a", "b"]


def test_codes_and_classes_that_were_passed_are_checked():
    with pytest.raises(ValueError, match=r"codes has shape \(4,\)"):
        LatentDisplay([1.0, 2.0, 3.0, 4.0]).plot()
    with pytest.raises(ValueError, match="pass one value for each"):
        LatentDisplay(DIGITS[:4, :2], [0, 1]).plot()


def test_whitened_components_without_variance_have_the_jacobian_of_transform():
    X = DIGITS[:, :3] * [0, 1, 1]  # two dimensions
    pca = PCA(3, whiten=True).fit(X)
    display = JacobianDisplay.from_estimator(pca, X)
    steps = np.vstack([X[:1], X[:1] + 1e-3 * np.eye(3)])
    codes = pca.transform(steps)
    values = np.linalg.svd(((codes[1:] - codes[0]) / 1e-3).T, compute_uv=False)
    np.testing.assert_allclose(display.singular_values[0], values, rtol=1e-6)


def test_a_mixture_has_no_random_state_for_its_samples():
    mixture = GaussianMixture(2, random_state=0).fit(DIGITS[:, 2:6])
    assert SampleDisplay.from_estimator(mixture, n_samples=3).X.shape == (3, 4)
    with pytest.raises(TypeError, match=r"GaussianMixture\.sample has no random_state"):
        SampleDisplay.from_estimator(mixture, random_state=0)


def test_one_component_has_no_arc_between_codes_of_opposite_signs():
    vae = VariationalAutoencoder(1, max_iter=2, early_stopping=False, random_state=0).fit(DIGITS)
    codes = vae.transform(DIGITS)[:, 0]
    ends = DIGITS[[codes.argmin()]], DIGITS[[codes.argmax()]]
    assert list(InterpolationDisplay.from_estimator(vae, *ends).paths) == ["linear"]
    with pytest.raises(ValueError, match="The arc between opposite codes is not unique"):
        InterpolationDisplay.from_estimator(vae, *ends, method="spherical")


def test_one_name_is_a_list_of_one():
    assert list(overimputation(columns="bp", per_column=True).axes_) == ["bp"]
    display = LossCurveDisplay([2.0, 1.0], loss_terms={"divergence": [1.0, 0.5]})
    assert list(display.plot(terms="divergence").term_lines_) == ["divergence"]


@pytest.mark.parametrize("wrong", [0, -1, 1.5])
def test_numbers_of_things_are_positive_integers(wrong):
    sparse = KSparseAutoencoder(8, n_nonzero_coefs=2, max_iter=1, random_state=0).fit(DIGITS)
    calls = {
        "bins": lambda: OutlierScoreDisplay([1.0, 2.0]).plot(bins=wrong),
        "max_features": lambda: ContributionDisplay([1.0, 2.0]).plot(max_features=wrong),
        "max_cells": lambda: overimputation(max_cells=wrong),
        "n_tangents": lambda: JacobianDisplay.from_estimator(sparse, DIGITS, n_tangents=wrong),
        "n_atoms": lambda: ActivationDisplay.from_estimator(sparse, DIGITS, n_atoms=wrong),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError, match=f"{name} must be a positive integer"):
            call()


def test_what_does_not_exist_is_named():
    with pytest.raises(ValueError, match="best_epoch must be from 0 to 2"):
        LossCurveDisplay([2, 1], validation_loss_curve=[2, 1], best_epoch=5).plot()
    with pytest.raises(ValueError, match="columns is empty"):
        overimputation(columns=[])
    with pytest.raises(ValueError, match="There are no images to draw"):
        SampleDisplay(DIGITS[:0], image_shape=(8, 8)).plot()
    with pytest.raises(ValueError, match="feature_names has 1 elements"):
        ContributionDisplay([1.0, 2.0], feature_names=["a"]).plot()


def test_a_shape_of_images_is_a_sequence():
    message = r"image_shape must be \(height, width\) or \(height, width, n_channels\); got 8"
    pca = PCA(2).fit(DIGITS)
    for draw in (
        lambda: ReconstructionDisplay.from_estimator(pca, DIGITS, image_shape=8),
        lambda: ActivationDisplay.from_estimator(pca, DIGITS, image_shape=8),
        lambda: LatentDisplay.from_estimator(pca, DIGITS, grid=2, image_shape=8),
        lambda: SampleDisplay(DIGITS, image_shape=8).plot(),
    ):
        with pytest.raises(TypeError, match=message):
            draw()


def test_tables_with_text_are_drawn_by_the_last_step_of_a_pipeline():
    X = pd.DataFrame({"x": DIGITS[:, 2], "y": DIGITS[:, 3], "side": ["left", "right"] * 25})
    pipeline = make_pipeline(TableEncoder(), LinearAutoencoder(2)).fit(X)
    message = r"pass its last step and the input of that: pipeline\[-1\]"
    with pytest.raises(ValueError, match=f"Column 'side' of X holds text.*{message}"):
        ReconstructionDisplay.from_estimator(pipeline, X)
    with pytest.raises(ValueError, match=f"Column 'side' of X_start holds text.*{message}"):
        InterpolationDisplay.from_estimator(pipeline, X[:2], X[2:4])
    encoded = pipeline[:-1].transform(X)
    display = ReconstructionDisplay.from_estimator(pipeline[-1], encoded)
    assert display.X.shape == (8, encoded.shape[1])

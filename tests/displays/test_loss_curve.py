import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skae import Autoencoder, AutoencoderOutlierDetector, SparseAutoencoder
from skae.displays import LossCurveDisplay

X = np.random.default_rng(0).normal(size=(300, 6)) @ np.random.default_rng(1).normal(size=(6, 6))


@pytest.fixture(scope="module")
def fitted():
    return SparseAutoencoder(8, max_iter=6, random_state=0).fit(X)


def test_curves_are_those_of_the_fit(fitted):
    display = LossCurveDisplay.from_estimator(fitted, terms=True)
    np.testing.assert_array_equal(display.training_line_.get_ydata(), fitted.loss_curve_)
    np.testing.assert_array_equal(
        display.validation_line_.get_ydata(), fitted.validation_loss_curve_
    )
    assert display.training_line_.get_xdata().tolist() == [1, 2, 3, 4, 5, 6]
    total = sum(line.get_ydata() for line in display.term_lines_.values())
    np.testing.assert_allclose(total, fitted.loss_curve_, rtol=1e-5)


def test_epochs_are_labelled_by_integers():
    display = LossCurveDisplay([3.0, 2.0, 1.5]).plot()
    ticks = display.ax_.get_xticks()
    np.testing.assert_array_equal(ticks, ticks.round())
    display.ax_.set_xscale("log")
    locator = display.ax_.xaxis.get_major_locator()
    assert display.plot(display.ax_).ax_.xaxis.get_major_locator() is locator


def test_level_of_the_start_is_the_loss_of_pca():
    X = load_digits().data
    model = Autoencoder(2, max_iter=3, random_state=0).fit(X)
    display = LossCurveDisplay.from_estimator(model)
    assert display.initial_line_.get_label() == "validation, PCA"
    pca = PCA(2).fit(X)
    error = ((pca.inverse_transform(pca.transform(X)) - X) ** 2).mean() / model.scale_**2
    assert display.initial_line_.get_ydata()[0] == pytest.approx(
        error, rel=0.5
    )  # that of 30 samples
    kept = [model.initial_validation_loss_, *model.validation_loss_curve_][model.best_epoch_]
    assert display.best_point_.get_ydata()[0] == kept


def test_terms_are_chosen_by_name(fitted):
    display = LossCurveDisplay.from_estimator(fitted, terms=["penalty"])
    assert list(display.term_lines_) == ["penalty"]
    with pytest.raises(ValueError, match="terms has 'kl', but the terms are"):
        display.plot(terms=["kl"])


def test_the_autoencoder_of_a_detector_and_a_model_without_early_stopping():
    detector = AutoencoderOutlierDetector(max_iter=3, random_state=0).fit(X)
    display = LossCurveDisplay.from_estimator(detector)
    assert display.validation_line_ is None
    assert display.best_point_ is None
    assert len(display.training_line_.get_ydata()) == 3


def test_an_estimator_without_curves_is_refused():
    with pytest.raises(TypeError, match="PCA has no loss_curve_"):
        LossCurveDisplay.from_estimator(PCA(2).fit(X))

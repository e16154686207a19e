"""What all displays promise: the contract of scikit-learn's displays."""

import inspect

import matplotlib
import matplotlib.pyplot as plt
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import (
    Autoencoder,
    AutoencoderCompressor,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    AutoencoderSearch,
    KSparseAutoencoder,
    LinearAutoencoder,
    VariationalAutoencoder,
    displays,
)

DIGITS, TARGETS = load_digits().data[:300] / 16, load_digits().target[:300]


@pytest.fixture(scope="module")
def autoencoder():
    return Autoencoder(2, max_iter=5, random_state=0).fit(DIGITS)


@pytest.fixture(scope="module")
def fitted(autoencoder):
    """Fitted estimators by name."""
    return {
        "autoencoder": autoencoder,
        "vae": VariationalAutoencoder(2, max_iter=20, random_state=0).fit(DIGITS),
        "pca": PCA(4).fit(DIGITS),
        "pipeline": make_pipeline(StandardScaler(), Autoencoder(2, max_iter=5, random_state=0)).fit(
            DIGITS
        ),
        "detector": AutoencoderOutlierDetector(max_iter=2, random_state=0).fit(DIGITS[:, 2:6]),
        "imputer": AutoencoderImputer(max_iter=1, random_state=0).fit(DIGITS[:, 2:6]),
        "compressor": AutoencoderCompressor(Autoencoder(4, max_iter=2), random_state=0).fit(DIGITS),
        "search": AutoencoderSearch(LinearAutoencoder(4), rerank=20).fit(DIGITS),
        "sparse": KSparseAutoencoder(16, max_iter=2, random_state=0).fit(DIGITS),
    }


# Display: how it is made of the fixture `fitted`, and the artists that `plot` sets.
CASES = {
    "ExplainedVarianceDisplay": (
        lambda d, fitted, ax: d.from_estimators(
            [fitted["pca"], fitted["autoencoder"]], DIGITS, ax=ax
        ),
        {"lines_", "errorbars_"},
    ),
    "InterpolationDisplay": (
        lambda d, fitted, ax: d.from_estimator(
            fitted["vae"], DIGITS[:2], DIGITS[2:4], image_shape=(8, 8), ax=ax
        ),
        {"image_", "lines_"},
    ),
    "LatentDisplay": (
        lambda d, fitted, ax: d.from_estimator(
            fitted["pipeline"], DIGITS, TARGETS, grid=3, image_shape=(8, 8), ax=ax
        ),
        {"scatters_", "histograms_", "grid_image_", "legend_", "colorbar_"},
    ),
    "ActivationDisplay": (
        lambda d, fitted, ax: d.from_estimator(
            fitted["sparse"], DIGITS, image_shape=(8, 8), n_top_samples=2, ax=ax
        ),
        {"frequency_ax_", "line_", "dead_points_", "dense_points_", "image_ax_", "image_"},
    ),
    "ContributionDisplay": (
        lambda d, fitted, ax: d.from_estimator(fitted["detector"], DIGITS[:, 2:6], ax=ax),
        {"bars_", "labels_", "threshold_line_"},
    ),
    "JacobianDisplay": (
        lambda d, fitted, ax: d.from_estimator(
            fitted["pipeline"], DIGITS[:20], image_shape=(8, 8), ax=ax
        ),
        {"spectrum_ax_", "line_", "band_", "image_ax_", "image_"},
    ),
    "LossCurveDisplay": (
        lambda d, fitted, ax: d.from_estimator(fitted["autoencoder"], ax=ax),
        {"training_line_", "validation_line_", "term_lines_", "initial_line_", "best_point_"},
    ),
    "RateDistortionDisplay": (
        lambda d, fitted, ax: d.from_estimators([fitted["compressor"]], DIGITS, ax=ax),
        {"lines_"},
    ),
    "ReconstructionDisplay": (
        lambda d, fitted, ax: d.from_estimators(
            [fitted["pca"], fitted["pipeline"]], DIGITS, image_shape=(8, 8), ax=ax
        ),
        {"image_", "residual_image_", "hidden_image_", "relative_errors_"},
    ),
    "RetrievalDisplay": (
        lambda d, fitted, ax: d.from_estimator(
            fitted["search"], DIGITS, y=TARGETS, y_stored=TARGETS, image_shape=(8, 8), ax=ax
        ),
        {"image_", "missing_image_", "texts_", "frames_", "legend_", "agreement_"},
    ),
    "SampleDisplay": (
        lambda d, fitted, ax: d.from_estimator(
            fitted["vae"], image_shape=(8, 8), random_state=0, ax=ax
        ),
        {"image_", "lines_"},
    ),
    "OutlierScoreDisplay": (
        lambda d, fitted, ax: d.from_estimator(fitted["detector"], DIGITS[:, 2:6], ax=ax),
        {"bars_", "line_"},
    ),
    "OverimputationDisplay": (
        lambda d, fitted, ax: d.from_estimator(
            fitted["imputer"], DIGITS[:20, 2:6], random_state=0, ax=ax
        ),
        {"axes_", "points_", "covering_intervals_", "other_intervals_", "coverage_"},
    ),
    "PosteriorDisplay": (
        lambda d, fitted, ax: d.from_estimator(fitted["vae"], DIGITS, ax=ax),
        {"active_bars_", "inactive_bars_", "order_", "active_"},
    ),
}


def test_every_display_has_a_case():
    assert set(CASES) == set(displays.__all__)


@pytest.fixture(params=displays.__all__)
def case(request):
    return getattr(displays, request.param), *CASES[request.param]


def test_plot_returns_the_display_and_sets_its_artists(case, fitted):
    Display, make, artists = case
    display = make(Display, fitted, None)
    assert isinstance(display, Display)
    assert isinstance(display.ax_, matplotlib.axes.Axes)
    assert isinstance(display.figure_, matplotlib.figure.Figure)
    assert artists <= vars(display).keys()
    display.figure_.canvas.draw()
    _, ax = plt.subplots()
    assert display.plot(ax) is display
    assert display.ax_ is ax


def test_init_takes_what_was_computed_and_keeps_it(case, fitted):
    """A display is made anew from its own attributes, without an estimator."""
    Display, make, _ = case
    display = make(Display, fitted, None)
    names = list(inspect.signature(Display.__init__).parameters)[1:]
    again = Display(**{name: getattr(display, name) for name in names})
    assert not {"ax_", "figure_"} & vars(again).keys()
    assert all(getattr(again, name) is getattr(display, name) for name in names)
    again.plot()
    assert len(again.ax_.get_children()) == len(display.ax_.get_children())


def test_several_are_drawn_on_one_ax(case, fitted):
    Display, make, _ = case
    _, ax = plt.subplots()
    first = make(Display, fitted, ax)
    second = make(Display, fitted, ax)
    assert first.ax_ is second.ax_ is ax
    first.figure_.canvas.draw()


def test_figure_is_the_one_that_contains_a_subfigure(case, fitted):
    Display, make, _ = case
    figure = plt.figure(layout="constrained")
    part = figure.subfigures(1, 2)[1]
    display = make(Display, fitted, part.subplots())
    assert display.figure_ is figure
    assert {ax.figure for ax in figure.axes} == {part}
    figure.canvas.draw()


def test_nothing_is_fitted(case, fitted, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a display fits nothing")

    for estimator in fitted.values():
        for cls in type(estimator).__mro__:
            for name in ("fit", "fit_transform", "partial_fit"):
                if name in vars(cls):
                    monkeypatch.setattr(cls, name, refuse)
    Display, make, _ = case
    make(Display, fitted, None)


def test_state_of_pyplot_is_left_as_it_was(case, fitted):
    Display, make, _ = case
    _, ax = plt.subplots()
    current = plt.figure()
    parameters = dict(matplotlib.rcParams)
    make(Display, fitted, ax)
    assert plt.gcf() is current
    assert dict(matplotlib.rcParams) == parameters
    assert len(plt.get_fignums()) == 2


def test_without_matplotlib_there_is_one_sentence(case, fitted, monkeypatch):
    Display, make, _ = case
    display = make(Display, fitted, None)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ImportError, match=f"{Display.__name__}.plot requires matplotlib"):
        display.plot()


@pytest.mark.parametrize(
    "display",
    ["ExplainedVarianceDisplay", "RateDistortionDisplay", "ReconstructionDisplay"],
)
def test_one_estimator_in_the_place_of_several_is_refused(display, fitted):
    cls = getattr(displays, display)
    with pytest.raises(TypeError, match="estimators is a single Pipeline; pass it to"):
        cls.from_estimators(fitted["pipeline"], DIGITS)
    with pytest.raises(ValueError, match="estimators is empty"):
        cls.from_estimators([], DIGITS)

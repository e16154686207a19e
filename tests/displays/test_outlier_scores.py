import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderOutlierDetector
from skae.displays import OutlierScoreDisplay

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3))
X[190:] *= 8
IS_OUTLIER = np.arange(200) >= 190


@pytest.fixture(scope="module")
def detector():
    return AutoencoderOutlierDetector(max_iter=5, calibration_fraction=0.3, random_state=0).fit(
        X[:190]
    )


def heights(bars):
    return np.array([bar.get_height() for bar in bars])


def edges(bars):
    return np.array([*(bar.get_x() for bar in bars), bars[-1].get_x() + bars[-1].get_width()])


@pytest.mark.parametrize(
    "estimator",
    [
        IsolationForest(random_state=0),
        make_pipeline(StandardScaler(), LocalOutlierFactor(novelty=True)),
    ],
    ids=["forest", "pipeline"],
)
def test_bars_are_the_histogram_of_the_scores(estimator):
    estimator.fit(X)
    display = OutlierScoreDisplay.from_estimator(estimator, X, bins=12, log_scale=False)
    counts, expected = np.histogram(-estimator.score_samples(X), 12)
    np.testing.assert_allclose(heights(display.bars_["all"]), counts / 200)
    np.testing.assert_allclose(edges(display.bars_["all"]), expected)
    last = getattr(estimator, "steps", [(0, estimator)])[-1][1]
    assert display.line_.get_xdata()[0] == -last.offset_
    share = (estimator.predict(X) == -1).mean()
    assert display.line_.get_label() == f"threshold, exceeded by {share:.1%}"


def test_labels_of_a_wide_logarithmic_axis_do_not_overlap():
    for decades, n_labels in ((2, 7), (8, 9)):  # 1, 2, 5, 10, ..., 100; 1, 10, ..., 1e8
        scores = np.logspace(0, decades, 500)
        display = OutlierScoreDisplay(scores).plot(log_scale=True)
        display.ax_.set_xlim(0.99, 1.01 * 10**decades)
        display.figure_.draw_without_rendering()
        low, high = display.ax_.get_xlim()
        texts = [t for t in display.ax_.get_xticklabels() if low <= t.get_position()[0] <= high]
        assert len(texts) == n_labels
        ends = np.array([t.get_window_extent().intervalx for t in texts])
        assert (ends[1:, 0] > ends[:-1, 1]).all()


@pytest.mark.parametrize(
    "y",
    [np.where(IS_OUTLIER, -1, 1), IS_OUTLIER.astype(int), IS_OUTLIER, IS_OUTLIER.tolist()],
    ids=["minus one", "one", "bool", "list"],
)
def test_either_label_has_its_histogram(detector, y):
    display = OutlierScoreDisplay.from_estimator(detector, X, y, bins=15)
    scores = -detector.score_samples(X)
    limits = edges(display.bars_["normal"])
    for name, mask in (("normal", ~IS_OUTLIER), ("outlier", IS_OUTLIER)):
        bars = display.bars_[name]
        assert heights(bars).sum() == pytest.approx(1)
        n_below = np.cumsum(heights(bars)) * mask.sum()
        middle = limits[8]  # no score is at a limit but the first and the last
        assert n_below[7] == pytest.approx((scores[mask] < middle).sum())
    assert list(display.bars_) == ["normal", "outlier"]


def test_scores_of_several_magnitudes_are_drawn_on_a_logarithmic_axis(detector):
    display = OutlierScoreDisplay.from_estimator(detector, X)
    assert display.ax_.get_xscale() == "log"
    widths = np.diff(np.log(edges(display.bars_["all"])))
    np.testing.assert_allclose(widths, widths[0])
    assert OutlierScoreDisplay.from_estimator(detector, X[:190]).ax_.get_xscale() == "linear"
    assert display.plot(log_scale=False).ax_.get_xscale() == "linear"
    shifted = OutlierScoreDisplay(np.array([-1.0, 2.0, 300.0]))
    assert shifted.plot().ax_.get_xscale() == "linear"
    with pytest.raises(ValueError, match="positive scores, but the lowest is -1;"):
        shifted.plot(log_scale=True)


def test_p_values_are_those_of_the_detector(detector):
    display = OutlierScoreDisplay.from_estimator(detector, X, IS_OUTLIER, p_values=True, bins=10)
    p = detector.p_values(X)
    counts, limits = np.histogram(p[~IS_OUTLIER], 10, (0, 1))
    np.testing.assert_allclose(heights(display.bars_["normal"]), counts / 190)
    np.testing.assert_allclose(edges(display.bars_["normal"]), limits)
    assert heights(display.bars_["outlier"])[0] == (p[IS_OUTLIER] <= 0.1).mean() > 0.7
    assert display.line_.get_ydata()[0] == 0.1


def test_an_offset_may_be_an_array_as_that_of_one_class_svm():
    forest = IsolationForest(random_state=0).fit(X)
    forest.offset_ = np.array([-0.6])
    assert OutlierScoreDisplay.from_estimator(forest, X).threshold == 0.6


def test_bad_input_is_refused(detector):
    with pytest.raises(TypeError, match="PCA has no offset_; pass a fitted detector"):
        OutlierScoreDisplay.from_estimator(PCA().fit(X), X)
    forest = IsolationForest(random_state=0).fit(X)
    with pytest.raises(TypeError, match="IsolationForest has no p_values"):
        OutlierScoreDisplay.from_estimator(forest, X, p_values=True)
    with pytest.raises(ValueError, match="y has the labels .0, 1, 2.; pass 1 for normal"):
        OutlierScoreDisplay.from_estimator(forest, X[:3], [0, 1, 2])
    with pytest.raises(ValueError, match="y holds 1 only"):
        OutlierScoreDisplay.from_estimator(forest, X[:3], [1, 1, 1])
    uncalibrated = AutoencoderOutlierDetector(max_iter=1, random_state=0).fit(X)
    with pytest.raises(ValueError, match="no calibration samples"):
        OutlierScoreDisplay.from_estimator(uncalibrated, X, p_values=True)

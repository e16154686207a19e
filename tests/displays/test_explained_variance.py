import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import NMF, PCA, TruncatedSVD
from sklearn.model_selection import GridSearchCV, ParameterGrid
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import Autoencoder, LinearAutoencoder
from skae.displays import ExplainedVarianceDisplay
from skae.metrics import explained_variance, neg_reconstruction_error

X = load_digits().data[:200] / 16
DEVIATION = ((X - X.mean(axis=0)) ** 2).sum()


def curve(display, name):
    return display.lines_[name].get_data()


def test_curve_of_pca_is_the_cumulative_ratio_of_explained_variance():
    pca = PCA(6).fit(X)
    sizes, scores = curve(ExplainedVarianceDisplay.from_estimator(pca, X), "PCA")
    assert sizes.tolist() == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(scores, np.cumsum(pca.explained_variance_ratio_))


@pytest.mark.parametrize(
    "make",
    [
        lambda k: PCA(k, whiten=True),
        lambda k: LinearAutoencoder(k),
        lambda k: TruncatedSVD(k, algorithm="arpack", random_state=0),
        lambda k: make_pipeline(StandardScaler(), PCA(k)),
    ],
    ids=["whitened", "linear", "svd", "pipeline"],
)
def test_truncated_codes_are_those_of_smaller_estimators(make):
    held_out = load_digits().data[200:300] / 16
    display = ExplainedVarianceDisplay.from_estimator(make(5).fit(X), held_out, name="all")
    smaller = [explained_variance(make(k).fit(X), held_out) for k in (2, 4)]
    np.testing.assert_allclose(curve(display, "all")[1][[1, 3]], smaller, atol=1e-5)


def test_estimators_of_a_class_are_joined_by_size():
    models = [Autoencoder(k, max_iter=2, random_state=0).fit(X) for k in (4, 2, 3)]
    display = ExplainedVarianceDisplay.from_estimators([*models, PCA(2).fit(X)], X, metric="error")
    assert set(display.lines_) == {"Autoencoder", "PCA"}
    sizes, errors = curve(display, "Autoencoder")
    assert sizes.tolist() == [2, 3, 4]
    squares = [((model.reconstruct(X) - X) ** 2).sum() for model in models]
    np.testing.assert_allclose(errors, np.array(squares)[[1, 2, 0]] / DEVIATION)
    assert display.ax_.get_ylabel() == "unexplained variance"


def test_lines_are_named_by_a_mapping():
    models = {
        "few": PCA(1).fit(X),
        "parts": [NMF(k, max_iter=2000, tol=1e-3, random_state=0).fit(X) for k in (2, 3)],
    }
    display = ExplainedVarianceDisplay.from_estimators(models, X)
    assert curve(display, "few")[0].tolist() == [1]
    assert curve(display, "parts")[0].tolist() == [2, 3]  # NMF's first two are not NMF(2)
    legend = display.ax_.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["few", "parts"]


def test_many_components_are_thinned():
    wide = np.random.default_rng(0).normal(size=(120, 110))
    sizes, scores = curve(ExplainedVarianceDisplay.from_estimator(PCA(100).fit(wide), wide), "PCA")
    assert len(sizes) <= 64
    assert (sizes[0], sizes[-1]) == (1, 100)
    ratio = PCA(100).fit(wide).explained_variance_ratio_
    np.testing.assert_allclose(scores, np.cumsum(ratio)[sizes - 1])


@pytest.fixture(scope="module")
def search():
    grid = {
        "reduce__n_components": [4, 2],
        "reduce__whiten": [True, False],
        "scale": [StandardScaler(), "passthrough"],
    }
    pipeline = Pipeline([("scale", None), ("reduce", PCA())])
    return GridSearchCV(pipeline, grid, cv=3, scoring=explained_variance).fit(X)


def test_lines_of_a_search_are_its_mean_scores_with_their_deviations(search):
    display = ExplainedVarianceDisplay.from_cv_results(search)
    assert display.ax_.get_ylabel() == "explained variance"
    assert len(display.lines_) == 4
    sizes, scores = curve(display, "whiten=False, scale=passthrough")
    assert sizes.tolist() == [2, 4]
    results = search.cv_results_
    rows = [
        next(
            i
            for i, p in enumerate(results["params"])
            if (p["reduce__n_components"], p["reduce__whiten"], p["scale"])
            == (size, False, "passthrough")
        )
        for size in (2, 4)
    ]
    np.testing.assert_array_equal(scores, results["mean_test_score"][rows])
    bars = display.errorbars_["whiten=False, scale=passthrough"].lines[2][0].get_segments()
    lengths = [segment[1, 1] - segment[0, 1] for segment in bars]
    np.testing.assert_allclose(lengths, 2 * results["std_test_score"][rows])


def test_errors_of_a_search_are_positive_and_constant_parameters_have_no_label():
    grid = {"n_components": [1, 3], "whiten": [True]}
    search = GridSearchCV(PCA(), grid, scoring=neg_reconstruction_error, cv=3).fit(X)
    display = ExplainedVarianceDisplay.from_cv_results(search)
    np.testing.assert_array_equal(curve(display, "PCA")[1], -search.cv_results_["mean_test_score"])
    assert display.ax_.get_ylabel() == "reconstruction error"
    again = ExplainedVarianceDisplay.from_cv_results(search.cv_results_, "n_components", name="a")
    assert list(again.lines_) == ["a"]


@pytest.mark.parametrize(
    ("grid", "labels"),
    [
        ({"reduce": [PCA(random_state=0), NMF(random_state=0)]}, ["PCA", "NMF"]),
        (
            {"reduce": [PCA(), NMF()], "scale": ["passthrough", StandardScaler()]},
            ["reduce=PCA, scale=passthrough", "reduce=NMF, scale=StandardScaler()"],
        ),
        (
            {"reduce": [PCA(), PCA(whiten=True)]},
            ["reduce=PCA()", "reduce=PCA(whiten=True)"],
        ),
    ],
)
def test_estimators_of_a_search_have_the_names_of_their_classes_where_these_differ(grid, labels):
    candidates = list(ParameterGrid(grid | {"reduce__n_components": [1, 2]}))
    score = np.arange(len(candidates)) / 10
    results = {"params": candidates, "mean_test_score": score, "std_test_score": 0 * score}
    display = ExplainedVarianceDisplay.from_cv_results(results)
    assert set(labels) <= set(display.lines_)
    assert all(len(line.get_xdata()) == 2 for line in display.lines_.values())


def test_what_cannot_be_drawn_is_refused_in_one_sentence(search):
    pca = PCA(2).fit(X)
    draw = ExplainedVarianceDisplay.from_estimators
    with pytest.raises(ValueError, match="Several estimators of 'PCA' have 1 components"):
        draw([pca, PCA(2, whiten=True).fit(X)], X)
    with pytest.raises(ValueError, match="estimators is empty"):
        draw([], X)
    with pytest.raises(ValueError, match="metric must be one of"):
        draw([pca], X, metric="r2")
    with pytest.raises(TypeError, match="KMeans has no method 'inverse_transform'"):
        draw([KMeans(2, n_init=1, random_state=0).fit(X)], X)
    results = ExplainedVarianceDisplay.from_cv_results
    with pytest.raises(ValueError, match="score must be one of \\['score'\\]; got 'r2'"):
        results(search, score="r2")
    with pytest.raises(ValueError, match="but there is none"):
        results({"params": [{"alpha": 1}], "mean_test_score": [1], "std_test_score": [0]})
    two = [{"a__n_components": 1, "b__n_components": 1}]
    with pytest.raises(ValueError, match="there is a__n_components and b__n_components"):
        results({"params": two, "mean_test_score": [1], "std_test_score": [0]})
    with pytest.raises(ValueError, match="n_components has the value 0.9"):
        results({"params": [{"n_components": 0.9}], "mean_test_score": [1], "std_test_score": [0]})
    with pytest.raises(TypeError, match="PCA has no cv_results_"):
        results(pca)


def test_candidates_of_successive_halving_have_their_last_scores():
    results = {
        "params": [{"n_components": k} for k in (1, 2, 4, 4, 2)],
        "iter": [0, 0, 0, 1, 1],
        "mean_test_score": [0.1, 0.2, 0.3, 0.5, 0.4],
        "std_test_score": [0.01] * 5,
    }
    (line,) = ExplainedVarianceDisplay.from_cv_results(results).lines_.values()
    assert line.get_xdata().tolist() == [1, 2, 4]
    assert line.get_ydata().tolist() == [0.1, 0.4, 0.5]

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_array
from sklearn.compose import make_column_transformer
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from skae import AutoencoderOutlierDetector
from skae.displays import ContributionDisplay

X = np.random.default_rng(0).normal(size=(100, 5)) * [1, 2, 3, 4, 5] + 10
FRAME = pd.DataFrame(X, columns=list("abcde"))


def detector(**kwargs):
    return AutoencoderOutlierDetector(max_iter=2, random_state=0, **kwargs)


@pytest.fixture(scope="module")
def pipeline():
    return make_pipeline(StandardScaler(), detector()).fit(FRAME)


def widths(display):
    return np.array([bar.get_width() for bar in display.bars_])


def starts(display):
    return np.array([bar.get_x() for bar in display.bars_])


def test_bars_are_the_sorted_contributions_and_end_at_the_score(pipeline):
    display = ContributionDisplay.from_estimator(pipeline, FRAME, 7, max_features=3)
    row = pipeline[:-1].transform(FRAME)[7:8]
    terms = np.sort(pipeline[-1].feature_contributions(row)[0])[::-1]
    score = -pipeline.score_samples(FRAME)[7]
    expected = [*terms[:3], terms[3:].sum(), score - terms.sum()]
    np.testing.assert_allclose(widths(display), expected)
    np.testing.assert_allclose(starts(display), np.cumsum([0, *expected[:-1]]))
    assert widths(display).sum() == pytest.approx(score)
    assert display.labels_[3:] == ["2 other features", "distance of the code"]
    assert display.threshold_line_.get_xdata()[0] == -pipeline[-1].offset_
    assert display.ax_.get_title() == f"outlier score {score:.3g}"


def test_labels_have_the_original_values(pipeline):
    display = ContributionDisplay.from_estimator(pipeline, FRAME, -1)
    labels = dict(label.split(" = ") for label in display.labels_[:5])
    assert labels == {name: f"{value:.4g}" for name, value in FRAME.iloc[99].items()}
    on_array = make_pipeline(StandardScaler(), detector()).fit(X)
    display = ContributionDisplay.from_estimator(on_array, X, 99)
    assert {label.split(" = ")[0] for label in display.labels_[:5]} == {f"x{j}" for j in range(5)}
    as_list = ContributionDisplay.from_estimator(on_array, X.tolist(), 99)
    assert as_list.labels_ == display.labels_


def test_features_that_steps_before_make_have_their_names_and_values():
    frame = FRAME.assign(f=["u", "v"] * 50)[["f", "a", "b"]]
    steps = make_column_transformer(
        (StandardScaler(), ["a", "b"]),
        (OneHotEncoder(sparse_output=False), ["f"]),
        verbose_feature_names_out=False,
    )
    pipeline = make_pipeline(steps, detector()).fit(frame)
    display = ContributionDisplay.from_estimator(pipeline, frame, 1)
    values = pipeline[:-1].transform(frame)[1]
    names = pipeline[:-1].get_feature_names_out()
    expected = {f"{n} = {v:.4g}" for n, v in zip(names, values, strict=True)}
    assert set(display.labels_) - {"distance of the code"} == expected
    assert "f_v = 1" in expected


@pytest.mark.parametrize("function", [lambda X: X / 2, lambda X: np.asarray(X)[:, :3]])
def test_steps_without_names_keep_the_features_if_their_number_stays(function):
    pipeline = make_pipeline(FunctionTransformer(function), detector()).fit(FRAME)
    display = ContributionDisplay.from_estimator(pipeline, FRAME, 2)
    after = np.asarray(function(FRAME))[2]
    names, values = ("abcde", X[2]) if len(after) == 5 else (["x0", "x1", "x2"], after)
    expected = {f"{n} = {v:.4g}" for n, v in zip(names, values, strict=True)}
    assert set(display.labels_) - {"distance of the code"} == expected


@pytest.mark.parametrize("container", [pl.DataFrame, csr_array, np.asarray])
def test_samples_in_other_containers_are_drawn_alike(container):
    model = detector().fit(container(X))
    display = ContributionDisplay.from_estimator(model, container(X), 3)
    expected = model.feature_contributions(container(X))[3]
    np.testing.assert_allclose(display.contributions, expected, rtol=1e-6)
    values = {label.split(" = ")[1] for label in display.labels_[:5]}
    assert values == {f"{value:.4g}" for value in X[3]}


def test_columns_of_a_mixed_table():
    frame = FRAME[["a"]].assign(colour=["red", None, "blue", "red"] * 25, b=[np.nan, 1, 2, 3] * 25)
    model = detector(method="denoising").fit(frame)
    labels = ContributionDisplay.from_estimator(model, frame, 1).labels_
    assert set(labels) == {f"a = {X[1, 0]:.4g}", "colour = missing", "b = 1"}
    assert "colour = red" in ContributionDisplay.from_estimator(model, frame, 0).labels_


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("standardized", None),
        (("tails", "mahalanobis"), "distance of the code"),
    ],
)
def test_what_belongs_to_no_feature_has_a_bar_if_there_is_any(method, name):
    model = detector(method=method).fit(X)
    display = ContributionDisplay.from_estimator(model, X)
    assert len(display.bars_) == 5 + (name is not None)
    assert name is None or display.labels_[-1] == name
    assert widths(display).sum() == pytest.approx(-model.score_samples(X[:1])[0])


def test_bad_input_is_refused(pipeline):
    forest = IsolationForest(random_state=0).fit(X)
    with pytest.raises(TypeError, match="IsolationForest has no feature_contributions"):
        ContributionDisplay.from_estimator(forest, X)
    with pytest.raises(IndexError, match="X has no sample 100: it has 100"):
        ContributionDisplay.from_estimator(pipeline, FRAME, 100)
    with pytest.raises(ValueError, match="max_features must be a positive integer; got 0"):
        ContributionDisplay([1.0]).plot(max_features=0)
    with pytest.raises(ValueError, match="not a sum over features"):
        ContributionDisplay.from_estimator(detector(method="neighbors").fit(X), X)

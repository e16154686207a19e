import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderImputer
from skae.displays import OverimputationDisplay

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(200, 3)) * [1, 10, 0.1] + [0, 50, 3], columns=["b", "c", "a"])
X["c"] += 8 * X["b"]


@pytest.fixture(scope="module")
def imputer():
    return AutoencoderImputer(max_iter=1, random_state=0).fit(X[:120])


def segments(lines):
    return np.array(lines.get_segments()).reshape(-1, 4)  # x, low, x, high


def test_all_columns_are_drawn_in_standard_units(imputer):
    display = OverimputationDisplay.from_estimator(
        imputer, X[120:], fraction=0.3, coverage=0.8, random_state=0
    )
    cells = imputer.over_impute_cells(X[120:], 0.3, 0.8, random_state=0)
    names = list(X.columns)
    j = [names.index(name) for name in cells["column"]]
    standard = {
        name: (cells[name] - imputer.mean_[j]) / imputer.scale_[j]
        for name in ("truth", "estimate", "low", "high")
    }
    points = np.column_stack([standard["truth"], standard["estimate"]])
    drawn = display.points_["all"].get_xydata()
    np.testing.assert_allclose(np.sort(drawn, axis=0), np.sort(points, axis=0))
    is_covered = cells["truth"].between(cells["low"], cells["high"])
    assert display.coverage_ == is_covered.mean()
    expected = f"coverage of {len(cells)} values: {is_covered.mean():.1%} (nominal 80%)"
    assert display.ax_.get_title() == expected
    ends = np.column_stack(
        [standard["truth"], standard["low"], standard["truth"], standard["high"]]
    )
    for lines, mask in (
        (display.covering_intervals_["all"], is_covered),
        (display.other_intervals_["all"], ~is_covered),
    ):
        assert 0 < len(segments(lines)) == mask.sum()
        np.testing.assert_allclose(np.sort(segments(lines), axis=0), np.sort(ends[mask], axis=0))


def test_panels_are_in_units_of_x_and_in_the_order_of_its_columns(imputer):
    display = OverimputationDisplay.from_estimator(
        imputer, X[120:], fraction=0.3, random_state=0, per_column=True
    )
    assert list(display.axes_) == ["b", "c", "a"]
    cells = imputer.over_impute_cells(X[120:], 0.3, random_state=0)
    report = imputer.over_impute(X[120:], 0.3, random_state=0)
    for name, ax in display.axes_.items():
        own = cells[cells["column"] == name]
        np.testing.assert_array_equal(
            display.points_[name].get_xydata(), own[["truth", "estimate"]]
        )
        assert ax.get_title() == f"{name}\ncoverage {report['coverage'][name]:.0%}"
    n_axes = len(display.figure_.axes)
    display.plot(display.ax_, per_column=True)
    assert len(display.figure_.axes) == n_axes


def test_columns_are_chosen_and_values_thinned(imputer):
    display = OverimputationDisplay.from_estimator(
        imputer, X[120:], fraction=0.5, random_state=0, columns=["a"], max_cells=10
    )
    truth = X["a"][120:].to_numpy()
    assert len(display.points_["all"].get_xdata()) == 10
    drawn = display.points_["all"].get_xdata() * imputer.scale_[2] + imputer.mean_[2]
    assert np.abs(drawn[:, None] - truth).min(axis=1).max() < 1e-9
    n_cells = imputer.over_impute(X[120:], 0.5, random_state=0)["n_cells"]["a"]
    assert f"of {n_cells} values" in display.ax_.get_title()
    everything = display.plot(max_cells=None)
    assert len(everything.points_["all"].get_xdata()) == len(display.truth)


def test_points_lie_on_the_diagonal_if_estimates_are_exact():
    value, constant = np.array([1.0, 2.0, 4.0]), np.ones(3)
    display = OverimputationDisplay(
        value,
        estimate=value,
        low=value - 1,
        high=value + 1,
        column=["x"] * 3,
        mean=0 * constant,
        scale=2 * constant,
    ).plot()
    x, y = display.points_["all"].get_data()
    np.testing.assert_array_equal(x, value / 2)
    np.testing.assert_array_equal(x, y)
    assert display.coverage_ == 1
    assert display.ax_.get_title() == "coverage of 3 values: 100.0%"


def test_steps_before_are_applied(imputer):
    scaler = StandardScaler().fit(X)
    after = AutoencoderImputer(max_iter=1, random_state=0).fit(scaler.transform(X[:120]))
    display = OverimputationDisplay.from_estimator(
        make_pipeline(scaler, after), X[120:], random_state=0
    )
    cells = after.over_impute_cells(scaler.transform(X[120:]), random_state=0)
    np.testing.assert_array_equal(np.sort(display.truth), np.sort(cells["truth"]))


def test_bad_input_is_refused(imputer):
    with pytest.raises(TypeError, match="SimpleImputer has no over_impute_cells"):
        OverimputationDisplay.from_estimator(SimpleImputer().fit(X), X)
    with pytest.raises(ValueError, match="columns has 'z', but values of .*'c'.* were masked"):
        OverimputationDisplay.from_estimator(imputer, X, columns=["z"])
    with pytest.raises(ValueError, match="No number was masked"):
        OverimputationDisplay.from_estimator(imputer, X[:1] * np.nan)

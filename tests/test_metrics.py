import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import Autoencoder, LinearAutoencoder
from skae.metrics import explained_variance, neg_reconstruction_error


@pytest.fixture
def iris():
    return load_iris().data


def test_explained_variance_of_pca_is_its_ratio(iris):
    pca = PCA(2).fit(iris)
    assert explained_variance(pca, iris) == pytest.approx(pca.explained_variance_ratio_.sum())
    residual = pca.inverse_transform(pca.transform(iris)) - iris
    assert neg_reconstruction_error(pca, iris) == pytest.approx(-np.mean(residual**2))


def test_explained_variance_is_the_variance_weighted_r2(iris):
    pca = PCA(1).fit(iris)
    weight = np.arange(1.0, 151.0)
    assert explained_variance(pca, iris, sample_weight=weight) == pytest.approx(
        r2_score(
            iris,
            pca.inverse_transform(pca.transform(iris)),
            sample_weight=weight,
            multioutput="variance_weighted",
        )
    )


def test_score_of_an_autoencoder_is_the_error(iris):
    linear = LinearAutoencoder(2).fit(iris)
    weight = np.linspace(0, 1, 150)
    assert neg_reconstruction_error(linear, iris) == pytest.approx(linear.score(iris))
    assert neg_reconstruction_error(linear, iris, sample_weight=weight) == pytest.approx(
        linear.score(iris, sample_weight=weight)
    )


def test_missing_values_are_ignored(iris):
    linear = LinearAutoencoder(2).fit(iris)
    X_missing = iris.copy()
    X_missing[::3, 1] = np.nan
    x_hat, seen = linear.reconstruct(X_missing), ~np.isnan(X_missing)
    error = ((x_hat - X_missing)[seen] ** 2).sum()
    assert neg_reconstruction_error(linear, X_missing) == pytest.approx(-error / seen.sum())
    variation = np.nansum((X_missing - np.nanmean(X_missing, axis=0)) ** 2)
    assert explained_variance(linear, X_missing) == pytest.approx(1 - error / variation)


def test_constant_or_missing_data_are_refused(iris):
    with pytest.raises(ValueError, match="X is constant"):
        explained_variance(PCA(1).fit(iris), np.full((9, 4), 0.1))
    linear = LinearAutoencoder(1).fit(iris)
    for metric in (explained_variance, neg_reconstruction_error):
        with pytest.raises(ValueError, match="X has no observed value"):
            metric(linear, np.full((3, 4), np.nan))


class Constant:
    """An estimator whose reconstruction is one value everywhere."""

    def __init__(self, value, n_features=4):
        self.value, self.n_features = value, n_features

    def transform(self, X):
        return X

    def inverse_transform(self, Z):
        return np.full((len(Z), self.n_features), self.value)


@pytest.mark.parametrize("metric", [explained_variance, neg_reconstruction_error])
def test_invalid_reconstructions_are_refused(iris, metric):
    with pytest.raises(ValueError, match="reconstruction contains NaN"):
        metric(Constant(np.nan), iris)
    with pytest.raises(ValueError, match="reconstruction contains infinity"):
        metric(Constant(np.inf), iris)
    with pytest.raises(ValueError, match=r"shape \(150, 3\), but X has shape \(150, 4\)"):
        metric(Constant(0.0, n_features=3), iris)
    with pytest.raises(ValueError, match="overflow"):
        metric(Constant(1e200), iris)


@pytest.mark.parametrize("factor", [5e-324, 1e-310, 1e-200, 1e-30, 1e30, 1e150, 1e200, 1e307])
def test_explained_variance_does_not_depend_on_units(factor):
    X = np.array([[1.0, 4.0], [2.0, 4.0], [3.0, 8.0], [6.0, 4.0]])
    half = np.vectorize(lambda x: 2 * np.floor(x / factor / 2) * factor)  # exact in these units

    class Rounds(Constant):
        def inverse_transform(self, Z):
            return half(Z)

    # Errors are 1, 0, 1, 0 in the first column; squared deviations 4 + 1 + 0 + 9, and 12.
    assert explained_variance(Rounds(0), X * factor) == pytest.approx(1 - 2 / 26)
    if 1e-150 < factor < 1e150:
        assert neg_reconstruction_error(Rounds(0), X * factor) == pytest.approx(-(factor**2) / 4)


@pytest.mark.parametrize("factor", [5e-324, 1e-300, 1e300, 1e307])
def test_metrics_are_invariant_to_the_scale_of_weights(iris, factor):
    pca = PCA(2).fit(iris)
    weight = np.arange(1.0, 151.0) % 4
    for metric in (explained_variance, neg_reconstruction_error):
        assert metric(pca, iris, sample_weight=weight * factor) == pytest.approx(
            metric(pca, iris, sample_weight=weight)
        )
    linear = LinearAutoencoder(2).fit(iris)
    assert linear.score(iris, sample_weight=weight * factor) == pytest.approx(
        linear.score(iris, sample_weight=weight)
    )


def test_a_large_constant_column_does_not_hide_small_ones():
    X = np.column_stack([np.full(3, 1e300), [1e-9, 2e-9, 3e-9]])

    class Means(Constant):
        def inverse_transform(self, Z):
            return np.column_stack([Z[:, 0], [1.5e-9, 2e-9, 2.5e-9]])

    assert explained_variance(Means(0), X) == pytest.approx(0.75)
    # Nearly all weight is on one sample.
    one = explained_variance(Means(0), X, sample_weight=[1e12, 1, 0])
    assert one == pytest.approx(1 - (1e12 * 0.25) / 1, rel=1e-6)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
def test_grid_search_chooses_between_pca_and_autoencoder(sheet):
    pipeline = make_pipeline(StandardScaler(), PCA(2))
    grid = {"pca": [PCA(2), Autoencoder(2, max_iter=20, random_state=0)]}
    for scoring in (explained_variance, neg_reconstruction_error):
        search = GridSearchCV(pipeline, grid, scoring=scoring, cv=2).fit(sheet)
        assert isinstance(search.best_params_["pca"], Autoencoder)

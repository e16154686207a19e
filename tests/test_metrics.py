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


def test_pca_and_its_ratio(iris):
    pca = PCA(2).fit(iris)
    assert explained_variance(pca, iris) == pytest.approx(pca.explained_variance_ratio_.sum())
    residual = pca.inverse_transform(pca.transform(iris)) - iris
    assert neg_reconstruction_error(pca, iris) == pytest.approx(-np.mean(residual**2))


def test_same_as_scikit_learns_r2(iris):
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


def test_autoencoders_score_is_the_error(iris):
    linear = LinearAutoencoder(2).fit(iris)
    weight = np.linspace(0, 1, 150)
    assert neg_reconstruction_error(linear, iris) == pytest.approx(linear.score(iris))
    assert neg_reconstruction_error(linear, iris, sample_weight=weight) == pytest.approx(
        linear.score(iris, sample_weight=weight)
    )


def test_holes_are_not_counted(iris):
    linear = LinearAutoencoder(2).fit(iris)
    holed = iris.copy()
    holed[::3, 1] = np.nan
    x_hat, seen = linear.reconstruct(holed), ~np.isnan(holed)
    error = ((x_hat - holed)[seen] ** 2).sum()
    assert neg_reconstruction_error(linear, holed) == pytest.approx(-error / seen.sum())
    variation = np.nansum((holed - np.nanmean(holed, axis=0)) ** 2)
    assert explained_variance(linear, holed) == pytest.approx(1 - error / variation)


def test_constant_table_has_nothing_to_explain(iris):
    with pytest.raises(ValueError, match="X is constant"):
        explained_variance(PCA(1).fit(iris), np.full((9, 4), 0.1))
    linear = LinearAutoencoder(1).fit(iris)
    for metric in (explained_variance, neg_reconstruction_error):
        with pytest.raises(ValueError, match="No cell of X is observed"):
            metric(linear, np.full((3, 4), np.nan))


def test_a_reconstruction_that_is_not_a_number_is_not_perfect(iris):
    class Broken:
        def transform(self, X):
            return X

        def inverse_transform(self, Z):
            return np.full(Z.shape, np.nan)

    assert np.isnan(explained_variance(Broken(), iris))
    assert np.isnan(neg_reconstruction_error(Broken(), iris))


@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
def test_grid_search_chooses_between_pca_and_autoencoder(sheet):
    pipeline = make_pipeline(StandardScaler(), PCA(2))
    grid = {"pca": [PCA(2), Autoencoder(2, max_iter=20, random_state=0)]}
    for scoring in (explained_variance, neg_reconstruction_error):
        search = GridSearchCV(pipeline, grid, scoring=scoring, cv=2).fit(sheet)
        assert isinstance(search.best_params_["pca"], Autoencoder)

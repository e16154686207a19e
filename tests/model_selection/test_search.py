"""The batched searches have the results of scikit-learn's."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import Autoencoder, AutoencoderImputer, AutoencoderOutlierDetector, SparseAutoencoder
from skae.model_selection import BatchedGridSearchCV, BatchedRandomizedSearchCV

pytestmark = pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")

SHORT = {"max_iter": 3, "random_state": 0}
X, Y = load_iris(return_X_y=True)
TIMES = {f"{kind}_{step}_time" for kind in ("mean", "std") for step in ("fit", "score")}


def assert_same_results(batched, plain):
    assert list(batched.cv_results_) == list(plain.cv_results_)
    for name, values in plain.cv_results_.items():
        if name in TIMES:
            continue
        own = batched.cv_results_[name]
        if "param" in name:
            assert list(own) == list(values)
        else:
            np.testing.assert_allclose(own, values, rtol=1e-3, err_msg=name)
    for name in ("best_index_", "best_params_", "best_score_"):
        if hasattr(plain, name):
            assert (
                np.isclose(getattr(batched, name), getattr(plain, name), rtol=1e-3).all()
                if (name == "best_score_")
                else getattr(batched, name) == getattr(plain, name)
            )


@pytest.mark.full
@pytest.mark.parametrize(
    ("estimator", "parameters", "settings"),
    [
        (
            SparseAutoencoder(4, **SHORT),
            {"alpha": [0.01, 0.1], "n_components": [2, 4], "learning_rate": [1e-3, 1e-2]},
            {"return_train_score": True},
        ),
        (
            make_pipeline(StandardScaler(), Autoencoder(2, **SHORT), LogisticRegression()),
            {"autoencoder__learning_rate": [1e-3, 1e-2], "logisticregression__C": [0.1, 1.0]},
            {"scoring": ["accuracy", "neg_log_loss"], "refit": "neg_log_loss"},
        ),
        (
            AutoencoderOutlierDetector(Autoencoder(2, **SHORT), random_state=0),
            {"estimator__learning_rate": [1e-3, 1e-2]},
            {"scoring": lambda model, X, y=None: model.score_samples(X).mean(), "cv": 2},
        ),
        (
            Autoencoder(2, **SHORT),
            {"learning_rate": [1e-3, 1e12]},
            {"error_score": np.nan, "cv": StratifiedKFold(3), "refit": False},
        ),
        (PCA(2), {"whiten": [True, False]}, {}),
    ],
    ids=["grid", "pipeline", "detector", "diverging", "no autoencoder"],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@pytest.mark.filterwarnings("ignore:One or more of the test scores:UserWarning")
def test_results_are_those_of_scikit_learn(estimator, parameters, settings):
    searches = [
        search(estimator, parameters, **{"cv": 3} | settings).fit(X, Y)
        for search in (BatchedGridSearchCV, GridSearchCV)
    ]
    assert_same_results(*searches)


def test_randomized_search():
    searches = [
        search(
            Autoencoder(2, **SHORT),
            {"learning_rate": np.logspace(-4, -2, 20), "weight_decay": [0, 0.1]},
            n_iter=5,
            cv=2,
            random_state=0,
        ).fit(X)
        for search in (BatchedRandomizedSearchCV, RandomizedSearchCV)
    ]
    assert_same_results(*searches)


@pytest.mark.full
def test_rows_of_imputers_are_filled_as_they_would_be_alone(rng):
    X_missing = np.where(rng.uniform(size=X.shape) < 0.2, np.nan, X)
    model = make_pipeline(AutoencoderImputer(max_iter=2, random_state=0), LogisticRegression())
    searches = [
        search(model, {"logisticregression__C": [0.1, 1.0]}, cv=2).fit(X_missing, Y)
        for search in (BatchedGridSearchCV, GridSearchCV)
    ]
    assert_same_results(*searches)


def test_errors_are_raised_if_asked_for():
    search = BatchedGridSearchCV(
        Autoencoder(2, **SHORT), {"learning_rate": [1e-3, 1e12]}, error_score="raise", cv=2
    )
    with pytest.raises(ValueError, match="diverged"):
        search.fit(X)


@pytest.mark.full
def test_processes_train_what_cannot_be_batched():
    model = Autoencoder(2, net_params={"optimizer": "Adam"}, **SHORT)
    searches = [
        BatchedGridSearchCV(model, {"learning_rate": [1e-3, 1e-2]}, cv=2, n_jobs=n).fit(X)
        for n in (None, 2)
    ]
    assert_same_results(*searches)

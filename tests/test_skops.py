import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skops.io import dumps, get_untrusted_types, loads

import skae
from skae import MLP, Autoencoder, AutoencoderImputer, PooledEstimator


def test_a_pipeline_needs_only_skaes_own_types_to_be_trusted(sheet):
    model = Autoencoder(2, architecture=MLP((5,)), max_iter=3, early_stopping=False)
    pipeline = make_pipeline(StandardScaler(), model).fit(sheet)
    file = dumps(pipeline)
    types = get_untrusted_types(data=file)
    assert all(name.startswith("skae.") for name in types)
    again = loads(file, trusted=types)
    assert np.array_equal(again.transform(sheet), pipeline.transform(sheet))


def test_what_is_of_scikit_learn_is_refused_with_a_sentence_that_names_skops(sheet, tmp_path):
    model = Autoencoder(2, max_iter=2, early_stopping=False)
    pooled = PooledEstimator(
        LinearRegression(), imputer=AutoencoderImputer(max_iter=1), n_imputations=2
    )
    for estimator in (
        make_pipeline(StandardScaler(), model).fit(sheet),
        make_column_transformer((model, [0, 1, 2])).fit(sheet),
        pooled.fit(sheet, sheet[:, 0]),
    ):
        with pytest.raises(TypeError, match="is a .*; use skops.io.dump, which writes estimators"):
            skae.save(estimator, tmp_path / "model")
        file = dumps(estimator)
        again = loads(file, trusted=get_untrusted_types(data=file))
        method = "transform" if hasattr(estimator, "transform") else "predict"
        ours, theirs = getattr(estimator, method)(sheet), getattr(again, method)(sheet)
        np.testing.assert_array_equal(ours, theirs)

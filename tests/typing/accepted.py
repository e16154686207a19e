"""Code of a user that a type checker accepts, with the types that it must find."""

from typing import Any, assert_type

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from skae import (
    MLP,
    Autoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    DenoisingAutoencoder,
    LinearAutoencoder,
    PooledEstimator,
    VariationalAutoencoder,
)

X = np.zeros((20, 3))

model = Autoencoder(8)
assert_type(model.fit(X), Autoencoder)
assert_type(model.fit(X).transform(X), NDArray[Any])
assert_type(model.fit_transform(X), NDArray[Any])
assert_type(model.fit(X, sample_weight=np.ones(20)).score(X), float)
assert_type(model.set_params(max_iter=3), Autoencoder)
assert_type(model.set_output(transform="pandas"), Autoencoder)
assert_type(model.set_fit_request(sample_weight=True), Autoencoder)
assert_type(model.set_callbacks(), Autoencoder)
assert_type(model.partial_fit(X).n_components_, int)
assert_type(model.loss_curve_, list[float])
model.fit(X.tolist()).inverse_transform(model.get_params()["n_components"])
model.fit(pd.DataFrame(X)).get_feature_names_out()

Autoencoder("auto", architecture=MLP((64, 32), activation="relu"), learning_rate=1e-2)
Autoencoder(n_components=0.9, hidden_layer_sizes=(16,), loss="poisson", early_stopping=False)
DenoisingAutoencoder(8, noise="gaussian", noise_level=(0.1, 1.0)).fit(X).score_field(X)
LinearAutoencoder(2).fit(X).reconstruct(X)
VariationalAutoencoder(2, beta=0.5).fit(X).sample(5, random_state=0)

detector = AutoencoderOutlierDetector(DenoisingAutoencoder(8), method=("denoising", "tails"))
assert_type(detector.fit(X), AutoencoderOutlierDetector)
assert_type(detector.fit_predict(X), NDArray[Any])
assert_type(detector.offset_, float)

imputer = AutoencoderImputer(max_iter=5, add_indicator=True)
assert_type(imputer.fit(X), AutoencoderImputer)
pooled = PooledEstimator(Ridge(), imputer, n_imputations=3)
assert_type(pooled.fit(X, X[:, 0]), PooledEstimator)
make_pipeline(imputer, model)

"""Mistakes of a user that a type checker reports, each with the code of the error."""

import numpy as np

from skae import (
    MLP,
    Autoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    LinearAutoencoder,
    PooledEstimator,
    VariationalAutoencoder,
)

X = np.zeros((20, 3))

Autoencoder(nonsense=1)  # error: call-arg
Autoencoder(8, "auto")  # error: call-arg
Autoencoder(max_iter=[3])  # error: arg-type
Autoencoder(learning_rate="fast")  # error: arg-type
LinearAutoencoder(hidden_layer_sizes=(3,))  # error: call-arg
VariationalAutoencoder(loss="poisson")  # error: call-arg
MLP(widths=(3,))  # error: call-arg
AutoencoderOutlierDetector(contaminaton=0.1)  # error: call-arg
AutoencoderImputer(n_neighbours=3)  # error: call-arg
PooledEstimator()  # error: call-arg

model = Autoencoder(8)
model.transfrom(X)  # error: attr-defined
model.this_does_not_exist()  # error: attr-defined
model.fit()  # error: call-arg
model.fit(X).transform(X).transform(X)  # error: attr-defined
model.fit(X, weights=X)  # error: call-arg
model.set_output(transform="pandsa")  # error: arg-type
model.score(X).mean()  # error: attr-defined
model.sample(3)  # error: attr-defined
LinearAutoencoder(2).fit(X).project(X)  # error: attr-defined
AutoencoderOutlierDetector().fit(X).transform(X)  # error: attr-defined
AutoencoderImputer().fit(X).predict(X)  # error: attr-defined

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skops.io import dumps, get_untrusted_types, loads

from skae import MLP, Autoencoder


def test_a_pipeline_needs_only_skaes_own_types_to_be_trusted(sheet):
    model = Autoencoder(2, architecture=MLP((5,)), max_iter=3, early_stopping=False)
    pipeline = make_pipeline(StandardScaler(), model).fit(sheet)
    file = dumps(pipeline)
    types = get_untrusted_types(data=file)
    assert all(name.startswith("skae.") for name in types)
    again = loads(file, trusted=types)
    assert np.array_equal(again.transform(sheet), pipeline.transform(sheet))

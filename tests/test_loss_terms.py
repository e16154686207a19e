"""The terms of the loss, by name, for each epoch."""

import numpy as np
import pytest
from sklearn.base import clone

from skae import (
    Autoencoder,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    KSparseAutoencoder,
    LinearAutoencoder,
    SparseAutoencoder,
    VariationalAutoencoder,
)
from skae.training import _checkpoint

SHORT = {"max_iter": 3, "early_stopping": False, "random_state": 0}
TERMS = {
    LinearAutoencoder(2, init="random"): {"reconstruction"},
    Autoencoder(2): {"reconstruction"},
    SparseAutoencoder(8): {"reconstruction", "penalty"},
    KSparseAutoencoder(8): {"reconstruction", "revival"},
    DenoisingAutoencoder(): {"reconstruction"},
    ContractiveAutoencoder(2): {"reconstruction", "penalty"},
    VariationalAutoencoder(2): {"reconstruction", "divergence"},
    VariationalAutoencoder(2, objective="iwae", n_draws=2): {"bound"},
}
every = pytest.mark.parametrize("model", TERMS, ids=lambda model: repr(model))


@every
def test_they_add_up_to_the_loss(model, sheet, rng):
    fitted = clone(model).set_params(**SHORT)
    fitted.fit(sheet, sample_weight=rng.uniform(0.1, 2, len(sheet)))
    assert fitted.loss_terms_.keys() == TERMS[model]
    assert all(len(values) == 3 for values in fitted.loss_terms_.values())
    total = np.sum(list(fitted.loss_terms_.values()), axis=0)
    np.testing.assert_allclose(total, fitted.loss_curve_, rtol=1e-6)


def test_a_penalty_is_what_it_says(sheet):
    """With one batch and a tiny step, the term is the weighted mean of the penalty."""
    model = SparseAutoencoder(8, alpha=0.1, batch_size=len(sheet), learning_rate=1e-12, **SHORT)
    weight = np.linspace(0.5, 2, len(sheet))
    model.fit(sheet, sample_weight=weight)
    code = model.transform(sheet).sum(axis=1) / np.sqrt(sheet.shape[1])
    expected = 0.1 * np.average(code, weights=weight)
    assert model.loss_terms_["penalty"][0] == pytest.approx(expected, rel=1e-4)


def test_a_fit_that_resumes_appends_to_them(sheet):
    model = SparseAutoencoder(8, warm_start=True, **SHORT).fit(sheet)
    before = {name: list(values) for name, values in model.loss_terms_.items()}
    model.fit(sheet)
    for name, values in model.loss_terms_.items():
        assert len(values) == 6
        assert values[:3] == before[name]


@every
def test_a_checkpoint_keeps_them(model, sheet, tmp_path, monkeypatch):
    monkeypatch.setattr(_checkpoint, "INTERVAL", 0)
    whole = clone(model).set_params(**SHORT).fit(sheet)
    path = str(tmp_path / "fit")
    clone(whole).set_params(checkpoint=path).fit(sheet)
    resumed = clone(whole).set_params(checkpoint=path).fit(sheet)
    assert resumed.loss_terms_ == whole.loss_terms_

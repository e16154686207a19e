"""Every warning of skae points at the line of the user that caused it."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae
from skae import (
    Autoencoder,
    AutoencoderCompressor,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    AutoencoderRegressor,
    AutoencoderSearch,
    AutoencoderWarning,
    ContractiveAutoencoder,
    SparseAutoencoder,
    VariationalAutoencoder,
)
from skae.training import _trainer

ROOT = Path(skae.__file__).parent
SHORT = {"max_iter": 2, "random_state": 0}
NO_STOPPING = SHORT | {"early_stopping": False}


class Interrupted(Autoencoder):
    def _penalty(self, module, batch, h, output):
        raise KeyboardInterrupt


def diverge(monkeypatch):
    monkeypatch.setattr(_trainer, "DIVERGED", 0.0)


def with_gap(X):
    return np.where(np.arange(X.size).reshape(X.shape) == 1, np.nan, X)


CASES = {
    "inner Autoencoder diverged": (
        lambda X: AutoencoderSearch(Autoencoder(2, **NO_STOPPING)).fit(X),
        diverge,
    ),
    "the identity is a solution": (lambda X: Autoencoder(9, **NO_STOPPING).fit(X), None),
    "the fit is PCA": (lambda X: Autoencoder(2, learning_rate=1e-9, **SHORT).fit(X), None),
    "Interrupted after 0": (lambda X: Interrupted(2, **NO_STOPPING).fit(X), None),
    "scale of the decoder.*tied=True": (
        lambda X: ContractiveAutoencoder(2, tied=False, **NO_STOPPING).fit(X),
        None,
    ),
    "scale of the decoder.*unit_norm": (
        lambda X: SparseAutoencoder(2, linear_shortcut=True, **NO_STOPPING).fit(X),
        None,
    ),
    "posterior has collapsed": (
        lambda X: VariationalAutoencoder(1, beta=1e3, init="random", **NO_STOPPING).fit(X),
        None,
    ),
    "X has 1 missing values, in place of which": (
        lambda X: AutoencoderCompressor(Autoencoder(2, **NO_STOPPING)).fit(X).compress(with_gap(X)),
        None,
    ),
    "Columns? .* dropped": (
        lambda X: AutoencoderImputer(max_iter=1).fit(np.c_[X, np.full(len(X), np.nan)]),
        None,
    ),
    "fine-tuning of the encoder diverged": (
        lambda X: AutoencoderRegressor(
            Autoencoder(2, **NO_STOPPING), fine_tune="all", learning_rate=1e12
        ).fit(X, X[:, 0]),
        None,
    ),
    "diverged, so it stays at its start": (
        lambda X: AutoencoderOutlierDetector(Autoencoder(2, **NO_STOPPING), trim=0).fit(X),
        diverge,
    ),
}


@pytest.mark.parametrize("message", CASES)
def test_it_points_at_the_line_of_the_user(sheet, monkeypatch, message):
    call, prepare = CASES[message]
    if prepare is not None:
        prepare(monkeypatch)
    with pytest.warns(AutoencoderWarning, match=message) as caught:
        call(sheet)
    warning = next(w for w in caught if re.search(message, str(w.message)))
    lines, first = inspect.getsourcelines(call)
    assert warning.filename == __file__
    assert first <= warning.lineno < first + len(lines)


def test_so_it_does_from_within_a_pipeline(sheet):
    pipeline = make_pipeline(StandardScaler(), Autoencoder(9, **NO_STOPPING))
    with pytest.warns(AutoencoderWarning, match="identity") as caught:
        pipeline.fit(sheet)
    assert caught[0].filename == __file__


def test_all_warnings_are_issued_in_one_place():
    for path in ROOT.rglob("*.py"):
        if path.name != "_warnings.py":
            assert "warnings.warn(" not in path.read_text(), path

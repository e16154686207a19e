"""What the units of a sparse code do on the training samples, against numpy's formulas."""

import pickle
import re

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import skae
from skae import MLP, KSparseAutoencoder, SparseAutoencoder
from skae.autoencoders import _code_statistics
from skae.autoencoders._code_statistics import STATISTICS, code_statistics, coherence
from skae.data import DataSource, RowDataset, _chunks

PLAIN = {"early_stopping": False, "random_state": 0, "max_iter": 3}
pytestmark = pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")


@pytest.fixture(scope="module")
def digits():
    return load_digits().data.astype(np.float32)


@pytest.mark.parametrize(
    "model",
    [
        SparseAutoencoder(30, alpha=0.1, **PLAIN),
        SparseAutoencoder(30, loss="log_loss", sparse_output=True, **PLAIN),
        KSparseAutoencoder(30, n_nonzero_coefs=4, linear_shortcut=True, **PLAIN),
        KSparseAutoencoder(30, n_nonzero_coefs=4, selection="batch", **PLAIN),
    ],
    ids=lambda m: repr(m).replace("\n", ""),
)
@pytest.mark.parametrize("missing", [False, True])
def test_statistics_are_their_formulas(digits, rng, model, missing):
    X = digits / 16
    if missing:
        X = np.where(rng.random(X.shape) < 0.2, np.float32(np.nan), X)
    weight = rng.uniform(0.5, 2, size=len(X))
    model.fit(X, sample_weight=weight)
    Z = model.transform(X)
    active = (Z != 0).toarray() if model.sparse_output else Z != 0
    frequency = np.average(active, axis=0, weights=weight)
    np.testing.assert_allclose(model.activation_frequency_, frequency, atol=2e-3)
    assert model.mean_n_active_ == pytest.approx(np.average(active.sum(1), weights=weight), 1e-2)
    assert model.n_dead_ == (model.activation_frequency_ == 0).sum()
    assert model.n_dense_ == (model.activation_frequency_ > 0.5).sum()
    cells = weight[:, None] * ~np.isnan(X)
    mean = np.nansum(cells * X, axis=0) / cells.sum(0)
    error = np.nansum(cells * (model.reconstruct(X) - X) ** 2)
    expected = error / np.nansum(cells * (X - mean) ** 2)
    assert model.unexplained_variance_ratio_ == pytest.approx(expected, rel=1e-3)
    atoms = model.module_.decode(torch.eye(30)) - model.module_.decode(torch.zeros(1, 30))
    unit = (atoms / atoms.norm(dim=1, keepdim=True)).detach().numpy()
    cosines = np.abs(unit @ unit.T) - np.eye(30)
    assert model.coherence_ == pytest.approx(cosines.max(), abs=1e-4)


def test_the_activations_of_kl_are_active_above_one_half(digits):
    model = SparseAutoencoder(30, penalty="kl", **PLAIN).fit(digits)
    frequency = (model.transform(digits) > 0.5).mean(0)
    np.testing.assert_allclose(model.activation_frequency_, frequency, atol=1e-3)


def test_units_active_in_half_of_the_samples_are_not_dense(rng):
    X = np.array([[1.0], [-1.0]] * 200) + 0.01 * rng.normal(size=(400, 1))
    model = SparseAutoencoder(6, max_iter=4, random_state=0).fit(X)
    frequency = (model.transform(X) != 0).mean(axis=0)
    assert (frequency == 0.5).any()
    assert model.n_dense_ == (frequency > 0.5).sum()


def test_coherence_of_known_columns(monkeypatch, rng):
    monkeypatch.setattr(_chunks, "MAX_CHUNK_SIZE", 44)  # four columns at a time
    columns = torch.from_numpy(rng.normal(size=(6, 11)))
    columns[:, 9] = -3 * columns[:, 2] + 1e-3 * columns[:, 0]
    unit = columns / columns.norm(dim=0)
    expected = ((unit.T @ unit).abs() - torch.eye(11)).max()
    assert coherence(columns) == pytest.approx(float(expected))
    assert coherence(columns) > 0.999
    assert coherence(torch.eye(5)) == 0
    assert coherence(torch.ones(5, 1)) == 0
    assert coherence(torch.zeros(5, 3)) == 0


def test_without_columns_there_is_no_coherence(digits):
    assert KSparseAutoencoder(20, architecture=MLP((8,)), **PLAIN).fit(digits).coherence_ is None


def test_of_many_samples_some_are_reconstructed(digits, monkeypatch):
    monkeypatch.setattr(_code_statistics, "MAX_SAMPLES", 600)
    model = KSparseAutoencoder(30, n_nonzero_coefs=4, **PLAIN).fit(digits)
    part = digits[np.linspace(0, len(digits) - 1, 600).astype(int)]
    expected = ((model.reconstruct(part) - part) ** 2).sum() / (len(part) * part.var(0).sum())
    assert model.unexplained_variance_ratio_ == pytest.approx(expected, rel=1e-3)


def test_statistics_are_those_of_the_last_call(digits):
    model = SparseAutoencoder(30, random_state=0).partial_fit(digits[:900])
    before = model.unexplained_variance_ratio_
    assert model.partial_fit(digits[900:]).unexplained_variance_ratio_ != before
    for constant in (digits[:1], np.repeat(digits[:1], 7, axis=0)):
        assert np.isnan(model.partial_fit(constant).unexplained_variance_ratio_)


def test_statistics_take_no_memory_for_each_activation(rng):
    """Neither all codes, nor the cosines of all pairs of units, exist at one time."""
    n_units = 6000
    model = KSparseAutoencoder(n_units, n_nonzero_coefs=2, **{**PLAIN, "max_iter": 1})
    X = rng.normal(size=(9000, 5)).astype(np.float32)
    model.fit(X[:50])
    rows = RowDataset.of(DataSource(X), np.ones(len(X)), model._conditioning, torch.float32, True)
    sizes = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            sizes.extend(t.numel() for t in tree_leaves(result) if isinstance(t, torch.Tensor))
            return result

    with torch.no_grad(), Sizes():
        code_statistics(model, model.module_, rows)
    assert max(sizes) <= _chunks.MAX_CHUNK_SIZE < min(9000 * n_units, n_units**2)


@pytest.mark.parametrize("loss", ["squared_error", "log_loss"])
def test_are_kept_in_files(digits, tmp_path, loss):
    model = SparseAutoencoder(30, loss=loss, **PLAIN).fit(digits / 16)
    skae.save(model, tmp_path / "model")
    for again in (skae.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        for name in re.findall(r"^(\w+) :", STATISTICS, re.MULTILINE):
            assert np.array_equal(getattr(again, name), getattr(model, name))

"""Steps by a recorded program are those of autograd and the optimiser."""

import gc
import logging
import os
import pickle
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from skae import (
    Autoencoder,
    ContractiveAutoencoder,
    Conv,
    DenoisingAutoencoder,
    FTTransformer,
    KSparseAutoencoder,
    MaskedAutoencoder,
    QuantizedAutoencoder,
    SparseAutoencoder,
    VariationalAutoencoder,
    ViT,
)
from skae.architectures import Architecture
from skae.hyperparameters import hyperparameters
from skae.training import _step
from skae.training._program import Recorded, record

SHORT = {"max_iter": 12, "batch_size": 16, "random_state": 0, "init": "random"}
SMALL = {"n_components": 2, "hidden_layer_sizes": (8,)}


@hyperparameters
class BatchNormed(Architecture):
    """A network whose buffers change in each step."""

    def build(self, *, n_inputs, n_code, n_components, n_outputs):
        """Return an encoder and a decoder."""
        encoder = nn.Sequential(nn.Linear(n_inputs, 8), nn.BatchNorm1d(8), nn.Linear(8, n_code))
        decoder = nn.Sequential(nn.Linear(n_components, 8), nn.Tanh(), nn.Linear(8, n_outputs))
        return encoder, decoder


WIDTHS = {"width": 8, "n_layers": 1, "decoder_width": 8}
MODELS = {
    "deep": Autoencoder(**SMALL),
    "logistic": Autoencoder(**SMALL, activation="logistic"),
    "weight decay and schedule": Autoencoder(**SMALL, weight_decay=0.1, schedule="cosine"),
    "sparse": SparseAutoencoder(6, hidden_layer_sizes=(8,)),
    "k-sparse": KSparseAutoencoder(8, n_nonzero_coefs=2),
    "bits": QuantizedAutoencoder(**SMALL, mask_ratio=0.2),
    "neighbors": QuantizedAutoencoder(**SMALL, n_neighbors=4),
    "levels": QuantizedAutoencoder(**SMALL, levels=4, quantization="noise"),
    "denoising": DenoisingAutoencoder(**SMALL),
    "masking noise": DenoisingAutoencoder(**SMALL, noise="masking", noise_level=0.3),
    "contractive": ContractiveAutoencoder(**SMALL),
    "variational": VariationalAutoencoder(**SMALL),
    "convolutions": Autoencoder(2, architecture=Conv((4, 8), image_shape=(2, 3))),
    "transformer": Autoencoder(2, architecture=ViT(image_shape=(2, 3), patch_size=1, **WIDTHS)),
    "masked": MaskedAutoencoder(architecture=FTTransformer(**WIDTHS)),
}


@pytest.fixture(autouse=True)
def _recorded_at_once(monkeypatch):
    monkeypatch.setattr(_step, "MIN_STEPS", {"cpu": 3, "cuda": 3})


def fitted(model, X, monkeypatch, *, recorded, **params):
    own = {k: v for k, v in SHORT.items() if k in model.get_params(deep=False)} | params
    with monkeypatch.context() as patch:
        if not recorded:
            patch.setattr(_step.RecordedSteps, "possible", staticmethod(lambda *_: False))
        return clone(model).set_params(**own).fit(X)


@pytest.fixture
def sheet():
    rng = np.random.default_rng(0)
    return rng.normal(size=(112, 3)) @ rng.normal(size=(3, 6)) + 0.1 * rng.normal(size=(112, 6))


def log_of(caplog):
    return [r.getMessage() for r in caplog.records if "recorded" in r.getMessage()]


@pytest.mark.full
@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
@pytest.mark.parametrize("missing", [False, pytest.param(True, marks=pytest.mark.full)])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_recorded_training_is_that_of_autograd(model, missing, sheet, monkeypatch, caplog):
    if missing:
        sheet[np.random.default_rng(1).random(sheet.shape) < 0.1] = np.nan
    caplog.set_level(logging.INFO, "skae")
    by_program = fitted(model, sheet, monkeypatch, recorded=True)
    assert not log_of(caplog)
    by_autograd = fitted(model, sheet, monkeypatch, recorded=False)
    for name in ("loss_curve_", "validation_loss_curve_"):
        expected = getattr(by_autograd, name, None)
        if expected is not None:
            np.testing.assert_allclose(getattr(by_program, name), expected, rtol=1e-4)
    np.testing.assert_allclose(
        by_program.transform(sheet), by_autograd.transform(sheet), rtol=1e-2, atol=1e-2
    )


class WithHook(Autoencoder):
    """An autoencoder whose objective is not the same operations in each step."""

    def _objective(self, module, batch):
        terms = super()._objective(module, batch)
        return {name: term * self._factor(term) for name, term in terms.items()}


class Counts(WithHook):
    def _factor(self, term):
        self.n_calls = getattr(self, "n_calls", 0) + 1
        return 1.0 + self.n_calls % 7


class Reads(WithHook):
    def _factor(self, term):
        return 2.0 if float(term.detach().sum()) > 1 else 1.0


class Draws(WithHook):
    def _factor(self, term):
        return torch.rand(term.shape, generator=torch.Generator().manual_seed(0))


class Unstable(WithHook):
    def _factor(self, term):
        return np.random.default_rng().random()


@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Counts, "computes something else"),
        (Unstable, "computes something else"),
        (Reads, "depends on the values"),
        (Draws, "draws random numbers"),
        (partial(Autoencoder, architecture=BatchNormed()), "changes its arguments"),
    ],
)
def test_what_is_not_the_same_operations_is_left_to_autograd(
    model, reason, sheet, monkeypatch, caplog
):
    caplog.set_level(logging.INFO, "skae")
    model = model(2, early_stopping=False)
    by_program = fitted(model, sheet, monkeypatch, recorded=True)
    assert log_of(caplog)
    assert all(reason in line for line in log_of(caplog))
    assert len(by_program.loss_curve_) == SHORT["max_iter"]


@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
def test_weights_and_moments_have_memory_of_their_own_afterwards(sheet, monkeypatch):
    model = fitted(Autoencoder(**SMALL), sheet, monkeypatch, recorded=True)
    sizes = [(w.numel(), w.untyped_storage().nbytes()) for w in model.module_.parameters()]
    assert all(n_bytes == 4 * n for n, n_bytes in sizes)
    plain = fitted(Autoencoder(**SMALL), sheet, monkeypatch, recorded=False)
    assert len(pickle.dumps(model.module_)) == pytest.approx(
        len(pickle.dumps(plain.module_)), rel=0.01
    )


@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
def test_warm_start_continues_with_the_moments_of_recorded_steps(sheet, monkeypatch):
    def curve(recorded):
        own = {"warm_start": True, "early_stopping": False}
        model = fitted(Autoencoder(**SMALL), sheet, monkeypatch, recorded=recorded, **own)
        first = list(model.loss_curve_)
        with monkeypatch.context() as patch:
            if not recorded:
                patch.setattr(_step.RecordedSteps, "possible", staticmethod(lambda *_: False))
            return first + list(model.fit(sheet).loss_curve_)

    np.testing.assert_allclose(curve(True), curve(False), rtol=1e-4)


def test_a_program_has_the_gradients_of_its_function():
    def function(x, w):
        leaf = w.detach().requires_grad_()
        loss = (torch.sigmoid(x @ leaf.T) @ leaf).square().sum()
        return loss.detach(), *torch.autograd.grad(loss, [leaf])

    a, b = (torch.Generator().manual_seed(s) for s in (0, 1))
    example = torch.randn(5, 3, generator=a), torch.randn(2, 3, generator=a)
    other = torch.randn(5, 3, generator=b), torch.randn(2, 3, generator=b)
    program = record(function, example)
    for _ in range(4):  # the first calls are not optimised
        torch.testing.assert_close(list(program(*other)), list(function(*other)))
    assert not program(*other)[0].requires_grad


def test_a_program_changes_its_arguments_as_its_function_does():
    def function(x, mean):
        mean.lerp_(x.mean(0), 0.5)
        return (x - mean,)

    x, mean = torch.ones(2, 3), torch.zeros(3)
    program = record(function, [x, mean])
    assert not mean.any()
    program(x, mean)
    assert (mean == 0.5).all()
    torch.testing.assert_close(program(x, mean)[0], torch.full((2, 3), 0.25))


def test_arguments_may_be_boolean():
    recorded = Recorded(lambda x, mask: (x * mask,), "A product")
    mask = torch.tensor([True, False])
    for scale in (1.0, 2.0, 3.0, 4.0):
        x = torch.full((2,), scale)
        torch.testing.assert_close(recorded(2, [x, mask])[0], torch.tensor([scale, 0.0]))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.full
def test_programs_that_are_no_longer_used_leave_no_memory_behind():
    def function(x):
        y = x
        for _ in range(10):  # 2 MB each
            y = torch.tanh(y) + 1
        return (y.sum(),)

    def used_after(n):
        for _ in range(n):
            program = record(function, [x])
            for _ in range(3):
                program(x)
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    x = torch.ones(500_000)
    before = used_after(5)
    assert used_after(20) - before < 50e6  # torch.jit.trace leaves more than 100 MB

"""Training on a GPU: as on the CPU, as CUDA graphs, without waiting, in half precision."""

import logging
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skae import Autoencoder, FTTransformer, MaskedAutoencoder, SparseAutoencoder
from skae.data import Random
from skae.model_selection import BatchedGridSearchCV
from skae.training import _step
from skae.training._program import Recorded
from skae.training._trainer import Trainer
from tests.training.test_recorded_steps import MODELS, Reads, fitted, log_of

pytestmark = pytest.mark.gpu

WIDTHS = {"width": 16, "n_layers": 1, "decoder_width": 16}
MASKINGS = {"block": "block", "given": np.eye(6, dtype=bool)}
MODELS = MODELS | {
    "table transformer": Autoencoder(2, architecture=FTTransformer(**WIDTHS)),
    **{
        f"masked, {kind}": MaskedAutoencoder(architecture=FTTransformer(**WIDTHS), masking=masking)
        for kind, masking in MASKINGS.items()
    },
}


@pytest.fixture(autouse=True)
def _recorded_at_once(monkeypatch):
    monkeypatch.setattr(_step, "MIN_STEPS", {"cpu": 3, "cuda": 3})


@pytest.fixture
def sheet():
    rng = np.random.default_rng(0)
    return rng.normal(size=(112, 3)) @ rng.normal(size=(3, 6)) + 0.1 * rng.normal(size=(112, 6))


@pytest.fixture
def in_float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def same_draws(monkeypatch):
    """Let both devices use the draws of the CPU."""

    def drawn(self, draw, shape, dtype=None):
        seed = self.generator.initial_seed()
        generator = vars(self).setdefault("_of_cpu", torch.Generator().manual_seed(seed))
        return draw(shape, dtype=dtype or self.dtype, generator=generator).to(self.device)

    monkeypatch.setattr(Random, "_drawn", drawn)


@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
@pytest.mark.usefixtures("in_float64", "same_draws")
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_fit_is_that_of_the_cpu(model, missing, sheet, monkeypatch):
    if missing:
        sheet[np.random.default_rng(1).random(sheet.shape) < 0.1] = np.nan
    on_gpu, on_cpu = (
        fitted(model, sheet, monkeypatch, recorded=True, device=device)
        for device in ("cuda", "cpu")
    )
    np.testing.assert_allclose(on_gpu.loss_curve_, on_cpu.loss_curve_, rtol=1e-6)
    codes = on_gpu.transform(sheet)
    np.testing.assert_allclose(codes, on_cpu.transform(sheet), rtol=1e-5, atol=1e-5)
    results = [codes, on_gpu.reconstruct(sheet), on_gpu.score_samples(sheet)]
    moved = on_gpu.set_params(device="cpu")
    again = [moved.transform(sheet), moved.reconstruct(sheet), moved.score_samples(sheet)]
    for result, expected in zip(results, again, strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_graph_computes_what_autograd_does(model, missing, sheet, monkeypatch, caplog):
    if missing:
        sheet[np.random.default_rng(1).random(sheet.shape) < 0.1] = np.nan
    caplog.set_level(logging.INFO, "skae")
    by_graph = fitted(model, sheet, monkeypatch, recorded=True, device="cuda")
    assert not log_of(caplog)
    by_autograd = fitted(model, sheet, monkeypatch, recorded=False, device="cuda")
    np.testing.assert_allclose(by_graph.loss_curve_, by_autograd.loss_curve_, rtol=1e-3)


@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
def test_a_step_that_reads_a_value_is_left_to_autograd(sheet, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "skae")
    by_graph = fitted(Reads(2), sheet, monkeypatch, recorded=True, device="cuda")
    assert len(log_of(caplog)) >= 1
    by_autograd = fitted(Reads(2), sheet, monkeypatch, recorded=False, device="cuda")
    np.testing.assert_allclose(by_graph.loss_curve_, by_autograd.loss_curve_, rtol=1e-3)


@contextmanager
def waiting_is_an_error():
    """Context in which an operation that waits for the GPU raises an error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that this mode is a prototype
            torch.cuda.set_sync_debug_mode("error")
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
@pytest.mark.parametrize("recorded", [False, True], ids=["autograd", "graph"])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_no_step_waits_for_the_gpu(model, recorded, sheet, monkeypatch):
    n_checked = 0

    def checked(function, may_wait):
        def call(self, *args, **kwargs):
            nonlocal n_checked
            if may_wait(self, *args):
                return function(self, *args, **kwargs)
            n_checked += 1
            with waiting_is_an_error():
                return function(self, *args, **kwargs)

        return call

    if recorded:
        steps = _step.RecordedSteps
        first = lambda self, batch, step: len(batch.x) not in self.program._programs  # noqa: E731
        monkeypatch.setattr(steps, "__call__", checked(steps.__call__, first))
    else:
        first = lambda self, batch: self.first_loss_ is None  # noqa: E731
        monkeypatch.setattr(Trainer, "_step", checked(Trainer._step, first))
    fitted(model, sheet, monkeypatch, recorded=recorded, device="cuda", max_iter=6)
    assert n_checked > 5


@pytest.mark.parametrize("recorded", [False, True], ids=["autograd", "graph"])
def test_half_precision_computes_nearly_the_same(recorded, sheet, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "skae")
    given = {"recorded": recorded, "device": "cuda", "early_stopping": False}
    full = fitted(MODELS["deep"], sheet, monkeypatch, **given)
    half = fitted(MODELS["deep"], sheet, monkeypatch, **given, precision="bf16")
    assert not log_of(caplog)
    assert half.loss_curve_ != full.loss_curve_
    np.testing.assert_allclose(half.loss_curve_, full.loss_curve_, rtol=0.1)


def test_products_in_tf32_compute_nearly_the_same(sheet, monkeypatch):
    given = {"recorded": True, "device": "cuda", "early_stopping": False}
    full = fitted(MODELS["deep"], sheet, monkeypatch, **given)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        faster = fitted(MODELS["deep"], sheet, monkeypatch, **given)
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_allclose(faster.loss_curve_, full.loss_curve_, rtol=1e-2)


@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
def test_models_are_trained_together_as_one_by_one(sheet, monkeypatch, caplog):
    model = SparseAutoencoder(4, hidden_layer_sizes=(8,), batch_size=16, max_iter=20)
    model.set_params(device="cuda", random_state=0, early_stopping=False)
    grid = {"alpha": [0.01, 0.1], "learning_rate": [1e-3, 1e-2]}
    recorded = []
    keep = Recorded._compared
    monkeypatch.setattr(
        Recorded, "_compared", lambda self, *a: recorded.append(self.name) or keep(self, *a)
    )
    caplog.set_level(logging.INFO, "skae")
    together = BatchedGridSearchCV(clone(model), grid, cv=3).fit(sheet)
    assert "A step of several models" in recorded
    assert not [line for line in log_of(caplog) if "several" in line]
    one_by_one = GridSearchCV(clone(model), grid, cv=3).fit(sheet)
    a, b = (search.cv_results_["mean_test_score"] for search in (together, one_by_one))
    np.testing.assert_allclose(a, b, rtol=1e-3)

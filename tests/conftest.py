import math
import os
import random
import warnings

# Two workers with two torch threads each on two cores take twenty times as long as with one.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ["SCIPY_ARRAY_API"] = "1"

import numpy as np
import pytest
import sympy  # noqa: F401  torch.testing imports it when first used, which adds a warnings filter
import torch

from skae.impute import AutoencoderImputer
from skae.impute._budget import ImputationBudget
from skae.outlier import _detector
from skae.training import _interrupts


def global_state():
    """Return what no call into skae may change."""
    return {
        "torch generator": torch.random.get_rng_state().numpy().tobytes(),
        "torch default dtype": torch.get_default_dtype(),
        "torch threads": torch.get_num_threads(),
        "warning filters": list(warnings.filters),
        "numpy generator": str(np.random.get_state()),  # noqa: NPY002
        "python generator": random.getstate(),
    }


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item):
    before = global_state()
    result = yield
    # scikit-learn's own checks draw from numpy's global generator.
    spared = (
        {"numpy generator", "python generator"} if item.get_closest_marker("conformance") else set()
    )
    changed = [k for k, v in global_state().items() if v != before[k] and k not in spared]
    assert not changed, f"the test changed global state: {', '.join(changed)}"
    return result


def pytest_collection_modifyitems(items):
    no_gpu = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if "gpu" in item.keywords and not torch.cuda.is_available():
            item.add_marker(no_gpu)


@pytest.fixture(
    params=[
        pytest.param(torch.float32, id="float32"),
        pytest.param(torch.float64, id="float64", marks=pytest.mark.full),
    ]
)
def default_dtype(request):
    """Run a test under both default dtypes of torch."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(before)


@pytest.fixture(autouse=True)
def no_interrupt_just_now(monkeypatch):
    """Forget interrupts of former tests: a second one within two seconds stops everything."""
    monkeypatch.setattr(_interrupts, "_last", -math.inf)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def curve(rng, n=400, d=6, noise=0.02):
    """Rows near a curved sheet of two dimensions, which no plane of two fits."""
    t = rng.uniform(-1, 1, size=(n, 2))
    lifted = np.column_stack([t, t**2, t[:, :1] * t[:, 1:], np.sin(2 * t)])[:, :d]
    return lifted + noise * rng.normal(size=lifted.shape)


@pytest.fixture
def sheet(rng):
    return curve(rng)


QUICK = {
    (AutoencoderImputer, "_budget"): ImputationBudget(n_metric_steps=5, max_repeats=5),
    (_detector, "STEPS"): 40,
    (_detector, "EPOCHS"): (1, 3),
}


@pytest.fixture(scope="session", autouse=True)
def usual():
    """Let imputers and detectors learn little by default; return what is usual."""
    before = {(module, name): getattr(module, name) for module, name in QUICK}
    for (module, name), value in QUICK.items():
        setattr(module, name, value)
    return before


@pytest.fixture(autouse=True)
def as_usual(request, usual, monkeypatch):
    """Let them learn as users do where that is what is tested."""
    if "as_usual" in request.keywords:
        for (module, name), value in usual.items():
            monkeypatch.setattr(module, name, value)

import math
import os
import sys

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
from skae.training import _interrupts, drawing_from
from tests.guard import pytest_runtest_call  # noqa: F401  a hook, found by its name
from tests.tables import curve


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


@pytest.fixture(autouse=True)
def no_figures_left():
    """Close the figures of a test, which others would find; matplotlib warns of more than 20."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def draws():
    """Draw from a generator of the test's own where torch's global one is the default."""
    with drawing_from(torch.Generator().manual_seed(0)):
        yield


@pytest.fixture
def sheet(rng):
    return curve(rng)


QUICK = {
    (AutoencoderImputer, "_budget"): ImputationBudget(n_metric_steps=5, max_repeats=5),
}


@pytest.fixture(scope="session", autouse=True)
def usual():
    """Let imputers learn little by default; return what is usual."""
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

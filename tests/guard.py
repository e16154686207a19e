"""The guard of every test: no call into skae may change global state."""

import random
import warnings

import numpy as np
import pytest
import torch


def global_state():
    """Return what no call into skae may change."""
    name, key, *position = np.random.get_state()  # noqa: NPY002
    return {
        "torch generator": torch.random.get_rng_state().numpy().tobytes(),
        "torch default dtype": torch.get_default_dtype(),
        "torch threads": torch.get_num_threads(),
        "warning filters": list(warnings.filters),
        "numpy generator": (name, key.tobytes(), *position),
        "python generator": random.getstate(),
    }


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item):
    before = global_state()
    result = yield
    # scikit-learn's own checks and dask's scheduler draw from global generators. Workers of dask
    # are threads here, in each of which searches of scikit-learn set the warning filters.
    with_dask = item.get_closest_marker("dask")
    draws = with_dask or item.get_closest_marker("conformance")
    spared = {"numpy generator", "python generator"} if draws else set()
    if with_dask or item.get_closest_marker("threads"):
        spared |= {"warning filters"}
    changed = [k for k, v in global_state().items() if v != before[k] and k not in spared]
    assert not changed, f"the test changed global state: {', '.join(changed)}"
    return result

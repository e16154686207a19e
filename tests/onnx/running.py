"""Running of ONNX models, and tables that they are run on."""

import importlib.util

import numpy as np
import pytest

NEEDED = ("onnx", "onnxscript", "skl2onnx", "onnxruntime")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
NEEDS_ONNX = pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}")


def in_both_dtypes(names, quick):
    """Return parameters (name, dtype), of which those that are not quick are marked full."""
    return [
        pytest.param(
            name,
            dtype,
            marks=[] if (name, dtype) in quick else [pytest.mark.full],
            id=f"{name}-{dtype}",
        )
        for name in names
        for dtype in ("float32", "float64")
    ]


def run(model, X):
    import onnxruntime

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"X": X})


def tables(X, dtype):
    """Yield 1 and 7 samples, complete and with missing values, some with no value at all."""
    for n in (1, 7):
        complete = X[:n].astype(dtype)
        yield complete
        holed = complete.copy()
        holed[0, 1] = holed[n - 1, 2:5] = np.nan
        if n > 1:
            holed[3] = np.nan
        yield holed


def assert_agree(found, expected, tolerance=1e-5):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)

"""MLflow stores estimators and ONNX models, as the documentation shows."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.onnx.running import NEEDS_ONNX

PAGE = Path(__file__).parents[2] / "docs" / "onnx.md"
DETECTOR = """
detector = AutoencoderOutlierDetector(method="reconstruction", max_iter=3, random_state=0).fit(X)
trusted = get_untrusted_types(data=dumps(detector))
mlflow.sklearn.save_model(
    detector, "detector", skops_trusted_types=trusted, pip_requirements=["skae", "skops"]
)
assert (mlflow.pyfunc.load_model("detector").predict(X) == detector.predict(X)).all()

mlflow.sklearn.save_model(
    pipeline, "pickle", serialization_format="cloudpickle", pip_requirements=["skae"]
)
again = mlflow.sklearn.load_model("pickle")
np.testing.assert_array_equal(again.transform(X), pipeline.transform(X))
"""


# In a process of its own, since mlflow changes the filters of warnings and the loggers.
@NEEDS_ONNX
@pytest.mark.full
@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="needs mlflow")
def test_mlflow_as_documented(tmp_path):
    text = PAGE.read_text()
    first = re.search(r"```python\n(.*?)```", text, re.S)[1]
    block = re.search(r"## MLflow\n.*?```py\n(.*?)```", text, re.S)[1]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_TRACKING_URI": tmp_path.as_uri()}
    subprocess.run(
        [sys.executable, "-c", first + block + DETECTOR],
        cwd=tmp_path,
        env=os.environ | quiet,
        check=True,
    )
    assert {path.name for path in tmp_path.iterdir()} == {"estimator", "onnx", "detector", "pickle"}

"""The guard does fail what changes global state."""

from pathlib import Path

import pytest

GUARD = Path(__file__).with_name("guard.py")
CHANGES = {
    "torch generator": "torch.rand(1)",
    "torch default dtype": "torch.set_default_dtype(torch.float64)",
    "torch threads": "torch.set_num_threads(torch.get_num_threads() + 1)",
    "warning filters": "warnings.simplefilter('ignore')",
    "numpy generator": "np.random.rand()",
    "python generator": "random.random()",
}


@pytest.mark.full
def test_guard_fails_what_changes(pytester):
    pytester.makeconftest(GUARD.read_text())
    tests = [f"def test_{i}():\n    {change}\n" for i, change in enumerate(CHANGES.values())]
    imports = "import random, warnings\nimport numpy as np\nimport torch\n"
    pytester.makepyfile(imports + "".join(tests) + "def test_good():\n    pass\n")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=len(CHANGES))
    for what in CHANGES:
        result.stdout.fnmatch_lines([f"*the test changed global state: {what}"])

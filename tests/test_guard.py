"""The guard in conftest.py does fail what changes global state."""

from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("torch generator", "torch.rand(1)"),
        ("torch default dtype", "torch.set_default_dtype(torch.float64)"),
        ("torch threads", "torch.set_num_threads(torch.get_num_threads() + 1)"),
        ("warning filters", "warnings.simplefilter('ignore')"),
        ("numpy generator", "np.random.rand()"),
        ("python generator", "random.random()"),
    ],
)
def test_guard_fails_what_changes(what, change, pytester):
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makepyfile(
        f"import random, warnings\nimport numpy as np\nimport torch\n"
        f"def test_bad():\n    {change}\ndef test_good():\n    pass\n"
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([f"*the test changed global state: {what}*"])

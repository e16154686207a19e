"""What the type checker of a user accepts and reports."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import skae

FOLDER = Path(__file__).parent


@pytest.mark.full
@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="needs mypy")
def test_mypy_reports_the_marked_lines_and_no_others(tmp_path):
    """With the configuration of a user, who sees skae as an installed package."""
    config = tmp_path / "mypy.ini"
    config.write_text(
        "[mypy]\nstrict = True\n[mypy-sklearn.*,pandas.*]\nignore_missing_imports = True\n"
    )
    files = [FOLDER / "accepted.py", FOLDER / "refused.py"]
    command = [sys.executable, "-m", "mypy", f"--config-file={config}", "--no-error-summary"]
    environment = os.environ | {"MYPYPATH": str(Path(skae.__file__).parents[1])}
    found = subprocess.run(
        [*command, f"--cache-dir={tmp_path}", "--follow-imports=silent", *files],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    errors = re.findall(r"(\w+\.py):(\d+): error: .*\[([\w-]+)\]$", found.stdout, re.M)
    expected = [
        (file.name, str(number), code)
        for file in files
        for number, line in enumerate(file.read_text().splitlines(), 1)
        for code in re.findall(r"# error: ([\w-]+)", line)
    ]
    assert expected
    assert errors == expected, found.stdout + found.stderr

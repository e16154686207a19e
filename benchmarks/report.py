"""What the benchmarks measured: their tables on the console, in files, and as one page.

A script shows its tables by `show_table` and writes them with its records by `write_json`.

    python benchmarks/report.py        write benchmarks/results.md from benchmarks/results/*.json
"""

from __future__ import annotations

import json
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

FOLDER = Path(__file__).parent / "results"
PAGE = Path(__file__).parent / "results.md"
shown: list[Table] = []


def show_table(table: Table, width: int | None = None) -> None:
    """Print a table, which `write_json` will write, too."""
    Console(width=width).print(table, "")
    shown.append(table)


def write_json(path: Path | None, records: list[dict], **summary: object) -> None:
    """Write what a benchmark measured, on what, and the tables it showed, if a path is given."""
    if path is None:
        return
    import sklearn
    import torch

    import skae

    arguments = [a for a in sys.argv if a not in ("--json", str(path))]
    result = {
        "command": shlex.join(["python", *arguments]),
        "versions": {m.__name__: m.__version__ for m in (skae, sklearn, torch, np)},
        "machine": {
            "python": platform.python_version(),
            "processor": platform.machine(),
            "threads": torch.get_num_threads(),
        },
        "tables": [as_lists(table) for table in shown],
        **summary,
        "records": records,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1))


def as_lists(table: Table) -> dict[str, Any]:
    """Return the title, the columns and the rows of a table, without their colours."""
    columns = [str(column.header) for column in table.columns]
    cells = [
        [Text.from_markup(str(cell)).plain for cell in column.cells] for column in table.columns
    ]
    rows = [list(row) for row in zip(*cells, strict=True)]
    return {"title": str(table.title or ""), "columns": columns, "rows": rows}


def markdown_of(result: dict[str, Any], title: str) -> str:
    """Return the section of a result file."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    machine = result["machine"]
    lines = [
        f"## {title}",
        f"`{result['command']}`",
        f"{versions}; Python {machine['python']}, {machine['processor']}, "
        f"{machine['threads']} thread{'s' * (machine['threads'] > 1)} of torch.",
    ]
    for table in result["tables"]:
        rows = [table["columns"], ["---"] * len(table["columns"]), *table["rows"]]
        lines.append(f"{table['title']}:" if table["title"] else "")
        lines.append("\n".join(f"| {' | '.join(cells)} |" for cells in rows))
    return "\n\n".join(line for line in lines if line)


def page() -> str:
    """Return the page of all result files."""
    parts = ["# Results", "Written by `python benchmarks/report.py` from the files in `results`."]
    for path in sorted(FOLDER.glob("*.json")):
        title = path.stem.replace("_", " ")
        parts.append(markdown_of(json.loads(path.read_text()), title[:1].upper() + title[1:]))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())

"""What the benchmarks write, and the page that is made of it."""

import json

import numpy as np
import report
from rich.table import Table


def test_the_page_is_made_of_the_results():
    assert report.PAGE.read_text() == report.page()


def test_tables_that_were_shown_are_written_beside_their_command(tmp_path, monkeypatch, capsys):
    path = tmp_path / "of" / "it.json"
    monkeypatch.setattr(report, "shown", [])
    monkeypatch.setattr("sys.argv", ["benchmarks/it.py", "--seeds", "2", "--json", str(path)])
    table = Table("name", "error", title="Errors")
    table.add_row("PCA", "[green]0.5[/]")
    report.show_table(table)
    assert "PCA" in capsys.readouterr().out
    report.write_json(path, [{"error": np.float64(0.5)}])
    result = json.loads(path.read_text())
    assert result["command"] == "python benchmarks/it.py --seeds 2"
    assert result["tables"] == [
        {"title": "Errors", "columns": ["name", "error"], "rows": [["PCA", "0.5"]]}
    ]
    assert "| PCA | 0.5 |" in report.markdown_of(result, "It")

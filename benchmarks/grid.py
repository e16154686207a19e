"""A grid search as one program, beside scikit-learn's over the same estimator.

Each search scores three folds and refits the best candidate. The searches take turns; figures are
medians. Scores of the candidates are compared, too.

    python benchmarks/grid.py                 digits, 27 candidates; 200 rows of 10 columns
    python benchmarks/grid.py --repeats 3
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from report import show_table, write_json
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from skae import AutoencoderWarning, SparseAutoencoder
from skae.model_selection import BatchedGridSearchCV

GRID = {
    "alpha": [0.01, 0.03, 0.1],
    "learning_rate": [1e-3, 3e-3, 1e-2],
    "weight_decay": [0.0, 0.01, 0.1],
}


def tasks(quick: bool) -> Iterator[tuple[str, np.ndarray, SparseAutoencoder]]:
    """Yield a name, rows and an autoencoder."""
    epochs = 2 if quick else 20
    settings = {"max_iter": epochs, "early_stopping": False, "random_state": 0}
    model = SparseAutoencoder(8, hidden_layer_sizes=(32,), batch_size=64, **settings)
    yield "digits, 64-32-8", load_digits().data, model
    rows = np.random.default_rng(0).normal(size=(200, 3)) @ np.random.default_rng(1).normal(
        size=(3, 10)
    )
    noise = 0.3 * np.random.default_rng(2).normal(size=(200, 10))
    small = SparseAutoencoder(4, hidden_layer_sizes=(16,), batch_size=16, **settings)
    yield "200 x 10, 10-16-4", rows + noise, small


def searches(model: SparseAutoencoder) -> dict[str, Any]:
    """Return the searches to compare."""
    return {
        "BatchedGridSearchCV": BatchedGridSearchCV(model, GRID, cv=3),
        "GridSearchCV, n_jobs=2": GridSearchCV(model, GRID, cv=3, n_jobs=2),
        "GridSearchCV": GridSearchCV(model, GRID, cv=3),
    }


def measure(quick: bool, repeats: int) -> list[dict]:
    """Return a record per task and search."""
    records = []
    for name, X, model in tasks(quick):
        seconds: dict[str, list[float]] = {}
        scores = {}
        for _ in range(repeats):
            for label, search in searches(model).items():
                begin = time.perf_counter()
                search.fit(X)
                seconds.setdefault(label, []).append(time.perf_counter() - begin)
                scores[label] = search.cv_results_["mean_test_score"]
        plain = scores["GridSearchCV"]
        for label, times in seconds.items():
            records.append(
                {
                    "task": name,
                    "search": label,
                    "seconds": median(times),
                    "relative": median(times) / median(seconds["BatchedGridSearchCV"]),
                    "score_difference": float(np.abs(scores[label] / plain - 1).max()),
                    "same_ranking": bool((scores[label].argsort() == plain.argsort()).all()),
                }
            )
    return records


def show(records: list[dict]) -> None:
    """Print a line per task and search."""
    table = Table(title="27 candidates x 3 folds, 20 epochs, and the refit", box=None)
    for column in ("task", "search", "seconds", "relative", "scores differ by", "same ranking"):
        table.add_column(column, justify="left" if column in ("task", "search") else "right")
    for r in records:
        table.add_row(
            r["task"],
            r["search"],
            f"{r['seconds']:.2f}",
            f"{r['relative']:.1f}",
            f"{r['score_difference']:.1e}",
            "yes" if r["same_ranking"] else "no",
        )
    show_table(table, width=110)


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="2 epochs: does it run?")
    parser.add_argument("--json", type=Path, help="write every record here")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", AutoencoderWarning)
    records = measure(arguments.quick, arguments.repeats)
    show(records)
    write_json(arguments.json, records)


if __name__ == "__main__":
    main()

"""Test score of a model of rows with holes, and coverage of its pooled coefficients.

scikit-learn's own tables, columns and numeric targets standardised; holes by chance (MCAR) or as
half of the columns tell (MAR). Models are fitted to 70 % of the rows with holes and score the other
30 % with holes: after column means, after one imputation, and pooled over several. Intervals (0.95)
are of the coefficients of the complete training rows: Rubin's, which are of the population's and
hold those of one sample more often than that; and those of the variance between tables alone, which
is all that holes leave open of them.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import DataSource
from sklearn import datasets
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import scale
from tables import mean, write_json

from skae import (
    AutoencoderImputer,
    AutoencoderWarning,
    PooledEstimator,
    make_missing,
    pool_estimates,
)

HOLES = [(mechanism, share) for mechanism in ("mcar", "mar") for share in (0.2, 0.4)]


def tables() -> Iterator[tuple[str, np.ndarray, np.ndarray, Any]]:
    """Yield the name, rows, target and model of each table."""
    X, y = datasets.load_diabetes(return_X_y=True)
    yield "diabetes", scale(X), scale(y), LinearRegression()
    X, y = datasets.load_breast_cancer(return_X_y=True)
    yield "breast_cancer", scale(X[:, :10]), y, LogisticRegression()  # means; the rest repeats them
    X, y = datasets.load_wine(return_X_y=True)
    yield "wine", scale(X), y, KNeighborsClassifier()


def record(
    X: np.ndarray,
    y: np.ndarray,
    model: Any,
    mechanism: str,
    share: float,
    seed: int,
    **options: Any,
) -> dict[str, Any]:
    """Return scores, coverage and seconds of one table with its holes."""
    holed = make_missing(X, mechanism, share, random_state=seed)
    train, test = train_test_split(np.arange(len(X)), test_size=0.3, random_state=seed)
    imputer = AutoencoderImputer(max_iter=options["max_iter"])
    scores = {}
    for name, simple in (("means", SimpleImputer()), ("single", clone(imputer))):
        if name == "single":
            simple.set_params(random_state=seed)
        simple.fit(holed[train])
        filled = (simple.transform(holed[part]) for part in (train, test))
        rows, new = filled
        scores[name] = clone(model).fit(rows, y[train]).score(new, y[test])
    start = time.perf_counter()
    pooled = PooledEstimator(
        model, imputer, n_imputations=options["n_imputations"], random_state=seed
    ).fit(holed[train], y[train])
    scores["pooled"] = pooled.score(holed[test], y[test])
    scores["complete"] = clone(model).fit(X[train], y[train]).score(X[test], y[test])
    seconds = time.perf_counter() - start
    return {**scores, **coverage(pooled, X[train], y[train]), "seconds": seconds}


def coverage(pooled: PooledEstimator, X: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return the share of the complete rows' coefficients in each kind of interval."""
    if not hasattr(pooled, "coef_"):
        return {"rubin": np.nan, "between": np.nan}
    complete = np.ravel(clone(pooled.estimator).fit(X, y).coef_)
    d = len(complete)
    q = np.array([np.ravel(m.coef_) for m in pooled.estimators_])
    found = {}
    for name, interval in (
        ("rubin", pooled.pool_coefficients()),
        ("between", pool_estimates(q, np.zeros_like(q))),
    ):
        low, high = np.ravel(interval.low)[:d], np.ravel(interval.high)[:d]
        found[name] = float(((low < complete) & (complete < high)).mean())
    return found


def measure(seeds: int, **options: Any) -> list[dict[str, Any]]:
    """Return a record per table, kind of holes and seed."""
    records = []
    jobs = [(*table, *holes, s) for table in tables() for holes in HOLES for s in range(seeds)]
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("pooling", total=len(jobs))
        for name, X, y, model, mechanism, share, seed in jobs:
            progress.update(bar, description=f"{name}, {mechanism} {share}")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AutoencoderWarning)
                found = record(X, y, model, mechanism, share, seed, **options)
            what = {
                "table": name,
                "holes": f"{mechanism.upper()} {100 * share:.0f} %",
                "seed": seed,
            }
            records.append({**what, **found})
            progress.advance(bar)
    return records


def show(records: list[dict]) -> None:
    """Print a line per table and kind of holes."""
    values = ("complete", "means", "single", "pooled", "rubin", "between", "seconds")
    table = DataSource(title="R2 or accuracy; coverage of 0.95; mean over seeds", box=None)
    for column in ("table", "holes", *values):
        table.add_column(column, justify="left" if column in ("table", "holes") else "right")
    for name, holes in dict.fromkeys((r["table"], r["holes"]) for r in records):
        cells = [mean(records, value, table=name, holes=holes) for value in values]
        table.add_row(name, holes, *("" if np.isnan(cell) else f"{cell:.3f}" for cell in cells))
    Console(width=120).print(table)


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1, help="splits and holes (default 1)")
    parser.add_argument("--n-imputations", type=int, default=5, help="tables (default 5)")
    parser.add_argument("--max-iter", type=int, help="epochs of the imputer (default its own)")
    parser.add_argument("--json", type=Path, help="write every record here")
    arguments = parser.parse_args()
    records = measure(
        arguments.seeds,
        n_imputations=arguments.n_imputations,
        max_iter=arguments.max_iter or "auto",
    )
    show(records)
    write_json(arguments.json, records)


if __name__ == "__main__":
    main()

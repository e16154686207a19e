"""Scores of models and coverage of pooled coefficients after multiple imputation.

scikit-learn's own tables, features and numeric targets standardised; missing values at random
(MCAR) or depending on half of the features (MAR). Models are fitted to 70 % of the samples and
evaluated on the other 30 %, both with missing values: after mean imputation, after single
imputation, and pooled over several imputations. Seconds are processor time of the pooled fit, the
ratio that to one fit of the imputer. Intervals (0.95) are for the coefficients of the
complete training data: Rubin's, which are for the population and cover those of a sample more
often; and those from the variance between tables alone, which is their whole uncertainty.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from report import show_table, write_json
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn import datasets
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import scale
from tables import mean

from skae import (
    AutoencoderImputer,
    AutoencoderWarning,
    PooledEstimator,
    make_missing,
    pool_estimates,
)

MISSINGNESS = [(mechanism, share) for mechanism in ("mcar", "mar") for share in (0.2, 0.4)]


def tables() -> Iterator[tuple[str, np.ndarray, np.ndarray, Any]]:
    """Yield the name, samples, target and model of each table."""
    X, y = datasets.load_diabetes(return_X_y=True)
    yield "diabetes", scale(X), scale(y), LinearRegression()
    X, y = datasets.load_breast_cancer(return_X_y=True)
    yield (
        "breast_cancer",
        scale(X[:, :10]),
        y,
        LogisticRegression(),
    )  # the mean features
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
    """Return scores, coverage and seconds of one table with missing values."""
    X_missing = make_missing(X, mechanism, share, random_state=seed)
    train, test = train_test_split(np.arange(len(X)), test_size=0.3, random_state=seed)
    imputer = None
    if options["max_iter"] is not None:
        imputer = AutoencoderImputer(max_iter=options["max_iter"])
    single = clone(imputer or AutoencoderImputer()).set_params(random_state=seed)
    scores = {}
    for name, simple in (("means", SimpleImputer()), ("single", single)):
        start = time.process_time()
        simple.fit(X_missing[train])
        one_fit = time.process_time() - start
        filled_train, filled_test = (simple.transform(X_missing[part]) for part in (train, test))
        scores[name] = clone(model).fit(filled_train, y[train]).score(filled_test, y[test])
    start = time.process_time()
    pooled = PooledEstimator(
        model, imputer, n_imputations=options["n_imputations"], random_state=seed
    ).fit(X_missing[train], y[train])
    seconds = time.process_time() - start
    scores["pooled"] = pooled.score(X_missing[test], y[test])
    scores["complete"] = clone(model).fit(X[train], y[train]).score(X[test], y[test])
    covered = coverage(pooled, X[train], y[train])
    return {**scores, **covered, "seconds": seconds, "ratio": seconds / one_fit}


def coverage(pooled: PooledEstimator, X: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return the share of the complete data's coefficients in each kind of interval."""
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
    """Return a record per table, kind of missing values and seed."""
    records = []
    jobs = [(*table, *kind, s) for table in tables() for kind in MISSINGNESS for s in range(seeds)]
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("pooling", total=len(jobs))
        for name, X, y, model, mechanism, share, seed in jobs:
            progress.update(bar, description=f"{name}, {mechanism} {share}")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AutoencoderWarning)
                found = record(X, y, model, mechanism, share, seed, **options)
            which = {
                "table": name,
                "missing": f"{mechanism.upper()} {100 * share:.0f} %",
                "seed": seed,
            }
            records.append({**which, **found})
            progress.advance(bar)
    return records


def show(records: list[dict]) -> None:
    """Print a line per table and kind of missing values."""
    values = ("complete", "means", "single", "pooled", "rubin", "between", "seconds", "ratio")
    table = Table(title="R2 or accuracy; coverage of 0.95; mean over seeds", box=None)
    for column in ("table", "missing", *values):
        table.add_column(column, justify="left" if column in ("table", "missing") else "right")
    for name, kind in dict.fromkeys((r["table"], r["missing"]) for r in records):
        cells = [mean(records, value, table=name, missing=kind) for value in values]
        table.add_row(name, kind, *("" if np.isnan(cell) else f"{cell:.3f}" for cell in cells))
    show_table(table, width=120)


def main() -> None:
    """Run the benchmark, print its table and write its records."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1, help="splits (default 1)")
    parser.add_argument("--n-imputations", type=int, default=5, help="tables (default 5)")
    parser.add_argument("--max-iter", type=int, help="epochs of the imputers (default: automatic)")
    parser.add_argument("--json", type=Path, help="write every record here")
    arguments = parser.parse_args()
    records = measure(
        arguments.seeds,
        n_imputations=arguments.n_imputations,
        max_iter=arguments.max_iter,
    )
    show(records)
    write_json(arguments.json, records)


if __name__ == "__main__":
    main()

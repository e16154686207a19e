"""Error of imputers on masked cells of real tables, and their seconds.

At most 5,000 rows (`--max-rows`) of each table in random order, columns standardised on the first
70 %. Cells are masked completely at random (MCAR, 20 % and 50 %), or more often above the column's
mean (MNAR: 40 % there, 10 % below); with `--patterns`, by every mechanism of `make_missing`,
among them the patterns of MissBench. Imputers are fitted to the incomplete 70 % and complete the
other 30 %, with their default parameters. RMSE over the masked cells, in standard deviations.

Of imputers that draw, the fraction of masked cells between the 5 % and 95 % quantiles of 100 draws
is reported, too. ``--ablation`` completes the rows once more by parts of the fitted imputer:
without the nearest rows, and without the network. Peers run if they are installed: hyperimpute,
and MIDAS2 (midasverse-midas).

The score of MissBench (arXiv 2510.02625): the RMSE of each column over the standard deviation of
its masked values, averaged over columns, on a scale from 0 for the worst of the imputers of a
table and mechanism to 1 for the best, averaged over both. It depends on which imputers are
compared.
"""

from __future__ import annotations

import argparse
import copy
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from imputation_peers import imputers
from report import show_table, write_json
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.exceptions import ConvergenceWarning
from tables import add_data_argument, from_folder, mean, shipped

from skae import AutoencoderImputer, AutoencoderWarning, make_missing
from skae.impute._completion import GaussianCompletion
from skae.impute._missing_mechanisms import MECHANISMS as PATTERNS

DRAWS = 100
PARTS = ("skae, mechanism='mar'", "and without the nearest rows", "its Gaussian alone")
Mask = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def by_mean(below: float, above: float) -> Mask:
    """Return a mechanism with these probabilities of a masked cell below and above the mean."""
    return lambda X, rng: rng.uniform(size=X.shape) < np.where(X.mean(axis=0) < X, above, below)


def by_pattern(name: str, fraction: float) -> Mask:
    """Return a mechanism of `make_missing`."""

    def mask(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.isnan(make_missing(X, name, fraction, int(rng.integers(2**31))))

    return mask


def mechanisms(patterns: bool, fraction: float) -> dict[str, Mask]:
    """Return the mechanisms by name."""
    if patterns:
        return {name: by_pattern(name, fraction) for name in PATTERNS}
    return {
        "MCAR 20 %": by_mean(0.2, 0.2),
        "MCAR 50 %": by_mean(0.5, 0.5),
        "MNAR": by_mean(0.1, 0.4),
    }


def tables(folder: Path | None) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and the columns that vary of each table."""
    if folder is None:
        found = shipped()
    else:
        below = folder / "imputation"
        found = from_folder(below if below.is_dir() else folder)
    for name, X in found:
        yield name.rpartition("/")[2], X[:, X.std(axis=0) > 0]


def prepare(
    X: np.ndarray, mask: Mask, seed: int, max_rows: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return standardised rows, their masked cells, and how many rows are for training."""
    rng = np.random.default_rng(seed)
    X = X[rng.permutation(len(X))[:max_rows]]
    n = int(0.7 * len(X))
    std = X[:n].std(axis=0)
    X = (X - X[:n].mean(axis=0)) / np.where(std > 0, std, 1)
    return X, mask(X, rng), n


def coverage(imputer: Any, X_missing: np.ndarray, X: np.ndarray, seed: int) -> float:
    """Return the fraction of masked cells within 90 % intervals of draws, NaN without draws."""
    if not hasattr(imputer, "sample"):
        return np.nan
    draws = imputer.sample(X_missing, DRAWS, random_state=seed)
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    return float(((low <= X) & (high >= X))[np.isnan(X_missing)].mean())


def parts(imputer: AutoencoderImputer, X_missing: np.ndarray) -> dict[str, np.ndarray]:
    """Return rows as completed without a correction, without the nearest rows, by the Gaussian."""
    at_random = imputer._completion.at_random()
    network = getattr(at_random, "completion", at_random)
    gaussian = GaussianCompletion(network.mean, network.covariance, network.group_start)
    completed = {}
    for name, completion in zip(PARTS, (at_random, network, gaussian), strict=True):
        part = copy.copy(imputer)
        part._completion = completion
        completed[name] = part.transform(X_missing)
    return completed


def errors(completed: np.ndarray, X: np.ndarray, masked: np.ndarray) -> dict[str, float]:
    """Return the RMSE of the masked cells, and that of MissBench."""
    squares = np.where(masked, (completed - X) ** 2, 0)
    by_column = [
        np.sqrt(square[m].mean()) / x[m].std()
        for square, x, m in zip(squares.T, X.T, masked.T, strict=True)
        if m.any() and x[m].std() > 0
    ]
    return {
        "rmse": float(np.sqrt(squares[masked].mean())),
        "nrmse": float(np.mean(by_column)) if by_column else np.nan,
    }


def measure(
    makers: dict[str, Callable[[int], Any]],
    data: list[tuple[str, np.ndarray]],
    masks: dict[str, Mask],
    arguments: argparse.Namespace,
) -> list[dict[str, Any]]:
    """Return a record per table, mechanism, seed and imputer."""
    records = []
    jobs = [(*table, m, s) for table in data for m in masks for s in range(arguments.seeds)]
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("imputing", total=len(jobs))
        for name, X, mechanism, seed in jobs:
            progress.update(bar, description=f"{name}, {mechanism}")
            X, masked, n = prepare(X, masks[mechanism], seed, arguments.max_rows)
            X_missing = np.where(masked, np.nan, X)
            facts = {"table": name, "mechanism": mechanism, "seed": seed, "n_train": n}
            facts["n_features"] = X.shape[1]
            for label, make in makers.items():
                start = time.perf_counter()
                with warnings.catch_warnings():
                    for kind in (ConvergenceWarning, AutoencoderWarning, FutureWarning):
                        warnings.simplefilter("ignore", kind)
                    imputer = make(seed).fit(X_missing[:n])
                    completed = imputer.transform(X_missing[n:])
                own = {"seconds": time.perf_counter() - start}
                if not arguments.patterns:
                    own["coverage"] = coverage(imputer, X_missing[n:], X[n:], seed)
                own |= errors(completed, X[n:], masked[n:])
                records.append(facts | {"imputer": label} | own)
                if arguments.ablation and label == "skae":
                    for part, rows in parts(imputer, X_missing[n:]).items():
                        own = errors(rows, X[n:], masked[n:])
                        records.append(facts | {"imputer": part} | own)
            progress.advance(bar)
    return records


def time_of(n_rows: int, n_columns: int) -> float:
    """Return the seconds of a fit and transform of synthetic rows, 20 % of their cells missing."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(n_rows, 5))
    X = np.tanh(z @ rng.normal(size=(5, n_columns))) + 0.1 * rng.normal(size=(n_rows, n_columns))
    X[rng.uniform(size=X.shape) < 0.2] = np.nan
    start = time.perf_counter()
    AutoencoderImputer(random_state=0).fit_transform(X)
    return time.perf_counter() - start


def show(records: list[dict], masks: dict[str, Mask]) -> None:
    """Print a line per imputer."""
    table = Table(title="RMSE of masked cells, mean over tables and seeds; seconds", box=None)
    for column in ("imputer", *masks, "seconds", "worst / column means", "interval coverage"):
        table.add_column(column, justify="left" if column == "imputer" else "right")
    for name in dict.fromkeys(r["imputer"] for r in records):
        cells = [f"{mean(records, 'rmse', imputer=name, mechanism=m):.3f}" for m in masks]
        cells += ["", f"{worst(records, name):.3f}", ""]
        if name not in PARTS:
            cells[-3] = f"{mean(records, 'seconds', imputer=name):.1f}"
            covered = [mean(records, "coverage", imputer=name, mechanism=m) for m in masks]
            cells[-1] = "" if np.isnan(covered).any() else ", ".join(f"{c:.3f}" for c in covered)
        table.add_row(name, *cells)
    show_table(table, width=120)


def show_patterns(records: list[dict], masks: dict[str, Mask]) -> None:
    """Print a line per mechanism, and a column per imputer."""
    names = list(dict.fromkeys(r["imputer"] for r in records))
    table = Table(title="RMSE of masked cells, mean over tables and seeds", box=None)
    for column in ("mechanism", *names):
        table.add_column(column, justify="left" if column == "mechanism" else "right")
    for m in masks:
        figures = (mean(records, "rmse", imputer=name, mechanism=m) for name in names)
        table.add_row(m, *(f"{figure:.3f}" for figure in figures))
    table.add_row("mean", *(f"{mean(records, 'rmse', imputer=name):.3f}" for name in names))
    scored = [r | {"score": score} for r, score in zip(records, scores(records), strict=True)]
    table.add_row(
        "score of MissBench", *(f"{mean(scored, 'score', imputer=name):.3f}" for name in names)
    )
    seconds = (mean(records, "seconds", imputer=n) if n not in PARTS else np.nan for n in names)
    table.add_row("seconds", *("" if np.isnan(s) else f"{s:.1f}" for s in seconds))
    show_table(table, width=160)


def scores(records: list[dict]) -> list[float]:
    """Return MissBench's score of each record: 1 for the best of its case, 0 for the worst."""
    cases: dict[tuple, list[float]] = {}
    for r in records:
        cases.setdefault((r["table"], r["mechanism"], r["seed"]), []).append(r["nrmse"])
    found = []
    for r in records:
        of_case = cases[r["table"], r["mechanism"], r["seed"]]
        span = max(of_case) - min(of_case)
        found.append((max(of_case) - r["nrmse"]) / span if span > 0 else 1.0)
    return found


def show_tables(records: list[dict]) -> None:
    """Print a line per table and mechanism."""
    names = list(dict.fromkeys(r["imputer"] for r in records))
    each = Table(title="RMSE by table, mean over seeds", box=None)
    for column in ("table", "mechanism", "rows", "columns", *names):
        each.add_column(column, justify="left" if column in ("table", "mechanism") else "right")
    for key in dict.fromkeys((r["table"], r["mechanism"]) for r in records):
        rows = [r for r in records if (r["table"], r["mechanism"]) == key]
        facts = [str(rows[0][k]) for k in ("n_train", "n_features")]
        each.add_row(*key, *facts, *(f"{mean(rows, 'rmse', imputer=i):.3f}" for i in names))
    show_table(each, width=160)


def worst(records: list[dict], name: str) -> float:
    """Return an imputer's largest error relative to column means', by table and mechanism."""
    keys = {(r["table"], r["mechanism"]) for r in records}
    return max(
        mean(records, "rmse", imputer=name, table=t, mechanism=m)
        / mean(records, "rmse", imputer="column means", table=t, mechanism=m)
        for t, m in keys
    )


def parsed() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_argument(parser)
    parser.add_argument("--seeds", type=int, default=1, help="orders and masks (default 1)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these, and column means")
    parser.add_argument("--tables", nargs="+", metavar="NAME", help="these tables")
    parser.add_argument("--mechanisms", nargs="+", metavar="NAME", help="these mechanisms")
    parser.add_argument("--max-rows", type=int, default=5000, help="of a table (5000)")
    parser.add_argument("--patterns", action="store_true", help="all mechanisms of make_missing")
    parser.add_argument("--fraction", type=float, default=0.3, help="masked by patterns (0.3)")
    parser.add_argument("--ablation", action="store_true", help="errors of parts of the imputer")
    parser.add_argument("--detail", action="store_true", help="a line per table too")
    parser.add_argument("--json", type=Path, help="write every record here")
    parser.add_argument("--time", nargs=2, type=int, metavar=("ROWS", "COLUMNS"), help="only that")
    return parser.parse_args()


def main() -> None:
    """Measure, print, and write what was asked for."""
    arguments = parsed()
    if arguments.time:
        print(f"{time_of(*arguments.time):.1f} s")
        return
    data = list(tables(arguments.data))
    if arguments.tables:
        data = [table for table in data if table[0] in arguments.tables]
    makers = imputers()
    if arguments.only:
        makers = {n: makers[n] for n in makers if n in {*arguments.only, "column means"}}
    masks = mechanisms(arguments.patterns, arguments.fraction)
    if arguments.mechanisms:
        masks = {name: masks[name] for name in arguments.mechanisms}
    records = measure(makers, data, masks, arguments)
    (show_patterns if arguments.patterns else show)(records, masks)
    if arguments.detail:
        show_tables(records)
    write_json(arguments.json, records)


if __name__ == "__main__":
    main()

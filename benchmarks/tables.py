"""Real tables for the benchmarks: scikit-learn's own, or a folder of ``.npz`` files."""

from __future__ import annotations

import argparse
import gzip
import io
import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

SHIPPED = ("digits", "breast_cancer", "wine", "diabetes", "iris")


def shipped() -> Iterator[tuple[str, np.ndarray]]:
    """Yield the tables that scikit-learn ships."""
    for name in SHIPPED:
        yield name, getattr(datasets, f"load_{name}")().data


def from_folder(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield ``X`` of every file below a folder; of labelled anomalies, only the normal rows.

    A file with ``X_train`` holds images, whose rows are scaled to [0, 1].
    """
    paths = sorted(folder.rglob("*.npz"))
    if not paths:
        raise SystemExit(f"no .npz file below {folder}")
    for path in paths:
        with np.load(path) as file:
            if "X_train" in file:
                X = np.concatenate([file["X_train"], file["X_test"]])
                X = X.reshape(len(X), -1) / 255
            else:
                X = file["X"][file["y"] == 0] if "y" in file else file["X"]
        yield f"{path.parent.name}/{path.stem}", np.asarray(X, dtype=np.float64)


def passengers() -> pd.DataFrame:
    """Return the passengers of the Titanic, which scikit-learn's tests have a copy of."""
    folder = files("sklearn.datasets.tests.data.openml.id_40945")
    packed = (folder / "data-v1-dl-16826755.arff.gz").read_bytes()
    header, data = gzip.decompress(packed).decode().split("@data\n")
    names = [line.split("'")[1] for line in header.splitlines() if line.startswith("@attribute")]
    table = pd.read_csv(io.StringIO(data), names=names, na_values="?")
    return table[["pclass", "survived", "sex", "age", "sibsp", "parch", "fare", "embarked"]].astype(
        {
            "pclass": pd.CategoricalDtype([1, 2, 3], ordered=True),
            "survived": "boolean",
            "sibsp": "Int64",
            "parch": "Int64",
        }
    )


def split(X: np.ndarray, seed: int, max_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return 75 % and 25 % of at most so many rows, standardised on the former."""
    if 0 < max_rows < len(X):
        X = X[np.random.default_rng(seed).permutation(len(X))[:max_rows]]
    train, test = train_test_split(X, test_size=0.25, random_state=seed)
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test)


def add_data_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--data``: a folder, or without a value the one that ``SKAE_DATA`` names."""
    parser.add_argument(
        "--data",
        nargs="?",
        type=Path,
        const=Path(os.environ.get("SKAE_DATA", "SKAE_DATA is not set")),
        metavar="FOLDER",
        help="tables (.npz) to use beside scikit-learn's own; without a value, $SKAE_DATA",
    )


def mean(records: list[dict], value: str, **which: object) -> float:
    """Return the mean of a value over the records that match."""
    return float(np.mean([r[value] for r in records if all(r[k] == v for k, v in which.items())]))

"""Imputation of a real table of mixed columns: accuracy of categories, error of numbers.

Passengers of the Titanic (1,309 rows; some ages are missing in the table itself), with a further
fraction of the cells masked completely at random. Imputers are fitted to one half of the incomplete
rows and complete the other half; nearest neighbors use one-hot categories and standardised columns.
Errors of numbers are in standard deviations of their column.

    python benchmarks/mixed.py --seeds 5
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from report import show_table, write_json
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import mean, passengers

from skae import AutoencoderImputer, make_missing

LABELS = ["pclass", "survived", "sex", "embarked"]
NUMBERS = ["age", "sibsp", "parch", "fare"]
Completed = dict[str, np.ndarray]


def ours(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> Completed:
    """Impute by an autoencoder."""
    completed = AutoencoderImputer(random_state=seed).fit(train).transform(test)
    assert completed.dtypes.equals(test.dtypes)
    assert completed.index.equals(test.index)
    return {name: np.asarray(completed[name]) for name in completed}


def nearest_neighbors(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> Completed:
    """Impute the mean of the five nearest rows, and their most frequent category."""
    train, test = as_numbers(train), as_numbers(test)
    observed = {name: train[name].dropna().unique() for name in LABELS}

    def encoded(part: pd.DataFrame) -> np.ndarray:
        one_hot = [
            np.where(part[name].isna(), np.nan, part[name] == category)
            for name in LABELS
            for category in observed[name]
        ]
        return np.column_stack([*one_hot, part[NUMBERS]]).astype(float)

    imputer = make_pipeline(StandardScaler(), KNNImputer()).fit(encoded(train))
    imputed = imputer[0].inverse_transform(imputer.transform(encoded(test)))
    completed = dict(zip(NUMBERS, imputed[:, -len(NUMBERS) :].T, strict=True))
    start = 0
    for name, categories in observed.items():
        completed[name] = categories[imputed[:, start : start + len(categories)].argmax(axis=1)]
        start += len(categories)
    return completed


def most_frequent(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> Completed:
    """Impute the most frequent category, and the mean of numbers."""
    train, test = as_numbers(train), as_numbers(test)
    completed = {}
    for name in test:
        strategy = "most_frequent" if name in LABELS else "mean"
        imputer = SimpleImputer(strategy=strategy).fit(train[[name]])
        completed[name] = imputer.transform(test[[name]])[:, 0]
    return completed


IMPUTERS: dict[str, Callable[[pd.DataFrame, pd.DataFrame, int], Completed]] = {
    "AutoencoderImputer": ours,
    "KNNImputer, one-hot": nearest_neighbors,
    "modes and means": most_frequent,
}


def as_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return numbers as floats and categories as objects, with NaN for missing values."""
    objects, floats = frame[LABELS].astype(object), frame[NUMBERS].astype("Float64")
    floats = floats.apply(lambda column: column.to_numpy(float, na_value=np.nan))
    return objects.where(objects.notna(), np.nan).join(floats)


def measure(fraction: float, seeds: int) -> list[dict]:
    """Return a record per seed and imputer."""
    table, records = passengers(), []
    jobs = [(seed, name) for seed in range(seeds) for name in IMPUTERS]
    for seed, name in track(jobs, console=Console(stderr=True)):
        order = np.random.default_rng(seed).permutation(len(table))
        whole = table.iloc[order]
        X_missing = make_missing(whole, fraction=fraction, random_state=seed).astype(table.dtypes)
        half = len(table) // 2
        start = time.perf_counter()
        completed = IMPUTERS[name](X_missing[:half], X_missing[half:], seed)
        seconds = time.perf_counter() - start
        truth, test = as_numbers(whole[half:]), X_missing[half:]
        masked = (test.isna() & whole[half:].notna()).to_numpy()
        at = {column: masked[:, i] for i, column in enumerate(table)}
        is_right = [completed[c][at[c]] == truth[c].to_numpy()[at[c]] for c in LABELS]
        std = as_numbers(whole[:half])[NUMBERS].std()
        residuals = [
            (np.asarray(completed[c], float) - truth[c].to_numpy())[at[c]] / std[c] for c in NUMBERS
        ]
        records.append(
            {
                "imputer": name,
                "seed": seed,
                "accuracy": float(np.concatenate(is_right).mean()),
                "rmse": float(np.sqrt(np.mean(np.concatenate(residuals) ** 2))),
                "seconds": seconds,
            }
        )
    return records


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fraction", type=float, default=0.2, help="of cells masked (0.2)")
    parser.add_argument("--seeds", type=int, default=1, help="orders and masks (default 1)")
    parser.add_argument("--json", type=Path, help="write every record here")
    arguments = parser.parse_args()
    records = measure(arguments.fraction, arguments.seeds)
    table = Table(title="Masked cells of passengers, mean over seeds", box=None)
    for column in ("imputer", "accuracy of categories", "RMSE of numbers", "seconds"):
        table.add_column(column, justify="left" if column == "imputer" else "right")
    for name in IMPUTERS:
        figures = [mean(records, value, imputer=name) for value in ("accuracy", "rmse", "seconds")]
        table.add_row(name, f"{figures[0]:.3f}", f"{figures[1]:.3f}", f"{figures[2]:.1f}")
    show_table(table, width=100)
    write_json(arguments.json, records)


if __name__ == "__main__":
    main()

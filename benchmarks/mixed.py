"""A real table of mixed columns: how many hidden categories are filled right, and how far numbers.

Passengers of the Titanic (1,309 rows; ages are missing of themselves), with a further share of the
cells hidden by chance. Imputers are fitted to half of the rows with holes and fill the other half;
nearest neighbours see categories one-hot and all columns standardised. Errors of numbers are in
standard deviations of their column.

    python benchmarks/mixed.py --seeds 5
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import mean, passengers, write_json

from skae import AutoencoderImputer, make_missing

LABELS = ["pclass", "survived", "sex", "embarked"]
NUMBERS = ["age", "sibsp", "parch", "fare"]
Filled = dict[str, np.ndarray]


def ours(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> Filled:
    """Fill by an autoencoder."""
    filled = AutoencoderImputer(random_state=seed).fit(train).transform(test)
    assert filled.dtypes.equals(test.dtypes)
    assert filled.index.equals(test.index)
    return {name: np.asarray(filled[name]) for name in filled}


def neighbours(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> Filled:
    """Fill by the mean of five rows, categories by the most frequent one of these."""
    train, test = as_numbers(train), as_numbers(test)
    known = {name: train[name].dropna().unique() for name in LABELS}

    def encoded(part: pd.DataFrame) -> np.ndarray:
        own = [
            np.where(part[name].isna(), np.nan, part[name] == category)
            for name in LABELS
            for category in known[name]
        ]
        return np.column_stack([*own, part[NUMBERS]]).astype(float)

    imputer = make_pipeline(StandardScaler(), KNNImputer()).fit(encoded(train))
    said = imputer[0].inverse_transform(imputer.transform(encoded(test)))
    filled = dict(zip(NUMBERS, said[:, -len(NUMBERS) :].T, strict=True))
    start = 0
    for name, categories in known.items():
        filled[name] = categories[said[:, start : start + len(categories)].argmax(axis=1)]
        start += len(categories)
    return filled


def most_frequent(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> Filled:
    """Fill by the most frequent category, numbers by their mean."""
    train, test = as_numbers(train), as_numbers(test)
    filled = {}
    for name in test:
        strategy = "most_frequent" if name in LABELS else "mean"
        imputer = SimpleImputer(strategy=strategy).fit(train[[name]])
        filled[name] = imputer.transform(test[[name]])[:, 0]
    return filled


IMPUTERS: dict[str, Callable[[pd.DataFrame, pd.DataFrame, int], Filled]] = {
    "AutoencoderImputer": ours,
    "KNNImputer, one-hot": neighbours,
    "modes and means": most_frequent,
}


def as_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return numbers as floats and categories as objects, NaN for holes."""
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
        holed = make_missing(whole, fraction=fraction, random_state=seed).astype(table.dtypes)
        half = len(table) // 2
        start = time.perf_counter()
        filled = IMPUTERS[name](holed[:half], holed[half:], seed)
        seconds = time.perf_counter() - start
        truth, test = as_numbers(whole[half:]), holed[half:]
        hidden = (test.isna() & whole[half:].notna()).to_numpy()
        at = {column: hidden[:, i] for i, column in enumerate(table)}
        right = [filled[c][at[c]] == truth[c].to_numpy()[at[c]] for c in LABELS]
        std = as_numbers(whole[:half])[NUMBERS].std()
        away = [
            (np.asarray(filled[c], float) - truth[c].to_numpy())[at[c]] / std[c] for c in NUMBERS
        ]
        records.append(
            {
                "imputer": name,
                "seed": seed,
                "accuracy": float(np.concatenate(right).mean()),
                "rmse": float(np.sqrt(np.mean(np.concatenate(away) ** 2))),
                "seconds": seconds,
            }
        )
    return records


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fraction", type=float, default=0.2, help="of cells hidden (0.2)")
    parser.add_argument("--seeds", type=int, default=1, help="orders and holes (default 1)")
    parser.add_argument("--json", type=Path, help="write every record here")
    arguments = parser.parse_args()
    records = measure(arguments.fraction, arguments.seeds)
    table = Table(title="Hidden cells of passengers, mean over seeds", box=None)
    for column in ("imputer", "categories right", "RMSE of numbers", "seconds"):
        table.add_column(column, justify="left" if column == "imputer" else "right")
    for name in IMPUTERS:
        figures = [mean(records, value, imputer=name) for value in ("accuracy", "rmse", "seconds")]
        table.add_row(name, f"{figures[0]:.3f}", f"{figures[1]:.3f}", f"{figures[2]:.1f}")
    Console(width=100).print(table)
    write_json(arguments.json, records)


if __name__ == "__main__":
    main()

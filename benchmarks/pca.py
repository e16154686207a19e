"""Test reconstruction error of every autoencoder at its defaults, beside that of PCA.

Tables are standardised and split 75/25; codes have 2, d/4 and d/2 columns.

    python benchmarks/pca.py                                  scikit-learn's tables
    python benchmarks/pca.py --data FOLDER --seeds 3 --json out.json
"""

from __future__ import annotations

import argparse
import time
import warnings
from itertools import groupby
from pathlib import Path

import numpy as np
from report import show_table, write_json
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from tables import add_data_argument, from_folder, shipped, split

from skae import Autoencoder, AutoencoderWarning, LinearAutoencoder

AUTOENCODERS = [LinearAutoencoder, Autoencoder]


def code_sizes(d: int) -> list[int]:
    """Return 2, d/4 and d/2, as far as they are smaller than d."""
    return sorted({k for k in (2, d // 4, d // 2) if 0 < k < d})


def error(model, train: np.ndarray, test: np.ndarray) -> tuple[float, float]:
    """Return the test error of a fit and its seconds."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        # A fit that stays PCA shows as the ratio 1.
        warnings.simplefilter("ignore", AutoencoderWarning)
        model.fit(train)
    seconds = time.perf_counter() - start
    return float(np.mean((model.inverse_transform(model.transform(test)) - test) ** 2)), seconds


def measure(tables: list[tuple[str, np.ndarray]], seeds: int, max_rows: int) -> list[dict]:
    """Return a record per table, code size, seed and autoencoder."""
    records = []
    jobs = [(n, X, k, s) for n, X in tables for k in code_sizes(X.shape[1]) for s in range(seeds)]
    error(Autoencoder(1, max_iter=1), np.eye(8), np.eye(8))  # the first fit imports
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("fitting", total=len(jobs))
        for name, X, k, seed in jobs:
            progress.update(bar, description=f"{name}, {k} codes")
            train, test = split(X, seed, max_rows)
            by_pca, pca_seconds = error(PCA(k, random_state=seed), train, test)
            for autoencoder in AUTOENCODERS:
                by_model, seconds = error(autoencoder(k, random_state=seed), train, test)
                records.append(
                    {
                        "table": name,
                        "n_train": len(train),
                        "n_features": train.shape[1],
                        "n_components": k,
                        "seed": seed,
                        "autoencoder": autoencoder.__name__,
                        "error": by_model,
                        "pca_error": by_pca,
                        "ratio": by_model / by_pca,
                        "seconds": seconds,
                        "pca_seconds": pca_seconds,
                    }
                )
            progress.advance(bar)
    return records


def show(records: list[dict]) -> None:
    """Print a line per table and code size, means over the seeds."""
    names = [a.__name__ for a in AUTOENCODERS]
    table = Table(title="Test error; ratio = error / PCA's, at equal code size", box=None)
    for column in ("table", "rows", "columns", "codes", "PCA"):
        table.add_column(column, justify="left" if column == "table" else "right")
    for name in names:
        for column in (name, "ratio", "s"):
            table.add_column(column, justify="right")

    def key(r: dict) -> tuple:
        return (r["table"], r["n_train"], r["n_features"], r["n_components"])

    for (name, n, d, k), group in groupby(records, key=key):
        rows = list(group)
        cells = [name, str(n), str(d), str(k), f"{np.mean([r['pca_error'] for r in rows]):.4f}"]
        for autoencoder in names:
            own = [r for r in rows if r["autoencoder"] == autoencoder]
            ratio = np.mean([r["ratio"] for r in own])
            cells += [
                f"{np.mean([r['error'] for r in own]):.4f}",
                f"[{'green' if ratio < 0.99 else 'default'}]{ratio:.3f}[/]",
                f"{np.mean([r['seconds'] for r in own]):.1f}",
            ]
        table.add_row(*cells)
    show_table(table, width=120)
    for line in summary(records).values():
        print(line)


def summary(records: list[dict]) -> dict[str, str]:
    """Return per autoencoder its mean and its worst ratios."""
    lines = {}
    for autoencoder in (a.__name__ for a in AUTOENCODERS):
        own = [r for r in records if r["autoencoder"] == autoencoder]
        large = [r["ratio"] for r in own if r["n_train"] >= 500]
        small = [r for r in own if r["n_train"] < 500]
        means: dict[tuple, list[float]] = {}
        for r in small:
            means.setdefault((r["table"], r["n_components"]), []).append(r["ratio"])
        lines[autoencoder] = (
            f"{autoencoder}: geometric mean of the ratios "
            f"{np.exp(np.mean(np.log([r['ratio'] for r in own]))):.3f} over {len(own)} fits; "
            f"worst {max(large, default=np.nan):.4f} from 500 training rows on; below, "
            f"{max((r['ratio'] for r in small), default=np.nan):.4f}, mean over seeds "
            f"{max((np.mean(v) for v in means.values()), default=np.nan):.4f}"
        )
    return lines


def draw(path: Path, k: int = 8) -> None:
    """Draw one test digit of each class and its reconstructions from k codes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    X, y = load_digits(return_X_y=True)
    train, test = np.arange(1300), np.arange(1300, len(X))
    shown = [test[y[test] == digit][3] for digit in range(10)]
    rows = {"original": X[shown]}
    for model in (PCA(k), Autoencoder(k, random_state=0)):
        model.fit(X[train])
        x_hat = model.inverse_transform(model.transform(X))
        test_error = np.mean((x_hat[test] - X[test]) ** 2)
        rows[f"{type(model).__name__}\ntest error {test_error:.2f}"] = x_hat[shown]
    figure, axes = plt.subplots(3, 10, figsize=(9, 3.2), layout="constrained")
    for line, (label, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(line, images, strict=True):
            axis.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_color("0.8")
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    figure.suptitle(f"Digits from {k} numbers each", fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_argument(parser)
    parser.add_argument("--seeds", type=int, default=1, help="splits per table (default 1)")
    parser.add_argument("--max-rows", type=int, default=5000, help="0 for all (default 5000)")
    parser.add_argument("--json", type=Path, help="write every record here")
    parser.add_argument("--figure", type=Path, help="draw reconstructed digits here")
    arguments = parser.parse_args()
    tables = list(shipped())
    if arguments.data is not None:
        tables += list(from_folder(arguments.data))
    records = measure(tables, arguments.seeds, arguments.max_rows)
    show(records)
    write_json(arguments.json, records, summary=summary(records))
    if arguments.figure is not None:
        draw(arguments.figure)
        print(f"digits drawn in {arguments.figure}")


if __name__ == "__main__":
    main()

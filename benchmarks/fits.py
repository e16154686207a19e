"""Whole fits at defaults: how long they take, and how good they are beside PCA.

Every autoencoder is fitted with its default parameters to standardised iris, diabetes and digits,
without a fixed quarter of the rows. Of that quarter are the objective that the fit minimises, with
the penalty and any noise (the mean of 20 draws; in units of the variance, or nats per column for
the variational one), and the reconstruction error. PCA has as many components as a code has entries
other than 0 on average. Figures are medians over fits of different seeds.

    python benchmarks/fits.py --json fits.json
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from statistics import median

import numpy as np
import torch
from report import show_table, write_json
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.decomposition import PCA
from tables import SHIPPED, shipped, split

import skae
from skae.data import Batch, Random

AUTOENCODERS = (
    skae.Autoencoder,
    skae.SparseAutoencoder,
    skae.KSparseAutoencoder,
    skae.DenoisingAutoencoder,
    skae.ContractiveAutoencoder,
    skae.VariationalAutoencoder,
)
TABLES = ("iris", "diabetes", "digits")
N_DRAWS = 20


def objective(model: skae.base.BaseAutoencoder, X: np.ndarray) -> float:
    """Return the mean of what the fit minimises, over samples that it has not seen."""
    module, fitted = model.module_, model._with_fit_params()
    like = module.output_bias.detach()
    x, observed = model._conditioning.apply(X, like.dtype)
    weight, progress = torch.ones(len(x)).to(like), torch.ones(()).to(like)
    totals = []
    for seed in range(N_DRAWS):
        batch = Batch(x, observed, weight, progress, random=Random(seed, like))
        with torch.no_grad():
            totals.append(float(sum(fitted._objective(module, batch).values()).mean()))
    return float(np.mean(totals))


def pca_error(train: np.ndarray, test: np.ndarray, n_components: int) -> float:
    """Return the mean squared error of PCA."""
    pca = PCA(n_components).fit(train)
    return float(np.mean((pca.inverse_transform(pca.transform(test)) - test) ** 2))


def measure(autoencoder: type, train: np.ndarray, test: np.ndarray, seed: int) -> dict:
    """Return the figures of a fit."""
    model = autoencoder(random_state=seed)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", skae.AutoencoderWarning)
        model.fit(train)
    seconds = time.perf_counter() - start
    n_active = float(np.mean(np.count_nonzero(model.transform(test), axis=1)))
    n_axes = min(max(1, round(n_active)), *train.shape)
    return {
        "seconds": seconds,
        "epochs": model.n_iter_,
        "best_epoch": model.best_epoch_,
        "codes": model.n_components_,
        "active": n_active,
        "objective": objective(model, test),
        "error": float(np.mean((model.reconstruct(test) - test) ** 2)),
        "pca_error": pca_error(train, test, n_axes),
    }


def show(records: list[dict]) -> None:
    """Print a line per table and autoencoder, medians over the seeds."""
    table = Table(title="Whole fits at defaults", box=None, title_justify="left")
    columns = ("s", "epochs", "best", "codes", "active", "objective", "error", "PCA's", "ratio")
    for column in ("table", "autoencoder", *columns):
        left = column in ("table", "autoencoder")
        table.add_column(column, justify="left" if left else "right")
    for labels in dict.fromkeys((r["table"], r["autoencoder"]) for r in records):
        of = [r for r in records if (r["table"], r["autoencoder"]) == labels]
        m = {
            key: median(r[key] for r in of) for key in of[0] if key not in ("table", "autoencoder")
        }
        is_exact = m["pca_error"] < 1e-9
        table.add_row(
            *labels,
            f"{m['seconds']:.2f}",
            *(f"{m[key]:.0f}" for key in ("epochs", "best_epoch", "codes")),
            f"{m['active']:.1f}",
            *(f"{m[key]:.4f}" for key in ("objective", "error", "pca_error")),
            "" if is_exact else f"{m['error'] / m['pca_error']:.3f}",
        )
    show_table(table, width=130)


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="fits of different seeds")
    parser.add_argument("--tables", nargs="+", choices=SHIPPED, default=list(TABLES))
    parser.add_argument("--json", type=Path, help="write every record here")
    arguments = parser.parse_args()
    jobs = [
        (name, autoencoder, *split(X, seed=0, max_rows=0), seed)
        for name, X in shipped()
        if name in arguments.tables
        for autoencoder in AUTOENCODERS
        for seed in range(arguments.repeats)
    ]
    measure(skae.Autoencoder, *split(np.random.default_rng(0).random((40, 3)), 0, 0), 0)  # imports
    records = []
    for name, autoencoder, train, test, seed in track(jobs, console=Console(stderr=True)):
        figures = measure(autoencoder, train, test, seed)
        records.append(
            {"table": name, "autoencoder": autoencoder.__name__, "seed": seed, **figures}
        )
    show(records)
    write_json(arguments.json, records)


if __name__ == "__main__":
    main()

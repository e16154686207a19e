"""What codes are worth: every autoencoder and PCA at equal code size, on digits or MNIST.

All at their defaults, but for what a line of the table names. Errors are mean squared errors of
test rows divided by those of the training mean, so that the mean has 1. Probes, neighbours and
retrieval learn from clean training codes; the second table corrupts the test rows. On digits, a
third asks classifiers to tell test rows from samples: of the variational autoencoder, and of
Gaussian mixtures of PCA's codes and of its own. MNIST is read from $SKAE_DATA/images/mnist.npz.

    python benchmarks/representation.py --seeds 3 --json out.json
    python benchmarks/representation.py --data mnist
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from report import show_table, write_json
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import trustworthiness
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import StratifiedKFold, cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from skae import (
    Autoencoder,
    AutoencoderWarning,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    KSparseAutoencoder,
    SparseAutoencoder,
    VariationalAutoencoder,
)

NARROW = [
    (PCA, {}),
    (Autoencoder, {}),
    (DenoisingAutoencoder, {}),
    (DenoisingAutoencoder, {"noise": "masking"}),
    (ContractiveAutoencoder, {"alpha": 0}),
    (ContractiveAutoencoder, {}),
    (VariationalAutoencoder, {}),
]
WIDE = [
    (PCA, {}),  # as wide as there are columns
    (SparseAutoencoder, {"alpha": 0}),  # a plain ReLU code
    (SparseAutoencoder, {}),
    (SparseAutoencoder, {"penalty": "kl"}),
    (KSparseAutoencoder, {}),
    (KSparseAutoencoder, {"selection": "batch"}),
    (KSparseAutoencoder, {"positive_code": True}),
    (KSparseAutoencoder, {"positive_code": True, "mask_ratio": 0.3}),
]
SIZES = {"digits": (8, 128), "mnist": (32, 1000)}
CORRUPTIONS = ("gaussian", "masking", "salt_and_pepper")
QUALITIES = ("error", "probe", "knn", "precision_at_10", "trustworthiness", "zeros", "seconds")
ROBUSTNESS = [f"{c}_{what}" for c in CORRUPTIONS for what in ("error", "probe")] + ["displacement"]
GRID = (0.01, 0.1, 1, 10)  # C of the probe
CHOOSE, DATABASE, QUERIES = 10_000, 10_000, 2_000  # rows at most, where all would take hours
QUICK = {"max_iter": 5}


class Data(NamedTuple):
    """Rows in [0, 1] and their digits."""

    train: np.ndarray
    test: np.ndarray
    y_train: np.ndarray
    y_test: np.ndarray

    def corrupted(self, corruption: str, seed: int) -> np.ndarray:
        """Return corrupted test rows: 0.5 deviations of noise, 30 % mean or 20 % extremes."""
        rng = np.random.default_rng([seed, CORRUPTIONS.index(corruption)])
        X, columns = self.test, self.train
        chance = rng.random(X.shape)
        if corruption == "gaussian":
            X = X + 0.5 * columns.std(axis=0) * rng.standard_normal(X.shape)
        elif corruption == "masking":
            X = np.where(chance < 0.3, columns.mean(axis=0), X)
        else:
            X = np.where(chance < 0.1, columns.min(axis=0), X)
            X = np.where(chance > 0.9, columns.max(axis=0), X)
        return X.astype(self.test.dtype)

    def relative_error(self, x_hat: np.ndarray) -> float:
        """Return the squared error of reconstructed test rows beside that of the training mean."""
        by_mean = np.mean((self.test - self.train.mean(axis=0)) ** 2, dtype=float)
        return float(np.mean((self.test - x_hat) ** 2, dtype=float) / by_mean)


def load(name: str, quick: bool) -> Data:
    """Return the first 1,300 digits and the rest, or MNIST as it is split, in float32."""
    if name == "digits":
        X, y = load_digits(return_X_y=True)
        return Data(X[:1300] / 16, X[1300:] / 16, y[:1300], y[1300:])
    if "SKAE_DATA" not in os.environ:
        raise SystemExit("SKAE_DATA is not set; it names the folder of images/mnist.npz")
    n_train, n_test = (3000, 1000) if quick else (60_000, 10_000)
    with np.load(Path(os.environ["SKAE_DATA"]) / "images" / "mnist.npz") as file:
        rows = [
            file[key][:n].reshape(n, -1) / np.float32(255)
            for key, n in (("X_train", n_train), ("X_test", n_test))
        ]
        return Data(*rows, file["y_train"][:n_train], file["y_test"][:n_test])


def lineup(data: Data, name: str, seed: int, quick: bool) -> Iterator[tuple[str, object]]:
    """Yield a label and an unfitted model of each kind, narrow codes first."""
    for kinds, k in zip((NARROW, WIDE), SIZES[name], strict=True):
        for kind, changed in kinds:
            label = ", ".join([kind.__name__, *(f"{n}={v}" for n, v in changed.items())])
            width = min(k, data.train.shape[1]) if kind is PCA else k
            extra = QUICK if quick and kind is not PCA else {}
            yield label, kind(n_components=width, random_state=seed, **changed, **extra)


def seconds_of_fit(model, X: np.ndarray) -> float:
    """Fit and return how long it took."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AutoencoderWarning)
        model.fit(X)
    return time.perf_counter() - start


def linear_probe(Z: np.ndarray, y: np.ndarray, seed: int) -> Callable[..., float]:
    """Return the accuracy of a logistic regression of codes in units of their overall spread.

    Its C is the one of the grid that does best on a fifth of the training rows.
    """
    scale = np.sqrt(Z.var(axis=0).mean())

    def fit(Z: np.ndarray, y: np.ndarray, c: float) -> LogisticRegression:
        return LogisticRegression(C=c, max_iter=300, tol=1e-3).fit(Z / scale, y)

    a, b, y_a, y_b = train_test_split(
        Z[:CHOOSE], y[:CHOOSE], test_size=0.2, stratify=y[:CHOOSE], random_state=seed
    )
    best = max(GRID, key=lambda c: fit(a, y_a, c).score(b / scale, y_b))
    probe = fit(Z, y, best)
    return lambda Z, y: float(probe.score(Z / scale, y))


def neighbours(data: Data, Z: np.ndarray, z_test: np.ndarray) -> tuple[float, float]:
    """Return the accuracy of 5 nearest neighbours, and the precision of the 10 nearest."""
    known, y = Z[:DATABASE], data.y_train[:DATABASE]
    asked, y_asked = z_test[:QUERIES], data.y_test[:QUERIES]
    knn = KNeighborsClassifier(5, algorithm="brute").fit(known, y)
    nearest = knn.kneighbors(asked, 10, return_distance=False)
    return knn.score(asked, y_asked), float((y[nearest] == y_asked[:, None]).mean())


def evaluate(model, data: Data, seed: int) -> dict[str, float]:
    """Fit a model and return all its figures."""
    seconds = seconds_of_fit(model, data.train)
    Z, z_test = model.transform(data.train), model.transform(data.test)
    probe = linear_probe(Z, data.y_train, seed)
    knn, precision = neighbours(data, Z, z_test)
    figures = {
        "error": data.relative_error(model.inverse_transform(z_test)),
        "probe": probe(z_test, data.y_test),
        "knn": knn,
        "precision_at_10": precision,
        "trustworthiness": trustworthiness(data.test[:QUERIES], z_test[:QUERIES]),
        "zeros": float((z_test == 0).mean()),
        "seconds": seconds,
    }
    for corruption in CORRUPTIONS:
        z_corrupted = model.transform(data.corrupted(corruption, seed))
        figures[f"{corruption}_error"] = data.relative_error(model.inverse_transform(z_corrupted))
        figures[f"{corruption}_probe"] = probe(z_corrupted, data.y_test)
        if corruption == "gaussian":
            moved = np.mean((z_corrupted - z_test) ** 2, axis=0, dtype=float).sum()
            figures["displacement"] = float(np.sqrt(moved / z_test.var(axis=0, dtype=float).sum()))
    return figures


def measure(data: Data, name: str, seeds: int, quick: bool, models: list[str] | None) -> list[dict]:
    """Return a record per seed and model."""
    seconds_of_fit(Autoencoder(1, max_iter=1), np.eye(8))  # the first fit imports
    jobs = [
        (seed, label, model)
        for seed in range(seeds)
        for label, model in lineup(data, name, seed, quick)
        if models is None or label in models
    ]
    return [
        {
            "data": name,
            "model": label,
            "n_components": model.n_components,
            "seed": seed,
            **evaluate(model, data, seed),
        }
        for seed, label, model in track(jobs, "fitting", console=Console(stderr=True))
    ]


def mixture_of(Z: np.ndarray, seed: int) -> GaussianMixture:
    """Return the mixture of at most 20 Gaussians with the best BIC."""
    mixtures = (GaussianMixture(m, random_state=seed).fit(Z) for m in range(1, 21))
    return min(mixtures, key=lambda mixture: mixture.bic(Z))


def samples(data: Data, k: int, seed: int, quick: bool) -> Iterator[tuple[str, np.ndarray]]:
    """Yield as many rows as there are test rows, from each model of the training rows."""
    n, rng = len(data.test), np.random.default_rng(seed)
    yield "training rows", data.train[rng.permutation(len(data.train))[:n]]
    vae = VariationalAutoencoder(k, random_state=seed, **(QUICK if quick else {}))
    seconds_of_fit(vae, data.train)
    pca = PCA(k, random_state=seed).fit(data.train)
    for noise in (True, False):
        label = f"VariationalAutoencoder.sample, noise={noise}"
        yield label, vae.sample(n, noise=noise, random_state=seed)
    mean, std = vae.posterior(data.train)
    drawn = mean + std * rng.standard_normal(mean.shape)
    for model, Z in ((pca, pca.transform(data.train)), (vae, drawn)):
        X = model.inverse_transform(mixture_of(Z, seed).sample(n)[0])
        residual = np.sqrt(model.noise_variance_) * rng.standard_normal(X.shape)
        for noise in (True, False):
            label = f"GaussianMixture of codes of {type(model).__name__}, noise={noise}"
            yield label, X + residual if noise else X


def two_sample(data: Data, k: int, seeds: int, quick: bool) -> list[dict]:
    """Return how well classifiers tell test rows from samples, 0.5 being not at all.

    As drawn, and rounded to the sixteenths in [0, 1] that the rows are made of.
    """
    n = len(data.test)
    y = np.repeat([0, 1], n)
    records = []
    for seed in range(seeds):
        classifiers = {"forest": RandomForestClassifier(random_state=seed), "svc": SVC()}
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        for label, drawn in samples(data, k, seed, quick):
            record: dict = {"model": label, "n_components": k, "seed": seed}
            for form, X in (("drawn", drawn), ("rounded", np.rint(16 * drawn.clip(0, 1)) / 16)):
                for name, classifier in classifiers.items():
                    both = np.concatenate([data.test, X])
                    score = cross_val_score(classifier, both, y, cv=folds)
                    record[f"{name}, {form}"] = float(score.mean())
            records.append(record)
    return records


def show(title: str, records: list[dict], columns: list[str]) -> None:
    """Print a line per model, means over the seeds, and how much a seed matters."""
    table = Table(title=title, box=None, title_justify="left")
    for column in ("model", "codes", *columns):
        header = column.replace("salt_and_pepper", "s&p").replace("_", " ")
        first = column == "model"
        table.add_column(header, justify="left" if first else "right", no_wrap=first)
    groups: dict[tuple, list] = {}
    for r in records:
        groups.setdefault((r["model"], r["n_components"]), []).append([r[c] for c in columns])
    digits = [1 if column == "seconds" else 3 for column in columns]
    for (model, k), rows in groups.items():
        mean = np.mean(rows, axis=0)
        cells = (f"{m:.{n}f}" for m, n in zip(mean, digits, strict=True))
        table.add_row(model, str(k), *cells)
    if len({r["seed"] for r in records}) > 1:
        spread = np.max([np.std(rows, axis=0, ddof=1) for rows in groups.values()], axis=0)
        cells = (f"{s:.{n}f}" for s, n in zip(spread, digits, strict=True))
        table.add_row("largest standard deviation over seeds", "", *cells, style="dim")
    show_table(table, width=150)


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=list(SIZES), default="digits")
    parser.add_argument("--seeds", type=int, default=1, help="fits per model (default 1)")
    parser.add_argument("--quick", action="store_true", help="5 epochs, 4,000 rows: does it run?")
    parser.add_argument("--models", nargs="*", metavar="LABEL", help="as the table names them")
    parser.add_argument("--json", type=Path, help="write every record here")
    arguments = parser.parse_args()
    name, seeds, quick = arguments.data, arguments.seeds, arguments.quick
    data = load(name, quick)
    records = measure(data, name, seeds, quick, arguments.models)
    note = f" ({QUICK['max_iter']} epochs)" if quick else ""
    show(f"Codes of {name}{note}", records, list(QUALITIES))
    show(f"Corrupted rows of {name}: error and probe; displacement of codes", records, ROBUSTNESS)
    told: list[dict] = []
    if name == "digits" and arguments.models is None:
        told = two_sample(data, SIZES[name][0], seeds, quick)
        forms = [f"{c}, {form}" for form in ("drawn", "rounded") for c in ("forest", "svc")]
        show(f"Accuracy of telling samples from test rows{note}", told, forms)
    write_json(arguments.json, records, two_sample=told)


if __name__ == "__main__":
    main()

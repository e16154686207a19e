"""Classification and regression from few labels, against the methods that one would use instead.

Labels are drawn at random, stratified by class, at least two of each; all other training rows are
unlabelled. Every model has its default parameters except those that are named.

    python benchmarks/few_labels.py --seeds 3              scikit-learn's tables, 5 % labelled
    python benchmarks/few_labels.py --folder FOLDER        and .npz files with X and y of it
    python benchmarks/few_labels.py --pretraining          the autoencoders to start from, instead
    python benchmarks/few_labels.py --data mnist           $SKAE_DATA/images/mnist.npz, 100 and
                                                           1,000 labels of 60,000 images
    python benchmarks/few_labels.py --data photographs     crops of seven colour photographs, which
                                                           are the classes; 20 labels of each
    python benchmarks/few_labels.py --figure few.png       accuracy against the number of labels

Published for MNIST, all other images unlabelled: M1 with a transductive SVM 88.2 and 95.8 %, M1+M2
96.7 and 97.6 % with 100 and 1,000 labels (Kingma et al. 2014).
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from report import show_table, write_json
from rich.table import Table
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeCV
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier

from skae import (
    Autoencoder,
    AutoencoderClassifier,
    AutoencoderRegressor,
    AutoencoderWarning,
    DenoisingAutoencoder,
    MaskedAutoencoder,
    VariationalAutoencoder,
    ViT,
)
from skae.base import BaseAutoencoder

MAX_ROWS = 5000
SHIPPED = ("digits", "breast_cancer", "wine", "iris")
FILES = ("cardio", "fault", "satellite", "spambase", "waveform")
QUICK = {"max_iter": 2}
SIDE = 32  # of a crop of a photograph


class Scratch:
    """The same network from random weights: fine-tuned on the labels, without any pretraining."""

    def __init__(self, autoencoder: BaseAutoencoder, seed: int, cls: type, **params: Any):
        self.autoencoder, self.params = autoencoder, params
        self.model = cls(prefit=True, fine_tune="all", layer_decay=1.0, random_state=seed, **params)

    def fit(self, X: np.ndarray, y: np.ndarray) -> Scratch:
        """Fit to all rows, which only conditions them, and train on the labelled ones."""
        self.model.estimator = self.autoencoder._fit_start(X)
        self.model.fit(X, y)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predict by the network."""
        return self.model.predict(X)


class Labelled:
    """A supervised model, fitted to the labelled rows; codes of all rows before, if there are."""

    def __init__(self, model: Any, codes: Any = None):
        self.model, self.codes = model, codes

    def fit(self, X: np.ndarray, y: np.ndarray) -> Labelled:
        """Fit to the rows that have a label."""
        known = ~np.isnan(y) if y.dtype.kind == "f" else y != -1
        Z = X if self.codes is None else self.codes.fit(X).transform(X)
        self.model.fit(Z[known], y[known])
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predict by the model."""
        return self.model.predict(X if self.codes is None else self.codes.transform(X))


def logistic(y: np.ndarray) -> Any:
    """Return logistic regression with a penalty by cross-validation, if there are labels enough."""
    counts = np.unique(y[y != -1], return_counts=True)[1]
    if counts.min() < 2:
        return LogisticRegression(max_iter=1000)
    return LogisticRegressionCV(
        Cs=7,
        cv=min(5, int(counts.min())),
        max_iter=1000,
        use_legacy_attributes=False,
        l1_ratios=(0,),
        scoring="neg_log_loss",
    )


def classifiers(
    X: np.ndarray, y: np.ndarray, seed: int, autoencoder: Any, k: int, quick: bool
) -> dict[str, Callable[[], Any]]:
    """Return what makes each model, given the rows, the labels and a fitted autoencoder."""
    own = {"prefit": True, "random_state": seed, **(QUICK if quick else {})}
    tuned = {ft: AutoencoderClassifier(autoencoder, fine_tune=ft, **own) for ft in FINE_TUNE}
    new = {"architecture": autoencoder.architecture_} if autoencoder.architecture_ else {}
    start = Autoencoder(autoencoder.n_components_, init="random", random_state=seed, **new)
    params = QUICK if quick else {}
    return {
        **{f"AutoencoderClassifier, {ft}": lambda m=m: m for ft, m in tuned.items()},
        "same network from scratch": lambda: Scratch(start, seed, AutoencoderClassifier, **params),
        "logistic regression": lambda: Labelled(logistic(y)),
        "logistic regression of PCA codes": lambda: Labelled(logistic(y), PCA(k)),
        "SelfTrainingClassifier": lambda: make_pipeline(
            PCA(k), SelfTrainingClassifier(LogisticRegression(max_iter=1000))
        ),
        "LabelSpreading": lambda: LabelSpreading(kernel="knn", n_neighbors=10),
        "HistGradientBoosting": lambda: Labelled(HistGradientBoostingClassifier(random_state=seed)),
    }


FINE_TUNE = ("head", "all", "auto")


def regressors(seed: int, autoencoder: Any, k: int, quick: bool) -> dict[str, Callable[[], Any]]:
    """Return what makes each model, given a fitted autoencoder."""
    own = {"prefit": True, "random_state": seed, **(QUICK if quick else {})}
    tuned = {ft: AutoencoderRegressor(autoencoder, fine_tune=ft, **own) for ft in FINE_TUNE}
    start = Autoencoder(autoencoder.n_components_, init="random", random_state=seed)
    params = QUICK if quick else {}
    return {
        **{f"AutoencoderRegressor, {ft}": lambda m=m: m for ft, m in tuned.items()},
        "same network from scratch": lambda: Scratch(start, seed, AutoencoderRegressor, **params),
        "ridge regression": lambda: Labelled(RidgeCV(np.logspace(-3, 3, 13))),
        "ridge regression of PCA codes": lambda: Labelled(RidgeCV(np.logspace(-3, 3, 13)), PCA(k)),
        "HistGradientBoosting": lambda: Labelled(HistGradientBoostingRegressor(random_state=seed)),
    }


def draw_labels(y: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Return y with -1 for all rows but about n, stratified, at least two of each class."""
    rng = np.random.default_rng(seed)
    few = np.full(len(y), -1)
    for k, count in zip(*np.unique(y, return_counts=True), strict=True):
        which = rng.permutation(np.flatnonzero(y == k))[: max(2, round(n * count / len(y)))]
        few[which] = k
    return few


def tables(
    folder: Path | None, names: Sequence[str]
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, rows and classes of each table; of at most so many rows."""
    for name in SHIPPED:
        if name in names:
            yield name, *getattr(datasets, f"load_{name}")(return_X_y=True)
    for name in FILES if folder is not None else ():
        if name not in names:
            continue
        with np.load(next(folder.rglob(f"{name}.npz"))) as file:
            X, y = file["X"].astype(np.float64), file["y"].astype(int)
        if len(X) > MAX_ROWS:
            X, _, y, _ = train_test_split(X, y, train_size=MAX_ROWS, stratify=y, random_state=0)
        yield name, X, y


def standardized_split(X: np.ndarray, y: np.ndarray, seed: int) -> tuple[np.ndarray, ...]:
    """Return training and test rows, standardised, and their classes."""
    train, test, *classes = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test), *classes


def on_tables(
    folder: Path | None, names: Sequence[str], seeds: int, share: float, quick: bool
) -> Iterator[dict]:
    """Yield a record per table, seed and model."""
    for seed in range(seeds):
        for name, X, y in tables(folder, names):
            train, test, y_train, y_test = standardized_split(X, y, seed)
            few = draw_labels(y_train, round(share * len(y_train)), seed)
            autoencoder = default_autoencoder(seed, quick).fit(train)
            k = min(16, train.shape[1])
            for model, make in classifiers(train, few, seed, autoencoder, k, quick).items():
                begin = time.perf_counter()
                predicted = make().fit(train, few).predict(test)
                yield {
                    "data": name,
                    "seed": seed,
                    "model": model,
                    "labels": int((few != -1).sum()),
                    "accuracy": float((predicted == y_test).mean()),
                    "balanced": float(balanced_accuracy_score(y_test, predicted)),
                    "seconds": time.perf_counter() - begin,
                }


def on_autoencoders(
    folder: Path | None, names: Sequence[str], seeds: int, share: float, quick: bool
) -> Iterator[dict]:
    """Yield a record per table, seed, autoencoder and way of learning from labels."""
    for seed in range(seeds):
        own = {"random_state": seed, **(QUICK if quick else {})}
        compared = {
            "Autoencoder(0.95)": Autoencoder(0.95, **own),
            "DenoisingAutoencoder(0.95)": DenoisingAutoencoder(0.95, **own),
            "VariationalAutoencoder(0.95)": VariationalAutoencoder(0.95, **own),
        }
        for ratio in (0.15, 0.3, 0.5, 0.75):
            masked = MaskedAutoencoder(mask_ratio=ratio, **own)
            compared[f"MaskedAutoencoder(mask_ratio={ratio})"] = masked
        for name, X, y in tables(folder, names):
            train, test, y_train, y_test = standardized_split(X, y, seed)
            few = draw_labels(y_train, round(share * len(y_train)), seed)
            for model, autoencoder in compared.items():
                autoencoder.fit(train)
                for fine_tune in ("head", "auto"):
                    classifier = AutoencoderClassifier(
                        autoencoder, fine_tune=fine_tune, prefit=True, **own
                    )
                    accuracy = float(classifier.fit(train, few).score(test, y_test))
                    kind = f"{model}, {fine_tune}"
                    yield {"data": name, "seed": seed, "model": kind, "accuracy": accuracy}


def on_diabetes(seeds: int, n_labels: tuple[int, ...], quick: bool) -> Iterator[dict]:
    """Yield a record of R2 per number of targets, seed and model."""
    X, y = datasets.load_diabetes(return_X_y=True)
    for seed in range(seeds):
        train, test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=seed)
        scaler = StandardScaler().fit(train)
        train, test = scaler.transform(train), scaler.transform(test)
        autoencoder = default_autoencoder(seed, quick).fit(train)
        for n in n_labels:
            known = np.random.default_rng(seed).permutation(len(train))[:n]
            few = np.full(len(train), np.nan)
            few[known] = y_train[known]
            for model, make in regressors(seed, autoencoder, train.shape[1], quick).items():
                predicted = make().fit(train, few).predict(test)
                r2 = 1 - ((predicted - y_test) ** 2).mean() / y_test.var()
                yield {"data": f"{n} targets", "seed": seed, "model": model, "r2": float(r2)}


def default_autoencoder(seed: int, quick: bool) -> BaseAutoencoder:
    """Return the autoencoder that the classifier fits by default."""
    model = AutoencoderClassifier()._estimator()
    return model.set_params(random_state=seed, **({"max_iter": 5} if quick else {}))


def mnist() -> tuple[np.ndarray, ...]:
    """Return training and test images in [0, 1], as rows, and their classes."""
    with np.load(Path(os.environ["SKAE_DATA"]) / "images" / "mnist.npz") as file:
        X, X_test = (
            file[name].reshape(len(file[name]), -1).astype(np.float32) / 255
            for name in ("X_train", "X_test")
        )
        return X, file["y_train"].astype(int), X_test, file["y_test"].astype(int)


def image_autoencoder(seed: int, name: str, quick: bool) -> BaseAutoencoder:
    """Return the autoencoder for MNIST."""
    own = {"random_state": seed, **({"max_iter": 1} if quick else {})}
    if name == "dense":
        own = {"max_iter": 8, "early_stopping": False} | own
        return Autoencoder(32, hidden_layer_sizes=(512, 256), **own)
    architecture = ViT(image_shape=(28, 28), patch_size=4)
    return MaskedAutoencoder(architecture=architecture, **own)


def on_mnist(seeds: int, n_labels: tuple[int, ...], name: str, quick: bool) -> Iterator[dict]:
    """Yield a record per number of labels, seed and model."""
    X, y, X_test, y_test = mnist()
    if quick:
        X, y = X[:3000], y[:3000]
    autoencoder = image_autoencoder(0, name, quick)
    begin = time.perf_counter()
    autoencoder.fit(X)
    print(f"pretraining: {time.perf_counter() - begin:.0f} s")
    k = autoencoder.n_components_
    for seed in range(seeds):
        for n in n_labels:
            few = draw_labels(y, n, seed)
            for model, make in classifiers(X, few, seed, autoencoder, k, quick).items():
                if model == "HistGradientBoosting":
                    continue
                begin = time.perf_counter()
                predicted = make().fit(X, few).predict(X_test)
                yield {
                    "data": f"{n} labels",
                    "seed": seed,
                    "model": model,
                    "accuracy": float((predicted == y_test).mean()),
                    "seconds": time.perf_counter() - begin,
                }
        probe = LogisticRegression(max_iter=200)
        for label, codes in (("linear probe", autoencoder), ("linear probe of PCA", PCA(k).fit(X))):
            probe.fit(codes.transform(X[:10_000]), y[:10_000])
            accuracy = float(probe.score(codes.transform(X_test), y_test))
            yield {"data": "10,000 labels", "seed": seed, "model": label, "accuracy": accuracy}


def crops(n: int, seed: int) -> tuple[np.ndarray, ...]:
    """Return crops of photographs and their numbers, of left parts and of right parts."""
    from skimage import data

    names = ("astronaut", "coffee", "chelsea", "rocket")
    images = [*datasets.load_sample_images().images, *(getattr(data, name)() for name in names)]
    images.append(data.stereo_motorcycle()[0])
    rng, parts = np.random.default_rng(seed), []
    for image in images:
        image = image[::2, ::2] / np.float32(255)
        middle = image.shape[1] * 2 // 3
        for part in (image[:, :middle], image[:, middle:]):
            top, left = (rng.integers(size - SIDE + 1, size=n) for size in part.shape[:2])
            corners = zip(top, left, strict=True)
            parts.append([part[i : i + SIDE, j : j + SIDE].ravel() for i, j in corners])
    y = np.repeat(np.arange(len(images)), n)
    return np.concatenate(parts[::2]), y, np.concatenate(parts[1::2]), y


def on_photographs(seeds: int, quick: bool) -> Iterator[dict]:
    """Yield a record per seed and kind of codes: accuracy of a linear model of them."""
    X, y, X_test, y_test = crops(100 if quick else 1500, 0)
    architecture = ViT(image_shape=(SIDE, SIDE, 3), patch_size=4)
    own = {"max_iter": 1} if quick else {}
    begin = time.perf_counter()
    masked = MaskedAutoencoder(architecture=architecture, random_state=0, **own).fit(X)
    print(f"pretraining: {time.perf_counter() - begin:.0f} s")
    pca = PCA(masked.n_components_, random_state=0).fit(X)
    for name, codes in (("linear probe", masked), ("linear probe of PCA", pca)):
        Z, Z_test = codes.transform(X), codes.transform(X_test)
        for seed in range(seeds):
            few = draw_labels(y, 20 * len(np.unique(y)), seed)
            probe = logistic(few).fit(Z[few != -1], few[few != -1])
            accuracy = float((probe.predict(Z_test) == y_test).mean())
            yield {"data": "20 labels a class", "seed": seed, "model": name, "accuracy": accuracy}


def show(title: str, records: list[dict], value: str) -> None:
    """Print the mean over the seeds, a line per model and a column per table."""
    names = list(dict.fromkeys(r["data"] for r in records))
    table = Table(title=title, box=None, title_justify="left")
    table.add_column("model", no_wrap=True)
    for name in (*names, "mean"):
        table.add_column(name, justify="right")
    for model in dict.fromkeys(r["model"] for r in records):
        of_model = [r for r in records if r["model"] == model]
        means = [np.mean([r[value] for r in of_model if r["data"] == n] or np.nan) for n in names]
        table.add_row(model, *(f"{m:.3f}" for m in (*means, np.nanmean(means))))
    show_table(table, width=40 + 14 * len(names))


def draw_figure(path: Path, seeds: int, quick: bool) -> list[dict]:
    """Draw accuracy against the number of labels, on digits; return the records."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    X, y = datasets.load_digits(return_X_y=True)
    shown = {
        "AutoencoderClassifier, auto": ("AutoencoderClassifier", "C0", "o"),
        "same network from scratch": ("same network, no pretraining", "C1", "s"),
        "logistic regression of PCA codes": ("logistic regression of PCA codes", "C2", "^"),
        "LabelSpreading": ("LabelSpreading", "C7", "v"),
    }
    counts, records = (20, 50, 100, 200, 400), []
    for seed in range(seeds):
        train, test, y_train, y_test = train_test_split(
            X, y, test_size=0.3, stratify=y, random_state=seed
        )
        autoencoder = default_autoencoder(seed, quick).fit(train)
        for n in counts:
            few = draw_labels(y_train, n, seed)
            models = classifiers(train, few, seed, autoencoder, 16, quick)
            for name in shown:
                accuracy = float((models[name]().fit(train, few).predict(test) == y_test).mean())
                records.append({"model": name, "labels": n, "seed": seed, "accuracy": accuracy})
    figure, axes = plt.subplots(figsize=(5.6, 3.8), layout="constrained")
    for name, (label, color, marker) in shown.items():
        mean = [
            np.mean([r["accuracy"] for r in records if (r["model"], r["labels"]) == (name, n)])
            for n in counts
        ]
        axes.plot(counts, mean, color=color, marker=marker, label=label)
    axes.set_xscale("log")
    axes.set_xticks(counts, [str(n) for n in counts])
    axes.minorticks_off()
    axes.set_xlabel("labelled digits, of 1,257 training images")
    axes.set_ylabel("accuracy on 540 test images")
    axes.set_ylim(top=1)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=150)
    return records


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=("tables", "mnist", "photographs"), default="tables")
    parser.add_argument("--folder", type=Path, help="folder of .npz files, for tables")
    every = (*SHIPPED, *FILES)
    parser.add_argument("--tables", nargs="+", choices=every, default=every, help="which of them")
    parser.add_argument("--labels", type=int, nargs="*", default=[100, 1000], help="of MNIST")
    parser.add_argument("--model", choices=("masked", "dense"), default="masked", help="for MNIST")
    parser.add_argument("--share", type=float, default=0.05, help="labelled rows of a table")
    parser.add_argument("--pretraining", action="store_true", help="compare autoencoders")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="few epochs: does it run?")
    parser.add_argument("--json", type=Path, help="write every record here")
    parser.add_argument("--figure", type=Path, help="draw a figure of digits here, instead")
    arguments = parser.parse_args()
    seeds, quick = arguments.seeds, arguments.quick
    warnings.simplefilter("ignore", AutoencoderWarning)
    warnings.simplefilter("ignore", RuntimeWarning)  # LabelSpreading: isolated rows
    if arguments.figure is not None:
        write_json(arguments.json, draw_figure(arguments.figure, seeds, quick))
        return
    note = f", {seeds} seeds" + (", few epochs" if quick else "")
    regression: list[dict] = []
    if arguments.data == "mnist":
        records = list(on_mnist(seeds, tuple(arguments.labels), arguments.model, quick))
        show(f"Accuracy on the test images of MNIST{note}", records, "accuracy")
    elif arguments.data == "photographs":
        records = list(on_photographs(seeds, quick))
        show(f"Accuracy on the right parts of photographs{note}", records, "accuracy")
    elif arguments.pretraining:
        records = list(
            on_autoencoders(arguments.folder, arguments.tables, seeds, arguments.share, quick)
        )
        show(f"Accuracy, {arguments.share:.0%} labelled{note}", records, "accuracy")
    else:
        records = list(on_tables(arguments.folder, arguments.tables, seeds, arguments.share, quick))
        show(f"Accuracy, {arguments.share:.0%} labelled{note}", records, "accuracy")
        show(f"Balanced accuracy, {arguments.share:.0%} labelled{note}", records, "balanced")
        regression = list(on_diabetes(seeds, (20, 60, 309), quick))
        show(f"R2 on diabetes{note}", regression, "r2")
    write_json(arguments.json, records, regression=regression)


if __name__ == "__main__":
    main()

"""Outlier detectors on labelled tables, by two protocols, each with its defaults.

*novelty*: fit on half of the normal samples, score the other half and the anomalies. *mixed*: fit
on a stratified 70 % with its anomalies, score the other 30 %. At most 10,000 samples of a table
(stratified), features standardised on the training set.

    python benchmarks/anomaly.py --data FOLDER --seeds 3      .npz files with X and y, 1 an anomaly
    python benchmarks/anomaly.py                              tables that scikit-learn ships
    python benchmarks/anomaly.py --data --ablation            what each criterion contributes
    python benchmarks/anomaly.py --data --conformal           are p-values and selections valid?

PyOD's detectors are included if it is installed (``pip install pyod``).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from report import show_table, write_json
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table
from scipy.stats import binomtest, false_discovery_control
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler
from tables import add_data_argument, mean

from skae import AutoencoderOutlierDetector, AutoencoderWarning
from skae.data import DataSource
from skae.outlier._conformal import conformal_p_values
from skae.outlier._criteria import AUTO, CRITERIA, make_criterion

PROTOCOLS = ("novelty", "mixed")
MAX_ROWS = 10_000
MIN_ANOMALIES = 20  # in the test set, for a table to be compared by itself
P_VALUE_LEVELS = (0.05, 0.1, 0.2)


class Skae:
    """skae's detector with PyOD's interface: scores are higher for outliers."""

    def __init__(self, seed: int, **params: Any):
        self.detector = AutoencoderOutlierDetector(random_state=seed, **params)

    def fit(self, X: np.ndarray) -> Skae:
        """Fit the detector."""
        self.detector.fit(X)
        return self

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Return the outlier scores."""
        return -self.detector.score_samples(X)


class Sklearn(Skae):
    """A detector of scikit-learn with PyOD's interface."""

    def __init__(self, detector: Any):
        self.detector = detector


def detectors() -> dict[str, Callable[[int], Any]]:
    """Return a function of the seed that makes each detector."""
    makers: dict[str, Callable[[int], Any]] = {
        "skae": Skae,
        "skae, novelty=True": partial(Skae, novelty=True),
    }
    try:
        from pyod.models.auto_encoder import AutoEncoder
        from pyod.models.ecod import ECOD
        from pyod.models.iforest import IForest
        from pyod.models.knn import KNN
        from pyod.models.lof import LOF
        from pyod.models.pca import PCA
        from pyod.models.vae import VAE
    except ImportError:
        return makers | {
            "isolation forest": lambda seed: Sklearn(IsolationForest(random_state=seed)),
            "LOF": lambda seed: Sklearn(LocalOutlierFactor(novelty=True)),
        }
    return makers | {
        "kNN": lambda seed: KNN(),
        "PyOD AutoEncoder": lambda seed: AutoEncoder(random_state=seed, verbose=0),
        "LOF": lambda seed: LOF(),
        "isolation forest": lambda seed: IForest(random_state=seed),
        "PyOD VAE": lambda seed: VAE(random_state=seed, verbose=0),
        "PCA": lambda seed: PCA(random_state=seed),
        "ECOD": lambda seed: ECOD(),
    }


def tables(folder: Path | None) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, samples and labels (1 for anomalies) of each table."""
    if folder is None:
        for name, load, rare in (
            ("breast_cancer", load_breast_cancer, 0),
            ("wine", load_wine, 2),
            ("digits", load_digits, 8),
        ):
            X, y = load(return_X_y=True)
            yield name, X.astype(np.float64), (y == rare).astype(int)
        return
    found = False
    for path in sorted(folder.rglob("*.npz")):
        with np.load(path) as file:
            if "y" in file:
                found = True
                yield path.stem, file["X"].astype(np.float64), file["y"].astype(int)
    if not found:
        raise SystemExit(f"no .npz file with X and y below {folder}")


def split(
    X: np.ndarray, y: np.ndarray, protocol: str, seed: int, max_rows: int = MAX_ROWS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return training samples, test samples and the labels of the latter."""
    if len(X) > max_rows:
        X, _, y, _ = train_test_split(X, y, train_size=max_rows, stratify=y, random_state=seed)
    if protocol == "mixed":
        train, test, _, labels = train_test_split(
            X, y, test_size=0.3, stratify=y, random_state=seed
        )
    else:
        train, normal = train_test_split(X[y == 0], test_size=0.5, random_state=seed)
        test = np.concatenate([normal, X[y == 1]])
        labels = np.repeat([0, 1], [len(normal), len(test) - len(normal)])
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test), labels


def measure(
    makers: dict[str, Callable[[int], Any]], data: list[tuple], seeds: int, max_rows: int
) -> list[dict[str, Any]]:
    """Return a record per table, protocol, seed and detector."""
    records = []
    jobs = [(*table, p, s) for table in data for p in PROTOCOLS for s in range(seeds)]
    for make in makers.values():
        fit(make(0), np.random.default_rng(0).normal(size=(40, 3)))  # the first fit imports
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("fitting", total=len(jobs))
        for name, X, y, protocol, seed in jobs:
            progress.update(bar, description=f"{name}, {protocol}")
            train, test, labels = split(X, y, protocol, seed, max_rows)
            for detector, make in makers.items():
                start = time.perf_counter()
                model = fit(make(seed), train)
                fitted = time.perf_counter()
                with np.errstate(all="ignore"):
                    # PyOD's PCA may return infinity.
                    scores = np.nan_to_num(model.decision_function(test))
                records.append(
                    {
                        "table": name,
                        "protocol": protocol,
                        "seed": seed,
                        "detector": detector,
                        "n_train": len(train),
                        "n_features": train.shape[1],
                        "n_anomalies": int(labels.sum()),
                        "auroc": roc_auc_score(labels, scores),
                        "ap": average_precision_score(labels, scores),
                        "seconds": fitted - start,
                        "scoring_seconds": time.perf_counter() - fitted,
                    }
                )
            progress.advance(bar)
    return records


def ablation(data: list[tuple], seeds: int) -> list[dict[str, Any]]:
    """Return the same records of skae's detector with some of its criteria.

    For each trimming, one autoencoder is fitted, and all criteria to it.
    """
    names = [name for name in CRITERIA if name != "likelihood"]
    mixtures = {name: (name,) for name in names} | {
        "auto": AUTO,
        "auto and mahalanobis": (*AUTO, "mahalanobis"),
        **{f"auto without {name}": tuple(n for n in AUTO if n != name) for name in AUTO},
    }
    records = []
    jobs = [(*table, p, s) for table in data for p in PROTOCOLS for s in range(seeds)]
    for name, X, y, protocol, seed in track(jobs, console=Console(stderr=True)):
        train, test, labels = split(X, y, protocol, seed)
        for trim, change in (("", {}), (", trim=0", {"trim": 0.0})):
            detector = fit(Skae(seed, **change), train).detector
            weight, model = detector.support_.astype(float), detector.estimator_
            relative = {}
            for part in names:
                criterion = make_criterion(part)
                criterion.fit(model, DataSource(train), weight)
                in_training = criterion.score(model, DataSource(train))[detector.support_]
                relative[part] = criterion.score(model, DataSource(test)) / in_training.mean()
            for mixture, members in mixtures.items():
                scores = sum(relative[part] for part in members)
                records.append(
                    {
                        "table": name,
                        "protocol": protocol,
                        "seed": seed,
                        "detector": mixture + trim,
                        "n_train": len(train),
                        "n_features": train.shape[1],
                        "n_anomalies": int(labels.sum()),
                        "auroc": roc_auc_score(labels, scores),
                        "ap": average_precision_score(labels, scores),
                        "seconds": 0.0,
                    }
                )
    return records


def fit(model: Any, X: np.ndarray) -> Any:
    """Fit without warnings."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore", AutoencoderWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        model.fit(X)
    return model


def show(records: list[dict], detail: bool) -> None:
    """Print a line per detector, and one per table and protocol."""
    names = list(dict.fromkeys(r["detector"] for r in records))
    table = Table(title="Mean over tables and seeds; seconds of all fits", box=None)
    table.add_column("detector")
    for protocol in PROTOCOLS:
        for column in ("AUROC", "AP", "s"):
            table.add_column(f"{protocol} {column}", justify="right")
    for name in names:
        cells = [name]
        for protocol in PROTOCOLS:
            which = {"detector": name, "protocol": protocol}
            cells += [f"{mean(records, v, **which):.3f}" for v in ("auroc", "ap")]
            n = sum(all(r[k] == v for k, v in which.items()) for r in records)
            cells.append(f"{mean(records, 'seconds', **which) * n:.0f}")
        table.add_row(*cells)
    show_table(table, width=140)
    if detail:
        each = Table(title="AUROC by table, mean over seeds", box=None)
        for column in ("table", "protocol", "rows", "columns", "anomalies", *names):
            each.add_column(column, justify="left" if column in ("table", "protocol") else "right")
        for (name, protocol), rows in by_table(records).items():
            first = rows[0]
            facts = [str(first[k]) for k in ("n_train", "n_features", "n_anomalies")]
            values = [f"{mean(rows, 'auroc', detector=d):.3f}" for d in names]
            each.add_row(name, protocol, *facts, *values)
        show_table(each, width=140)
    for line in summary(records).values():
        print(line)


def by_table(records: list[dict]) -> dict[tuple[str, str], list[dict]]:
    """Group records by table and protocol."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for r in records:
        groups.setdefault((r["table"], r["protocol"]), []).append(r)
    return groups


def summary(records: list[dict]) -> dict[str, str]:
    """Return the comparison with PyOD's autoencoder, table by table."""
    rival = "PyOD AutoEncoder"
    if not any(r["detector"] == rival for r in records):
        return {}
    gaps, ratios = {}, []
    for key, rows in by_table(records).items():
        ours, theirs = ({"detector": d} for d in ("skae", rival))
        if rows[0]["n_anomalies"] >= MIN_ANOMALIES:
            gaps[key] = mean(rows, "auroc", **ours) - mean(rows, "auroc", **theirs)
        n = int(np.mean([r["n_train"] for r in rows]))
        ratios.append((n, mean(rows, "seconds", **ours) / mean(rows, "seconds", **theirs)))
    worst = min(gaps, key=lambda key: gaps[key])
    lines = {
        "worst": f"AUROC less {rival}'s, tables of at least {MIN_ANOMALIES} test anomalies: worst "
        f"{gaps[worst]:+.3f} ({worst[0]}, {worst[1]}), better on "
        f"{sum(g > 0 for g in gaps.values())} of {len(gaps)}"
    }
    for low, high in ((0, 500), (500, 2000), (2000, 5000), (5000, 10_000), (10_000, 10**9)):
        some = [r for n, r in ratios if low <= n < high]
        if some:
            lines[f"seconds from {low}"] = (
                f"seconds of a fit / {rival}'s, from {low} training rows"
                f"{f' to {high}' if high < 10**9 else ''}: median {np.median(some):.2f}, "
                f"worst {max(some):.2f}, {len(some)} tables"
            )
    total = [mean(records, "seconds", detector=d) for d in ("skae", rival)]
    lines["seconds"] = f"seconds of all fits / {rival}'s: {total[0] / total[1]:.2f}"
    return lines


def conformal(data: list[tuple], n_splits: int) -> list[dict[str, Any]]:
    """Print how often p-values are below a level, and the false discovery rate of a selection.

    The detector is fitted once, to half of the normal samples; the other half is split anew each
    time into calibration samples and one test sample. Selections are from normal samples and
    anomalies, up to a tenth of them.
    """
    records = []
    title = f"P(p <= t) over {n_splits} splits of one test sample; selection at a rate of 0.1"
    table = Table(title=title, box=None)
    for column in ("table", *(f"t = {t}" for t in P_VALUE_LEVELS), "valid", "false", "found"):
        table.add_column(column, justify="left" if column == "table" else "right")
    for name, X, y in data:
        train, test, labels = split(X, y, "novelty", 0)
        detector = fit(Skae(0), train).detector
        normal, anomalous = test[labels == 0], test[labels == 1]
        rng = np.random.default_rng(0)
        of_normal = detector.score_samples(normal)
        p = np.empty(n_splits)
        for i in range(n_splits):
            order = rng.permutation(len(of_normal))[:1001]
            p[i] = conformal_p_values(of_normal[order[:1]], np.sort(of_normal[order[1:]]))[0]
        # Check the public method once.
        public = detector.p_values(normal[order[:1]], normal[order[1:]])[0]
        assert np.isclose(public, p[-1]), (public, p[-1])
        below = {t: int((p <= t).sum()) for t in P_VALUE_LEVELS}
        valid = all(
            binomtest(n, n_splits, t, "greater").pvalue > 0.01 / len(P_VALUE_LEVELS)
            for t, n in below.items()
        )
        of_anomalous = detector.score_samples(anomalous)
        false, power = [], []
        for _ in range(n_splits):
            order = rng.permutation(len(of_normal))
            half = len(of_normal) // 2
            tested = of_normal[order[half:]]
            some = rng.choice(of_anomalous, size=min(len(of_anomalous), max(1, len(tested) // 9)))
            both = np.concatenate([tested, some])
            p_of_both = conformal_p_values(both, np.sort(of_normal[order[:half]]))
            selected = false_discovery_control(p_of_both) <= 0.1
            false.append(selected[: len(tested)].sum() / max(1, selected.sum()))
            power.append(selected[len(tested) :].mean())
        record = {
            "table": name,
            "rows": len(normal),
            **{f"t={t}": below[t] / n_splits for t in P_VALUE_LEVELS},
            "valid": valid,
            "false": float(np.mean(false)),
            "found": float(np.mean(power)),
        }
        records.append(record)
        table.add_row(
            name,
            *(f"{below[t] / n_splits:.3f}" for t in P_VALUE_LEVELS),
            "yes" if valid else "NO",
            f"{record['false']:.3f}",
            f"{record['found']:.3f}",
        )
    show_table(table, width=120)
    return records


def main() -> None:
    """Run the benchmark, print its table and write its records."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_argument(parser)
    parser.add_argument("--seeds", type=int, default=1, help="splits per table (default 1)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these detectors")
    parser.add_argument("--tables", nargs="+", metavar="NAME", help="these tables")
    parser.add_argument("--max-rows", type=int, default=MAX_ROWS, help="of a table (10,000)")
    parser.add_argument("--ablation", action="store_true", help="skae's criteria instead")
    parser.add_argument("--conformal", action="store_true", help="p-values and selections instead")
    parser.add_argument("--splits", type=int, default=1000, help="of --conformal (default 1000)")
    parser.add_argument("--detail", action="store_true", help="a line per table too")
    parser.add_argument("--json", type=Path, help="write every record here")
    arguments = parser.parse_args()
    data = list(tables(arguments.data))
    if arguments.tables:
        data = [table for table in data if table[0] in arguments.tables]
    if arguments.conformal:
        write_json(arguments.json, conformal(data, arguments.splits))
        return
    if arguments.ablation:
        records = ablation(data, arguments.seeds)
    else:
        makers = detectors()
        names = arguments.only or list(makers)
        chosen = {name: makers[name] for name in names}
        records = measure(chosen, data, arguments.seeds, arguments.max_rows)
    show(records, arguments.detail)
    write_json(arguments.json, records, summary=summary(records))


if __name__ == "__main__":
    main()

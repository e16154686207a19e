"""Outlier detectors where the anomalies of the training data are in clusters.

Normal samples are drawn from a mixture of three Gaussians with random covariances, in 5 and 30
dimensions. 1, 3 and 10 % of the samples are anomalies around one center: a fifth, a half, or all
of the spread of a normal component. The center is where the density of normal samples is lower than
that of 99.9 % of them. Every detector is fitted to all samples and scores new ones.

    python benchmarks/clusters.py
    python benchmarks/clusters.py --seeds 3 --json clusters.json
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np
from anomaly import Skae, Sklearn, fit
from report import show_table, write_json
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import multivariate_normal
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler
from tables import mean

DIMENSIONS = (5, 30)
SHARES = (0.01, 0.03, 0.1)
SPREADS = (0.2, 0.5, 1.0)
N_SAMPLES = 1000
N_COMPONENTS = 3
RARE = 1e-3  # share of the normal samples with a lower density than the center of the anomalies


class Neighbors:
    """Distance to the fifth nearest training sample, with PyOD's interface."""

    def fit(self, X: np.ndarray) -> Neighbors:
        """Store the samples."""
        self.search = NearestNeighbors(n_neighbors=5).fit(X)
        return self

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Return the distances."""
        return self.search.kneighbors(X)[0][:, -1]


DETECTORS = {
    "skae": Skae,
    "isolation forest": lambda seed: Sklearn(IsolationForest(random_state=seed)),
    "kNN": lambda seed: Neighbors(),
}


class Mixture:
    """Three Gaussians with random means and covariances, and a cluster far from them."""

    def __init__(self, d: int, rng: np.random.Generator):
        self.d, self.rng = d, rng
        self.means = rng.normal(scale=2, size=(N_COMPONENTS, d))
        self.factors = rng.normal(size=(N_COMPONENTS, d, d)) / np.sqrt(d)
        self.components = [
            multivariate_normal(m, f @ f.T + 0.1 * np.eye(d))
            for m, f in zip(self.means, self.factors, strict=True)
        ]
        self.center = self._rare()

    def density(self, X: np.ndarray) -> np.ndarray:
        """Return the log density of normal samples."""
        return np.logaddexp.reduce([c.logpdf(X) for c in self.components], axis=0)

    def normal(self, n: int) -> np.ndarray:
        """Draw normal samples."""
        which = self.rng.integers(N_COMPONENTS, size=n)
        draws = np.stack([c.rvs(n, random_state=self.rng) for c in self.components])
        return draws[which, np.arange(n)]

    def cluster(self, n: int, spread: float) -> np.ndarray:
        """Draw anomalies around the center."""
        return self.center + spread * self.rng.normal(size=(n, self.d)) / np.sqrt(self.d)

    def _rare(self) -> np.ndarray:
        """Return a point on a random ray whose density is that of few normal samples."""
        limit = np.quantile(self.density(self.normal(20_000)), RARE)
        middle, direction = self.means.mean(0), self.rng.normal(size=self.d)
        steps = np.linspace(0, 100, 10_001)[:, None] * direction / np.linalg.norm(direction)
        outside = self.density(middle + steps) < limit
        first = len(outside) - np.argmin(outside[::-1])  # from where on all are
        return middle + steps[min(first, len(steps) - 1)]


def measure(seeds: int) -> list[dict]:
    """Return a record per setting, seed and detector."""
    records = []
    settings = list(product(DIMENSIONS, SHARES, SPREADS, range(seeds)))
    for d, share, spread, seed in track(settings, console=Console(stderr=True)):
        mixture = Mixture(d, np.random.default_rng(seed))
        n = round(share * N_SAMPLES)
        parts = [np.r_[mixture.normal(N_SAMPLES - n), mixture.cluster(n, spread)] for _ in "ab"]
        scaler = StandardScaler().fit(parts[0])
        train, test = map(scaler.transform, parts)
        labels = np.repeat([0, 1], [N_SAMPLES - n, n])
        for name, make in DETECTORS.items():
            scores = fit(make(seed), train).decision_function(test)
            setting = {"dimensions": d, "share": share, "spread": spread, "seed": seed}
            records.append(setting | {"detector": name, "auroc": roc_auc_score(labels, scores)})
    return records


def show(records: list[dict]) -> None:
    """Print a line per setting."""
    table = Table(title="AUROC, mean over seeds", box=None, title_justify="left")
    for column in ("dimensions", "anomalies", "spread", *DETECTORS):
        table.add_column(column, justify="right")
    for d, share, spread in product(DIMENSIONS, SHARES, SPREADS):
        which = {"dimensions": d, "share": share, "spread": spread}
        values = [mean(records, "auroc", detector=name, **which) for name in DETECTORS]
        table.add_row(str(d), f"{share:.0%}", str(spread), *(f"{v:.3f}" for v in values))
    show_table(table)


def main() -> None:
    """Run the benchmark, print its table and write its records."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1, help="mixtures per setting (default 1)")
    parser.add_argument("--json", type=Path, help="write every record here")
    arguments = parser.parse_args()
    records = measure(arguments.seeds)
    show(records)
    write_json(arguments.json, records)


if __name__ == "__main__":
    main()

"""The trainings whose speed is compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits, load_iris
from speed_loop import WIDTHS


@dataclass(frozen=True)
class Case:
    """A training: a table, the layer sizes of the encoder, and how long."""

    table: str
    n_rows: int
    widths: tuple[int, ...]
    batch_size: int
    epochs: int

    @property
    def title(self) -> str:
        """Return what it is called."""
        sizes = "-".join(map(str, self.widths))
        return f"{self.table}, {self.n_rows:,} rows, {sizes}, batch {self.batch_size:,}"

    def load(self, folder: Path | None) -> np.ndarray:
        """Return the rows; those of MNIST are random if no folder has them."""
        rng = np.random.default_rng(0)
        shape = (self.n_rows, self.widths[0])
        if self.table == "digits":
            return np.asarray(load_digits().data[: self.n_rows] / 16, dtype=np.float32)
        if self.table == "iris":
            X = load_iris().data[: self.n_rows]
            return np.asarray((X - X.mean(0)) / X.std(0), dtype=np.float32)
        paths = sorted(folder.rglob("mnist.npz")) if folder and self.table == "mnist" else []
        if not paths:
            return rng.random(shape, dtype=np.float32)
        with np.load(paths[0]) as file:
            return file["X_train"][: self.n_rows].reshape(shape) / np.float32(255)


CASES = (
    *(Case("mnist", 60_000, WIDTHS, batch_size, 3) for batch_size in (128, 512, 4096)),
    Case("table", 1_000_000, (50, 64, 32, 8), 512, 2),
    Case("digits", 1797, (64, 64, 32, 8), 112, 30),
    Case("iris", 150, (4, 16, 8, 2), 16, 100),
)

"""Fit a file larger than its memory, and a sparse matrix that never becomes dense.

Reports the peak of anonymous memory (RssAnon, Linux) above that after the imports, and the rate of
an epoch beside the one of the same rows in memory.

    python benchmarks/out_of_core.py --gigabytes 8
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from report import write_json
from scipy import sparse
from skorch.callbacks import Callback

from skae import Autoencoder

N_FEATURES = 784
IN_MEMORY = 60_000


def anonymous() -> float:
    """Return this process's anonymous memory, in GB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1e6


@contextmanager
def peak_above() -> Iterator[list[float]]:
    """Give a list that holds, after the block, the GB that its memory rose by at most."""
    rose, base, done = [0.0], anonymous(), threading.Event()

    def look() -> None:
        while not done.wait(0.005):
            rose[0] = max(rose[0], anonymous() - base)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield rose
    finally:
        done.set()
        looking.join()


class Watch(Callback):
    """Note the time of each epoch."""

    def __init__(self):
        self.seconds: list[float] = []

    def on_epoch_begin(self, net, **_) -> None:
        """Start the clock."""
        self.start = time.perf_counter()

    def on_epoch_end(self, net, **_) -> None:
        """Stop the clock."""
        self.seconds.append(time.perf_counter() - self.start)


def fit(X, max_iter: int) -> dict:
    """Fit a table; return GB above the base, and microseconds a row of the fastest epoch."""
    watch = Watch()
    model = Autoencoder(
        16,
        hidden_layer_sizes=(256, 64),
        batch_size=128,
        max_iter=max_iter,
        early_stopping=False,
        net_params={"callbacks": [watch]},
    )
    start = time.perf_counter()
    with peak_above() as rose:
        model.fit(X)
    return {
        "rows": X.shape[0],
        "peak_gb": rose[0],
        "us_per_row": min(watch.seconds) / X.shape[0] * 1e6,
        "fit_seconds": time.perf_counter() - start,
    }


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=1.0, help="size of the file")
    parser.add_argument("--folder", type=Path, help="where to put it (default: temporary)")
    parser.add_argument("--json", type=Path, help="write every record here")
    arguments = parser.parse_args()
    records = []
    n_rows = round(arguments.gigabytes * 1e9 / 4 / N_FEATURES)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        shape = (n_rows, N_FEATURES)
        file = np.memmap(Path(folder) / "table", dtype=np.float32, mode="w+", shape=shape)
        for start in range(0, n_rows, 50_000):
            stop = min(start + 50_000, n_rows)
            file[start:stop] = rng.random((stop - start, N_FEATURES), dtype=np.float32)
        file.flush()
        file = np.memmap(Path(folder) / "table", dtype=np.float32, mode="r", shape=shape)
        head = file[:IN_MEMORY]
        for what, X, epochs in (
            (f"file of {arguments.gigabytes:g} GB", file, 1),
            ("its head, cached", head, 3),
            ("its head, in memory", np.array(head), 3),
        ):
            records.append({"what": what, **fit(X, epochs)})
    csr = sparse.random_array(
        (100_000, 10_000), density=0.005, format="csr", rng=rng, dtype=np.float32
    )
    records.append({"what": "CSR 100,000 x 10,000, 0.5 % filled", **fit(csr, 1)})
    for r in records:
        print(
            f"{r['what']}: {r['rows']:,} rows, peak {r['peak_gb']:.2f} GB above the import, "
            f"{r['us_per_row']:.1f} us a row and epoch, fit {r['fit_seconds']:.0f} s"
        )
    write_json(arguments.json, records)


if __name__ == "__main__":
    main()

"""Sparse codes: the memory of `transform`, the recovery of a known dictionary, nested groups.

Reports the peak of anonymous memory (RssAnon, Linux) while rows of a file become a CSR matrix of
codes; the mean over the atoms of a synthetic dictionary of the largest absolute cosine with a
learned atom, beside MiniBatchDictionaryLearning in the same time, at the best of several penalties;
and the error of new digits that the first units of a code leave, with and without nested groups.

    python benchmarks/sparse_codes.py --json benchmarks/results/sparse_codes.json
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from out_of_core import peak_above
from report import show_table, write_json
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from skae import AutoencoderWarning, KSparseAutoencoder

N_FEATURES, N_COMPONENTS, N_ACTIVE = 256, 4096, 32
PENALTIES = (0.1, 0.3, 1.0, 3.0)
N_UNITS, N_FIRST = 64, 16  # of the nested groups


class OutOfTimeError(Exception):
    """The time of a fit is over."""


def memory(n_rows: int) -> dict:
    """Encode a file of random rows, and return time and memory."""
    rng = np.random.default_rng(0)
    model = KSparseAutoencoder(
        N_COMPONENTS, n_nonzero_coefs=N_ACTIVE, sparse_output=True, max_iter=1, random_state=0
    )
    with tempfile.TemporaryDirectory() as folder:
        X = np.memmap(Path(folder) / "X", np.float32, "w+", shape=(n_rows, N_FEATURES))
        for start in range(0, n_rows, 10_000):
            part = X[start : start + 10_000]
            part[:] = rng.standard_normal(part.shape, dtype=np.float32)
        model.fit(X[:5000])
        with peak_above() as rose:
            start_time = time.perf_counter()
            codes = model.transform(X)
            seconds = time.perf_counter() - start_time
    entries = codes.data.nbytes + codes.indices.nbytes + codes.indptr.nbytes
    return {
        "n_rows": n_rows,
        "nnz": codes.nnz,
        "seconds": seconds,
        "result_gb": entries / 1e9,
        "dense_gb": n_rows * N_COMPONENTS * 4 / 1e9,
        "peak_gb": rose[0],
    }


def samples(seed: int, n: int, d: int, n_atoms: int, k: int) -> tuple[NDArray, NDArray]:
    """Return samples, each the sum of k atoms with positive coefficients and noise, and atoms."""
    rng = np.random.default_rng(seed)
    atoms = rng.normal(size=(n_atoms, d))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    order = rng.random((n, n_atoms)).argsort(axis=1)[:, :k]
    codes = np.zeros((n, n_atoms))
    np.put_along_axis(codes, order, rng.uniform(0.5, 1.5, size=(n, k)), axis=1)
    X = codes @ atoms + 0.01 * rng.normal(size=(n, d))
    return X.astype(np.float32), atoms


def recovery(atoms: NDArray, learned: NDArray) -> float:
    """Return the mean over the atoms of the largest absolute cosine with a learned one."""
    size = np.linalg.norm(learned, axis=1, keepdims=True)
    return float(np.abs(atoms @ (learned / np.maximum(size, 1e-12)).T).max(axis=1).mean())


def peer(X: NDArray, n_atoms: int, seconds: float, alpha: float) -> NDArray:
    """Return the dictionary of MiniBatchDictionaryLearning after a time."""
    found, end = [], time.perf_counter() + seconds

    def keep(state: dict) -> None:
        found[:] = [state["dictionary"].copy()]
        if time.perf_counter() > end:
            raise OutOfTimeError

    model = MiniBatchDictionaryLearning(
        n_atoms, alpha=alpha, fit_algorithm="cd", positive_code=True, max_iter=10_000,
        max_no_improvement=None, batch_size=256, callback=keep, random_state=0,
    )  # fmt: skip
    try:
        return model.fit(X).components_
    except OutOfTimeError:
        return found[0]


def compared(seed: int, args: argparse.Namespace) -> dict:
    """Return the recovery of one dictionary by both."""
    X, atoms = samples(seed, args.samples, args.features, args.atoms, args.active)
    start = time.perf_counter()
    model = KSparseAutoencoder(
        args.atoms, n_nonzero_coefs=args.active, positive_code=True, random_state=seed
    ).fit(X)
    seconds = time.perf_counter() - start
    learned = model.inverse_transform(np.eye(args.atoms)) - model.inverse_transform(
        np.zeros((1, args.atoms))
    )
    peers = {alpha: recovery(atoms, peer(X, args.atoms, seconds, alpha)) for alpha in PENALTIES}
    return {
        "seed": seed,
        "seconds": seconds,
        "skae": recovery(atoms, learned),
        "unexplained": model.unexplained_variance_ratio_,
        "peer": peers,
        "best_peer": max(peers.values()),
    }


def nested(seed: int) -> dict:
    """Return the errors of the first units and of all, with groups relative to without."""
    train, test = train_test_split(load_digits().data, random_state=seed)
    errors = []
    for group_sizes in (None, (N_FIRST,)):
        model = KSparseAutoencoder(
            N_UNITS, n_nonzero_coefs=6, group_sizes=group_sizes, random_state=seed
        ).fit(train)
        Z = model.transform(test)
        first = model.inverse_transform(np.where(np.arange(N_UNITS) < N_FIRST, Z, 0))
        errors.append([np.mean((x_hat - test) ** 2) for x_hat in (first, model.reconstruct(test))])
    (first, whole), (first_nested, whole_nested) = errors
    return {"seed": seed, "first": first_nested / first, "all": whole_nested / whole}


def main() -> None:
    """Measure all and show them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--atoms", type=int, default=128)
    parser.add_argument("--active", type=int, default=4)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.simplefilter("ignore", AutoencoderWarning)
    KSparseAutoencoder(max_iter=1).fit(load_digits().data)  # loads what is loaded once
    records = [compared(seed, args) for seed in range(args.seeds)]
    table = Table(
        "seed", "seconds", "KSparseAutoencoder", "MiniBatchDictionaryLearning",
        title="Mean largest cosine with the true atoms, at equal time",
    )  # fmt: skip
    for r in records:
        cells = (str(r["seed"]), *(f"{r[key]:.3g}" for key in ("seconds", "skae", "best_peer")))
        table.add_row(*cells)
    show_table(table)
    table = Table(
        "seed", f"first {N_FIRST} units", "all units",
        title=f"Error of digits, {N_UNITS} units of which 6 are active, with groups of "
        f"{N_FIRST} and all units, relative to that without groups",
    )  # fmt: skip
    for r in map(nested, range(args.seeds)):
        table.add_row(str(r["seed"]), f"{r['first']:.3g}", f"{r['all']:.3g}")
        records.append(r)
    show_table(table)
    if args.rows:
        of = memory(args.rows)
        table = Table(
            "rows", "seconds", "CSR codes, GB", "dense codes, GB", "peak above the input, GB",
            title=f"transform of {N_FEATURES} columns to {N_COMPONENTS} units, {N_ACTIVE} active",
        )  # fmt: skip
        keys = ("seconds", "result_gb", "dense_gb", "peak_gb")
        table.add_row(f"{args.rows:,}", *(f"{of[key]:.3g}" for key in keys))
        show_table(table)
        records.append(of)
    write_json(args.json, records)


if __name__ == "__main__":
    main()

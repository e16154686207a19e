"""Training in several processes: the time of an epoch, and what the steps and bytes of it cost.

Times an epoch of one process and of two, all with one thread, in turn; the sum of a vector over two
processes of this machine; and the order of the samples that each process draws. From these, it
estimates an epoch of many processes: computing is divided among them, the sum of the gradients
takes two transfers of all weights whatever their number, the order is drawn by each.

    python benchmarks/several_processes.py --json benchmarks/results/several_processes.json
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.distributed as dist
from report import show_table, write_json
from rich.table import Table

from skae import Autoencoder

HIDDEN, CODE, FEATURES, BATCH = (1000, 500, 250), 32, 784, 1024
SIZES = (10_000, 1_000_000, 10_000_000)  # of the vectors that are summed
ORDERED = 10_000_000  # samples whose order is drawn
NETWORK = 1.25e9  # bytes per second between machines (10 Gbit/s)
PLANS = [(1_000_000, 1), (1_000_000, 8), (1_000_000_000, 8), (1_000_000_000, 64)]
N_EPOCHS = 3


def free_port() -> int:
    """Return a port that is free."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def in_processes(part: str, size: int, n_rows: int) -> str:
    """Run a part of this script in several processes; return what that of rank 0 prints."""
    own = {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    command = [sys.executable, __file__, "--part", part, "--rows", str(n_rows)]
    running = [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | own | {"RANK": str(rank), "WORLD_SIZE": str(size)},
        )
        for rank in range(size)
    ]
    printed = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit("A process failed.")
    return printed[0]


def epochs(n_rows: int) -> None:
    """Fit, which prints the seconds of each epoch."""
    X = np.random.default_rng(0).normal(size=(n_rows, FEATURES)).astype(np.float32)
    Autoencoder(
        CODE, hidden_layer_sizes=HIDDEN, batch_size=BATCH, max_iter=N_EPOCHS, init="random",
        early_stopping=False, verbose=1, random_state=0,
    ).fit(X)  # fmt: skip


def sums() -> None:
    """Print the seconds that the sum of a vector over the processes takes."""
    dist.init_process_group("gloo")
    for size in SIZES:
        vector, seconds = torch.ones(size), []
        for _ in range(7):
            start = time.perf_counter()
            dist.all_reduce(vector)
            seconds.append(time.perf_counter() - start)
        print(size, median(seconds))
    dist.destroy_process_group()


def seconds_of(printed: str) -> float:
    """Return the median of the seconds of epochs, without the first, from what a fit printed."""
    rows = re.findall(r"^ +\d+ .*?([\d.]+)$", printed, re.M)
    return median(float(s) for s in rows[1:])


def compared(n_rows: int, n_pairs: int) -> dict:
    """Return the seconds of an epoch of one process and of two, in turn."""
    pairs = [
        [seconds_of(in_processes("epochs", n, n_rows)) for n in (1, 2)] for _ in range(n_pairs)
    ]
    one, two = (median(column) for column in zip(*pairs, strict=True))
    ratio = median(b / a for a, b in pairs)
    return {"rows": n_rows, "one": one, "two": two, "ratio": ratio, "pairs": pairs}


def order() -> float:
    """Return the seconds in which the order of a sample is drawn."""
    torch.set_num_threads(1)
    start = time.perf_counter()
    torch.randperm(ORDERED)
    return (time.perf_counter() - start) / ORDERED


def planned(n_rows: int, size: int, per_row: float, per_order: float, n_weights: int) -> dict:
    """Return the estimated seconds of an epoch and the memory of a process.

    A batch grows with the number of processes: each computes `BATCH` samples of it.
    """
    steps = n_rows / (BATCH * size)
    transfers = 2 * (size - 1) / size * 4 * n_weights / NETWORK
    return {
        "rows": n_rows,
        "processes": size,
        "compute": n_rows / size * per_row,
        "sum": steps * transfers,
        "order": n_rows * per_order,
        "gb": (n_rows / size * FEATURES * 4 + n_rows * 16 + 6 * 4 * n_weights) / 1e9,
    }


def main() -> None:
    """Measure all and show them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10 * BATCH)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", choices=("epochs", "sums"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.part == "epochs":
        return epochs(args.rows)
    if args.part == "sums":
        return sums()
    sizes = (FEATURES, *HIDDEN, CODE)
    n_weights = 2 * sum(a * b for a, b in pairwise(sizes))
    found = compared(args.rows, args.pairs)
    table = Table(
        "processes", "seconds per epoch",
        title=f"{'-'.join(map(str, sizes))}, batch {BATCH}, {args.rows} samples, one thread each",
    )  # fmt: skip
    table.add_row("1", f"{found['one']:.3g}")
    table.add_row("2", f"{found['two']:.3g}")
    table.add_row("2, relative to 1", f"{found['ratio']:.2f}")
    show_table(table)
    lines = [line.split() for line in in_processes("sums", 2, 0).splitlines()]
    summed = [(int(size), float(seconds)) for size, seconds in lines]
    table = Table("numbers", "ms", "GB per second", title="Sum of a vector over two processes")
    for size, seconds in summed:
        table.add_row(f"{size:,}", f"{1e3 * seconds:.3g}", f"{4e-9 * size / seconds:.3g}")
    show_table(table)
    per_order = order()
    plans = [planned(*plan, found["one"] / args.rows, per_order, n_weights) for plan in PLANS]
    table = Table(
        "samples", "processes", "computing, s", "sums, s", "order, s", "memory of each, GB",
        title=f"An epoch of {n_weights:,} weights, estimated: {BATCH} samples of a batch in each "
        "process of one thread, 10 Gbit/s between machines",
    )  # fmt: skip
    for plan in plans:
        keys = ("compute", "sum", "order", "gb")
        table.add_row(
            f"{plan['rows']:,}", str(plan["processes"]), *(f"{plan[k]:.3g}" for k in keys)
        )
    show_table(table)
    records = [found, {"sums": summed, "seconds_per_order": per_order}, *plans]
    write_json(args.json, records)


if __name__ == "__main__":
    main()

"""Speed of skae relative to a bare loop, to other libraries, and to the machine.

The tables are MNIST at batches of 128, 512 and 4,096 rows, random numbers of 1,000,000 x 50,
digits and iris. Measured are:

- whole fits by skae, a loop written by hand for the same graph, skorch, PyOD, pythae, autoencoders
  and scikit-learn's MLPRegressor, each as `speed_peers.py` describes. Every library has a process
  of its own, in which its fits and those of the loop take turns. The floor is the time of
  6 x parameters x rows x epochs operations at the measured rate of products of large matrices.
  Memory is by how much the peak during a fit exceeds the use before it; with a GPU, the GPU's;
- epochs of skae's ``fit``, which take turns with those of the loop in one process, with and without
  linear shortcuts;
- ``transform``, relative to one call of the module;
- ``import skae``, relative to what it stands on.

Ratios are medians of the ratios of pairs. Libraries that are missing are named and left out. A GPU
needs only ``--device cuda``.

    python benchmarks/speed.py --data --repeats 5 --json speed.json
    python benchmarks/speed.py --data --repeats 5 --device cuda --json speed.json
    python benchmarks/speed.py --quick      to see that it runs
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from report import show_table, write_json
from rich.console import Console
from rich.table import Table
from speed_cases import CASES, Case
from speed_loop import WIDTHS, Graph, Turns, synchronize
from speed_peers import LIBRARIES, measure_in_process
from tables import add_data_argument
from torch import nn

from skae import Autoencoder

SHAPES = {"with shortcuts": True, "network alone": False}
PARTS = ("fits", "epochs", "transform", "import")
MATRIX_SIZES = {"cpu": 2048, "cuda": 8192}


def in_turn(n: int, device: str, **calls: Callable[[], object]) -> dict:
    """Return median seconds of two calls after a warm-up, and that of second / first."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(n + 1):
        for name, call in calls.items():
            synchronize(device)
            start = time.perf_counter()
            call()
            synchronize(device)
            times[name].append(time.perf_counter() - start)
    first, second = (seconds[1:] for seconds in times.values())
    ratio = median(b / a for a, b in zip(first, second, strict=True))
    return {f"{name}_seconds": median(times[name][1:]) for name in calls} | {"ratio": ratio}


def matrix_rate(device: str) -> float:
    """Return the operations per second of the fastest of several products of large matrices."""
    n = MATRIX_SIZES.get(torch.device(device).type, 2048)
    a, b = (torch.randn(n, n, device=device) for _ in range(2))
    times = []
    for _ in range(8):
        synchronize(device)
        start = time.perf_counter()
        torch.mm(a, b)
        synchronize(device)
        times.append(time.perf_counter() - start)
    return 2 * n**3 / min(times)


def device_name(device: str) -> str:
    """Return what a device is called."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def fits(case: Case, arguments: argparse.Namespace, rate: float) -> list[dict]:
    """Return a record per library, of its whole fits."""
    records = []
    for library in arguments.libraries:
        record = measure_in_process(
            library, case, arguments.device, arguments.repeats, arguments.data
        )
        if "reason" not in record:
            n_operations = 6 * record["parameters"] * case.n_rows * case.epochs
            record["floor_ratio"] = record["fit_seconds"] * rate / n_operations
        records.append({"what": "fit", "case": case.title, "library": library, **record})
    return records


def print_fits(console: Console, case: Case, records: list[dict]) -> None:
    """Print the table of a case, and which libraries are missing."""
    table = Table(title=f"{case.title}, {case.epochs} epochs", box=None, title_justify="left")
    for column in ("library", "parameters", "fit s", "/ loop", "/ floor", "rows / s", "peak MB"):
        table.add_column(column, justify="left" if column == "library" else "right")
    for r in records:
        if "reason" not in r:
            table.add_row(
                r["library"],
                f"{r['parameters']:,}",
                f"{r['fit_seconds']:.3f}",
                f"{r['loop_ratio']:.2f}",
                f"{r['floor_ratio']:.1f}",
                f"{r['samples_per_second']:,.0f}",
                f"{r['peak_mb']:,.1f}",
            )
    show_table(table, width=110)
    for r in records:
        if "reason" in r:
            console.print(f"{r['library']}: {r['reason']}", markup=False)
    console.print()


def epochs(case: Case, shortcut: bool, arguments: argparse.Namespace) -> dict:
    """Return what an epoch of the fit and of the loop take."""
    X = case.load(arguments.data)
    rows = torch.from_numpy(X).to(arguments.device)
    graph = Graph(shortcut, case.widths, nn.ReLU).to(arguments.device)
    turns = Turns(rows, case.batch_size, graph.parameters(), lambda x: graph(x).mean())
    n_epochs = max(2, case.epochs * arguments.repeats)
    Autoencoder(
        case.widths[-1],
        hidden_layer_sizes=case.widths[1:-1],
        activation="relu",
        linear_shortcut=shortcut,
        batch_size=case.batch_size,
        max_iter=n_epochs + 1,
        early_stopping=False,
        device=arguments.device,
        net_params={"callbacks": [turns]},
    ).fit(X)
    return turns.medians()


def transform(n_rows: int, n: int, device: str) -> dict:
    """Return median seconds of ``transform`` and of the module by itself, and their ratio."""
    X = np.random.default_rng(0).random((n_rows, WIDTHS[0]), dtype=np.float32)
    model = Autoencoder(WIDTHS[-1], hidden_layer_sizes=WIDTHS[1:-1], max_iter=1, device=device)
    model.set_params(early_stopping=False).fit(X[:2000])

    @torch.no_grad()
    def module() -> None:
        model.module_.to(device).encode(torch.from_numpy(X).to(device)).cpu()

    return in_turn(n, device, module=module, transform=lambda: model.transform(X))


def imports(n: int) -> dict:
    """Return median seconds to import skae and to import what it stands on, and their ratio."""

    def importing(statement: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-c", statement], check=True)

    parts = importing("import torch, sklearn, skorch")
    return in_turn(n, "cpu", parts=parts, skae=importing("import skae"))


def other_parts(arguments: argparse.Namespace, cases: list[Case]) -> list[dict]:
    """Measure all but the fits; return the records, each with its ratio."""
    records = []
    if "epochs" in arguments.parts:
        for case in cases:
            for shape, shortcut in SHAPES.items():
                record = epochs(case, shortcut, arguments)
                records.append({"what": "epoch", "case": f"{case.title}, {shape}", **record})
    if "transform" in arguments.parts:
        n_rows = 2000 if arguments.quick else 60_000
        record = transform(n_rows, 3 * arguments.repeats, arguments.device)
        records.append({"what": "transform", "case": f"{n_rows:,} x {WIDTHS[0]}", **record})
    if "import" in arguments.parts:
        record = imports(2 * arguments.repeats)
        records.append({"what": "import", "case": "torch, sklearn and skorch", **record})
    return records


def print_other_parts(console: Console, records: list[dict]) -> None:
    """Print skae's time beside the one that it is compared with."""
    table = Table(title="skae relative to what it stands on", box=None, title_justify="left")
    for column in ("what", "of", "skae s", "other s", "ratio"):
        table.add_column(column, justify="left" if column in ("what", "of") else "right")
    for r in records:
        other, own = (r[name] for name in r if name.endswith("_seconds"))
        table.add_row(r["what"], r["case"], f"{own:.4f}", f"{other:.4f}", f"{r['ratio']:.3f}")
    show_table(table, width=110)


def chosen_cases(arguments: argparse.Namespace) -> list[Case]:
    """Return the cases that are asked for; a short one per table to see that it runs."""
    cases = [case for case in CASES if case.table in arguments.tables]
    if not arguments.quick:
        return cases
    first = [next(case for case in cases if case.table == table) for table in arguments.tables]
    return [replace(case, n_rows=min(case.n_rows, 2000), epochs=1) for case in first]


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tables = list(dict.fromkeys(case.table for case in CASES))
    add_data_argument(parser)
    parser.add_argument("--device", default="cpu", help="device of torch, such as cuda")
    parser.add_argument("--repeats", type=int, default=3, help="pairs of fits, after warm-up")
    parser.add_argument("--tables", nargs="+", choices=tables, default=tables)
    parser.add_argument("--libraries", nargs="+", choices=list(LIBRARIES), default=list(LIBRARIES))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--quick", action="store_true", help="one batch size, few rows, one epoch")
    parser.add_argument("--json", type=Path, help="write every record here")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.repeats = 1
    try:
        torch.empty(0, device=arguments.device)
    except (RuntimeError, AssertionError) as error:
        parser.error(f"--device {arguments.device}: {str(error).splitlines()[0]}")
    console, cases, records = Console(width=110), chosen_cases(arguments), []
    rate, name = matrix_rate(arguments.device), device_name(arguments.device)
    console.print(f"{name}, {torch.get_num_threads()} threads, {rate / 1e9:,.0f} GFLOP/s\n")
    for case in cases if "fits" in arguments.parts else ():
        of_case = fits(case, arguments, rate)
        print_fits(console, case, of_case)
        records += of_case
        write_json(arguments.json, records, matrix_rate=rate, device=name)
    others = other_parts(arguments, cases)
    if others:
        print_other_parts(console, others)
    write_json(arguments.json, records + others, matrix_rate=rate, device=name)


if __name__ == "__main__":
    main()

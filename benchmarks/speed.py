"""Time of an epoch of ``fit``, of ``transform`` and of ``import skae`` beside what they stand on.

The loop trains the same graph on the same rows: tensor slices, fused Adam, no DataLoader. An epoch
of one and an epoch of the other take turns in one process; the medians' ratio is what counts.

    python benchmarks/speed.py --json speed.json
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch
from skorch.callbacks import Callback
from tables import write_json
from torch import nn

from skae import Autoencoder

WIDTHS = (784, 256, 64, 16)
SHAPES = {"with shortcuts": True, "network alone": False}


class Graph(nn.Module):
    """The graph that an autoencoder trains, written by hand."""

    def __init__(self, shortcut: bool):
        super().__init__()
        self.encoder = self.stack(WIDTHS)
        self.decoder = self.stack(WIDTHS[::-1])
        self.bias = nn.Parameter(torch.zeros(WIDTHS[0]))
        self.shortcut = shortcut
        if shortcut:
            self.down = nn.Linear(WIDTHS[0], WIDTHS[-1], bias=False)
            self.up = nn.Linear(WIDTHS[-1], WIDTHS[0], bias=False)

    @staticmethod
    def stack(widths: tuple[int, ...]) -> nn.Sequential:
        """Return linear layers with SiLU between them."""
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            layers += [nn.Linear(n_in, n_out), nn.SiLU()]
        return nn.Sequential(*layers[:-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the squared error of each row."""
        z = self.encoder(x) + self.down(x) if self.shortcut else self.encoder(x)
        linear = nn.functional.linear(z, self.up.weight, self.bias) if self.shortcut else self.bias
        x_hat = self.decoder(z) + linear
        return nn.functional.mse_loss(x_hat, x, reduction="none").mean(1)


class Turns(Callback):
    """Before each epoch of a fit, time one of a hand-written loop.

    `loss` maps rows to a number; `parameters` are what it trains.
    """

    def __init__(self, X: torch.Tensor, batch_size: int, parameters: Iterable, loss: Callable):
        self.X = X
        self.batch_size = batch_size
        self.loss = loss
        self.optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)
        self.times: dict[str, list[float]] = {"loop": [], "fit": []}

    def on_epoch_begin(self, net, **_) -> None:
        """Run an epoch of the loop."""
        start = time.perf_counter()
        x = self.X[torch.randperm(len(self.X))]
        total = 0.0
        for i in range(0, len(x), self.batch_size):
            loss = self.loss(x[i : i + self.batch_size])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        float(total)
        self.times["loop"].append(time.perf_counter() - start)
        self.start = time.perf_counter()

    def on_epoch_end(self, net, **_) -> None:
        """Note how long the fit took for its epoch."""
        self.times["fit"].append(time.perf_counter() - self.start)

    def medians(self) -> dict:
        """Return median seconds of an epoch of each, and their ratio; the first is warm-up."""
        loop, fit = (self.times[name][1:] for name in ("loop", "fit"))
        return {
            "loop_seconds": median(loop),
            "fit_seconds": median(fit),
            "ratio": median(f / b for f, b in zip(fit, loop, strict=True)),
        }


def epochs(n_rows: int, batch_size: int, shortcut: bool, n_epochs: int) -> dict:
    """Return what an epoch of the fit and of the loop take."""
    X = torch.rand(n_rows, WIDTHS[0])
    graph = Graph(shortcut)
    turns = Turns(X, batch_size, graph.parameters(), lambda x: graph(x).mean())
    Autoencoder(
        WIDTHS[-1],
        hidden_layer_sizes=WIDTHS[1:-1],
        linear_shortcut=shortcut,
        batch_size=batch_size,
        max_iter=n_epochs + 1,
        early_stopping=False,
        net_params={"callbacks": [turns]},
    ).fit(X.numpy())
    return turns.medians()


def transform(n_rows: int, n: int) -> dict:
    """Return median seconds of ``transform`` and of the module by itself, and their ratio."""
    X = torch.rand(n_rows, WIDTHS[0])
    model = Autoencoder(WIDTHS[-1], hidden_layer_sizes=WIDTHS[1:-1], max_iter=1)
    model.set_params(early_stopping=False).fit(X[:2000].numpy())
    times: dict[str, list[float]] = {"module": [], "transform": []}
    for _ in range(n + 1):
        start = time.perf_counter()
        with torch.no_grad():
            model.module_.encode(X)
        times["module"].append(time.perf_counter() - start)
        start = time.perf_counter()
        model.transform(X.numpy())
        times["transform"].append(time.perf_counter() - start)
    module, own = (seconds[1:] for seconds in times.values())
    ratio = median(b / a for a, b in zip(module, own, strict=True))
    return {"module_seconds": median(module), "transform_seconds": median(own), "ratio": ratio}


def imports(n: int) -> dict:
    """Return median seconds to import skae and to import what it stands on, and their ratio."""
    times: dict[str, list[float]] = {"import torch, sklearn, skorch": [], "import skae": []}
    for _ in range(n + 1):
        for statement, seconds in times.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True)
            seconds.append(time.perf_counter() - start)
    parts, own = (seconds[1:] for seconds in times.values())
    ratio = median(b / a for a, b in zip(parts, own, strict=True))
    return {"parts_seconds": median(parts), "skae_seconds": median(own), "ratio": ratio}


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--epochs", type=int, default=9, help="counted, after one of warm-up")
    parser.add_argument("--imports", type=int, default=7, help="counted, after one of warm-up")
    parser.add_argument("--json", type=Path, help="write every record here")
    arguments = parser.parse_args()
    records = []
    for batch_size in arguments.batch_sizes:
        for name, shortcut in SHAPES.items():
            record = epochs(arguments.rows, batch_size, shortcut, arguments.epochs)
            graph = "-".join(map(str, WIDTHS)) + f", {name}, batch {batch_size}"
            print(
                f"{graph}: fit {record['fit_seconds']:.3f} s, loop {record['loop_seconds']:.3f} s "
                f"an epoch of {arguments.rows} rows, ratio {record['ratio']:.3f}"
            )
            records.append({"what": "epoch", "graph": graph, **record})
    record = transform(60_000, arguments.epochs)
    print(
        f"transform of 60,000 x 784 {record['transform_seconds']:.3f} s, the module alone "
        f"{record['module_seconds']:.3f} s, ratio {record['ratio']:.3f}"
    )
    records.append({"what": "transform", **record})
    record = imports(arguments.imports)
    print(
        f"import skae {record['skae_seconds']:.2f} s, torch, sklearn and skorch "
        f"{record['parts_seconds']:.2f} s, ratio {record['ratio']:.3f}"
    )
    records.append({"what": "import", **record})
    write_json(arguments.json, records)


if __name__ == "__main__":
    main()

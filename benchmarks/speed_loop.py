"""The graph of an autoencoder and the loop that trains it, written by hand.

Tensor slices, fused Adam, no DataLoader: the least that a training of this graph does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from statistics import median

import torch
from skorch.callbacks import Callback
from torch import Tensor, nn

WIDTHS = (784, 256, 64, 16)


class Graph(nn.Module):
    """The graph that an autoencoder trains, written by hand."""

    def __init__(
        self,
        shortcut: bool,
        widths: tuple[int, ...] = WIDTHS,
        activation: type[nn.Module] = nn.SiLU,
    ):
        super().__init__()
        self.encoder = self.stack(widths, activation)
        self.decoder = self.stack(widths[::-1], activation)
        self.bias = nn.Parameter(torch.zeros(widths[0]))
        self.shortcut = shortcut
        if shortcut:
            self.down = nn.Linear(widths[0], widths[-1], bias=False)
            self.up = nn.Linear(widths[-1], widths[0], bias=False)

    @staticmethod
    def stack(widths: tuple[int, ...], activation: type[nn.Module] = nn.SiLU) -> nn.Sequential:
        """Return linear layers with an activation between them."""
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            layers += [nn.Linear(n_in, n_out), activation()]
        return nn.Sequential(*layers[:-1])

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return the reconstructed rows."""
        z = self.encoder(x) + self.down(x) if self.shortcut else self.encoder(x)
        linear = nn.functional.linear(z, self.up.weight, self.bias) if self.shortcut else self.bias
        return self.decoder(z) + linear

    def forward(self, x: Tensor) -> Tensor:
        """Return the squared error of each row."""
        return nn.functional.mse_loss(self.reconstruct(x), x, reduction="none").mean(1)


def synchronize(device: str | torch.device) -> None:
    """Wait for a GPU to finish what it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


class Loop:
    """A loop written by hand; `loss` maps rows to a number, `parameters` are what it trains."""

    def __init__(self, X: Tensor, batch_size: int, parameters: Iterable, loss: Callable):
        self.X = X
        self.batch_size = batch_size
        self.loss = loss
        self.optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)

    def run_epoch(self) -> None:
        """Run an epoch."""
        x = self.X[torch.randperm(len(self.X), device=self.X.device)]
        total = 0.0
        for i in range(0, len(x), self.batch_size):
            loss = self.loss(x[i : i + self.batch_size])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        float(total)


class Turns(Callback):
    """Before each epoch of a fit, time one of a hand-written loop.

    `loss` maps rows to a number; `parameters` are what it trains.
    """

    def __init__(self, X: Tensor, batch_size: int, parameters: Iterable, loss: Callable):
        self.loop = Loop(X, batch_size, parameters, loss)
        self.times: dict[str, list[float]] = {"loop": [], "fit": []}

    def now(self) -> float:
        """Return the time, after all that was started."""
        synchronize(self.loop.X.device)
        return time.perf_counter()

    def on_epoch_begin(self, net, **_) -> None:
        """Run an epoch of the loop."""
        start = self.now()
        self.loop.run_epoch()
        self.start = self.now()
        self.times["loop"].append(self.start - start)

    def on_epoch_end(self, net, **_) -> None:
        """Note how long the fit took for its epoch."""
        self.times["fit"].append(self.now() - self.start)

    def medians(self) -> dict:
        """Return median seconds of an epoch of each, and their ratio; the first is warm-up."""
        loop, fit = (self.times[name][1:] for name in ("loop", "fit"))
        return {
            "loop_seconds": median(loop),
            "fit_seconds": median(fit),
            "ratio": median(f / b for f, b in zip(fit, loop, strict=True)),
        }

"""MNIST from 30 numbers an image: PCA, a dense autoencoder and a convolutional one.

Errors are squared errors of pixels in [0, 1], summed over an image, as Hinton and Salakhutdinov
(2006) give them: 3.00 for a network of the dense one's sizes, pretrained layer by layer. All 60,000
training images are trained on, none is held out. MNIST is read from $SKAE_DATA/images/mnist.npz.

With ``--loop``, only an epoch of `Conv` is timed, beside a loop written by hand for the same
network; an epoch of one and an epoch of the other take turns.

    python benchmarks/image_reconstruction.py --json out.json --figure reconstructions.png
    python benchmarks/image_reconstruction.py --loop
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from report import show_table, write_json
from rich.table import Table
from sklearn.decomposition import PCA
from speed import Turns
from torch import nn

from skae import MLP, Autoencoder, Conv

K = 30
PUBLISHED = 3.00
SETTINGS = {"early_stopping": False, "random_state": 0}


def load(quick: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return training rows, test rows and the digits of the latter."""
    if "SKAE_DATA" not in os.environ:
        raise SystemExit("SKAE_DATA is not set; it names the folder of images/mnist.npz")
    n_train, n_test = (2000, 500) if quick else (60_000, 10_000)
    with np.load(Path(os.environ["SKAE_DATA"]) / "images" / "mnist.npz") as file:
        train, test = (
            file[key][:n].reshape(n, -1) / np.float32(255)
            for key, n in (("X_train", n_train), ("X_test", n_test))
        )
        return train, test, file["y_test"][:n_test]


def models(epochs: dict[str, int]) -> Iterator[tuple[str, object]]:
    """Yield a label and an unfitted model of each kind."""
    yield "PCA", PCA(K)
    for name, architecture, settings in (
        ("dense", MLP((1000, 500, 250)), {"learning_rate": 1e-3, "weight_decay": 0.1}),
        ("conv", Conv(), {"weight_decay": 0.1}),
    ):
        yield (
            f"{type(architecture).__name__}, {epochs[name]} epochs",
            Autoencoder(
                K, architecture=architecture, max_iter=epochs[name], **settings, **SETTINGS
            ),
        )


def measure(
    train: np.ndarray, test: np.ndarray, epochs: dict[str, int]
) -> tuple[list[dict], dict[str, np.ndarray]]:
    """Return a record per model, and its reconstructed test images."""
    records, reconstructed = [], {}
    for label, model in models(epochs):
        start = time.perf_counter()
        model.fit(train)
        seconds = time.perf_counter() - start
        x_hat = model.inverse_transform(model.transform(test))
        of_train = model.inverse_transform(model.transform(train[: len(test)]))
        record = {
            "model": label,
            "error": summed_error(x_hat, test),
            "train_error": summed_error(of_train, train[: len(test)]),
            "seconds": seconds,
        }
        records.append(record)
        reconstructed[f"{label.split(',')[0]}\n{record['error']:.2f}"] = x_hat
    return records, reconstructed


def summed_error(x_hat: np.ndarray, x: np.ndarray) -> float:
    """Return the mean over images of the squared error summed over pixels."""
    return float(np.square(x_hat - x).sum(axis=1, dtype=float).mean())


def show(records: list[dict]) -> None:
    """Print a line per model."""
    table = Table(title=f"MNIST, {K} codes: summed squared error of an image", box=None)
    for column in ("model", "test", "training", "seconds"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for r in records:
        table.add_row(
            r["model"], f"{r['error']:.2f}", f"{r['train_error']:.2f}", f"{r['seconds']:.0f}"
        )
    table.add_row("Hinton and Salakhutdinov (2006)", f"{PUBLISHED:.2f}", "", "", style="dim")
    show_table(table, width=100)


def draw(path: Path, test: np.ndarray, y: np.ndarray, reconstructed: dict) -> None:
    """Draw a test image of each digit and its reconstructions."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = [np.flatnonzero(y == digit)[2] for digit in range(10)]
    rows = {"original": test, **reconstructed}
    figure, axes = plt.subplots(len(rows), 10, figsize=(9, 3.9), layout="constrained")
    for line, (label, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(line, images[shown], strict=True):
            axis.imshow(image.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_color("0.8")
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    figure.suptitle(f"MNIST from {K} numbers an image, and the error of all test images")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


class FlattenChannelsLast(nn.Module):
    """Maps as rows, in the order that they have in memory."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the rows."""
        return maps.permute(0, 2, 3, 1).flatten(1)


class UnflattenChannelsLast(nn.Module):
    """Rows as maps of 64 channels, in the order that they have in memory."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the maps."""
        return x.unflatten(1, (7, 7, 64)).permute(0, 3, 1, 2)


class Graph(nn.Module):
    """`Conv()` with the linear shortcuts, written by hand for images of 28 x 28."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Unflatten(1, (1, 28, 28)),
            nn.Conv2d(1, 32, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.SiLU(),
            FlattenChannelsLast(),
            nn.Linear(64 * 7 * 7, 256),
            nn.SiLU(),
            nn.Linear(256, K),
        )
        self.decoder = nn.Sequential(
            nn.Linear(K, 256),
            nn.SiLU(),
            nn.Linear(256, 64 * 7 * 7),
            UnflattenChannelsLast(),
            nn.SiLU(),
            nn.ConvTranspose2d(64, 32, 3, stride=2, padding=1, output_padding=1),
            nn.SiLU(),
            nn.ConvTranspose2d(32, 1, 3, stride=2, padding=1, output_padding=1),
            nn.Flatten(),
        )
        self.down = nn.Linear(784, K, bias=False)
        self.up = nn.Linear(K, 784)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the reconstruction."""
        z = self.encoder(x) + self.down(x)
        return self.decoder(z) + self.up(z)


def time_epochs(train: np.ndarray, n_epochs: int) -> dict:
    """Return what an epoch of the fit and of the loop take, and their ratio."""
    graph = Graph().to(memory_format=torch.channels_last)  # faster than the default on a CPU

    def loss(x: torch.Tensor) -> torch.Tensor:
        return nn.functional.mse_loss(graph(x), x)

    turns = Turns(torch.from_numpy(train), 128, graph.parameters(), loss)
    Autoencoder(
        K,
        architecture=Conv(),
        batch_size=128,
        max_iter=n_epochs + 1,
        net_params={"callbacks": [turns]},
        **SETTINGS,
    ).fit(train)
    return turns.medians()


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dense-epochs", type=int, default=60)
    parser.add_argument("--conv-epochs", type=int, default=24)
    parser.add_argument("--quick", action="store_true", help="2 epochs, 2,000 rows: does it run?")
    parser.add_argument("--loop", action="store_true", help="time epochs beside a loop instead")
    parser.add_argument("--rows", type=int, default=6000, help="of an epoch of --loop")
    parser.add_argument("--json", type=Path, help="write every record here")
    parser.add_argument("--figure", type=Path, help="draw reconstructed digits here")
    arguments = parser.parse_args()
    train, test, y = load(arguments.quick)
    if arguments.loop:
        record = time_epochs(train[: arguments.rows], 2 if arguments.quick else 9)
        print(
            f"Conv(): fit {record['fit_seconds']:.3f} s, loop {record['loop_seconds']:.3f} s an "
            f"epoch of {min(len(train), arguments.rows)} images, ratio {record['ratio']:.3f}"
        )
        write_json(arguments.json, [{"what": "epoch", **record}])
        return
    epochs = {"dense": arguments.dense_epochs, "conv": arguments.conv_epochs}
    records, reconstructed = measure(
        train, test, dict.fromkeys(epochs, 2) if arguments.quick else epochs
    )
    show(records)
    write_json(arguments.json, records)
    if arguments.figure is not None:
        draw(arguments.figure, test, y, reconstructed)
        print(f"digits drawn in {arguments.figure}")


if __name__ == "__main__":
    main()

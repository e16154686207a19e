"""The variational autoencoder beside what is known: PCA's likelihood, a tutorial loop, the papers.

1. Without hidden layers, on real tables of at least 1,000 rows: PCA's log likelihood per feature
   minus ours, from both starts.
2. Binarised MNIST, 784-400-20 mirrored, Adam 1e-3, batches of 128, ten epochs: the test bound and
   seconds of fit, and of the loop that tutorials of PyTorch have.
3. With ``--epochs N``: a longer run with images binarised anew for each epoch, by the bound with
   5,000 importance-weighted draws on 1,000 test images. With ``--importance-epochs N``, it then
   goes on with 50 draws and the importance-weighted objective.

    SKAE_DATA=FOLDER python benchmarks/variational.py --epochs 100 --json variational.json
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from report import write_json
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from tables import from_folder
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from skae import MLP, AutoencoderWarning, VariationalAutoencoder

ROWS, CODES = 5000, 4
PUBLISHED = {"elbo": 89.9, "iwae": 87.1}  # nats, with 1 draw and with 50 in training
MNIST = {
    "hidden_layer_sizes": (400,),
    "activation": "relu",
    "likelihood": "bernoulli",
    "linear_shortcut": False,
    "batch_size": 128,
    "learning_rate": 1e-3,
    "schedule": "constant",
    "early_stopping": False,
}


def real_tables() -> Iterator[tuple[str, np.ndarray]]:
    """Yield real tables of at least 1,000 rows, standardised, constant columns dropped."""
    tables = [("digits", load_digits().data)]
    folder = os.environ.get("SKAE_DATA")
    if folder:
        tables += [t for kind in ("anomaly", "imputation") for t in from_folder(Path(folder, kind))]
    for name, X in tables:
        X = X[:, X.std(0) > 0]
        if len(X) >= 1000 and X.shape[1] > CODES:
            yield name, StandardScaler().fit_transform(X[:ROWS])


def gap_to_pca(X: np.ndarray, init: str) -> float:
    """Return PCA's log likelihood of the training rows minus ours, in nats per feature."""
    vae = VariationalAutoencoder(
        CODES, architecture=MLP(hidden_layer_sizes=()), init=init, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AutoencoderWarning)  # that it stays there is the point
        vae.fit(X)
    return float(PCA(CODES).fit(X).score(X) - vae.score(X)) / X.shape[1]


class Tutorial(nn.Module):
    """The network that tutorials have."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.mean, self.log_variance = (
            nn.Linear(784, 400),
            nn.Linear(400, 20),
            nn.Linear(400, 20),
        )
        self.fc3, self.fc4 = nn.Linear(20, 400), nn.Linear(400, 784)

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log variance."""
        h = F.relu(self.fc1(x))
        return self.mean(h), self.log_variance(h)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Return probabilities."""
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        """Return minus the bound of a batch, with one draw."""
        mean, log_variance = self.encode(x)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        bce = F.binary_cross_entropy(self.decode(z), x, reduction="sum")
        return bce - 0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())

    @torch.no_grad()
    def bound(self, x: torch.Tensor, n: int = 64) -> float:
        """Return the mean bound, with n draws."""
        return -float(sum(self.loss(x) for _ in range(n))) / n / len(x)


def tutorial(X: np.ndarray, X_test: np.ndarray, epochs: int, seed: int) -> dict:
    """Train as the tutorial does; return test bound and seconds."""
    torch.manual_seed(seed)
    model = Tutorial()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(torch.from_numpy(X)), batch_size=128, shuffle=True)
    start = time.perf_counter()
    for _ in range(epochs):
        for (x,) in loader:
            optimizer.zero_grad()
            loss = model.loss(x)
            loss.backward()
            optimizer.step()
    seconds = time.perf_counter() - start
    return {"bound": model.bound(torch.from_numpy(X_test)), "seconds": seconds}


def ours(X: np.ndarray, X_test: np.ndarray, epochs: int, seed: int) -> dict:
    """Train the same network by `fit`; return test bound and seconds."""
    vae = VariationalAutoencoder(20, max_iter=epochs, random_state=seed, **MNIST)
    start = time.perf_counter()
    vae.fit(X)
    seconds = time.perf_counter() - start
    return {"bound": vae.score(X_test), "seconds": seconds}


def longer(
    X: np.ndarray, X_test: np.ndarray, epochs: dict[str, int], seed: int, precision: str
) -> Iterator[dict]:
    """Train on images binarised anew for each epoch, by one objective and then by another.

    After each, give -log p(x) of test images and the seconds so far.
    """
    rng = np.random.default_rng(seed)
    binary_test = (rng.random(X_test.shape) < X_test).astype(np.float32)[:1000]
    vae = VariationalAutoencoder(50, n_importance_draws=5000, random_state=seed, **MNIST)
    vae.set_params(hidden_layer_sizes=(200, 200), activation="tanh", precision=precision)
    seconds = 0.0
    for objective, n_epochs in epochs.items():
        n_draws = 50 if objective == "iwae" else 1
        vae.set_params(objective=objective, n_draws=n_draws)
        for epoch in range(n_epochs):
            start = time.perf_counter()
            vae.set_params(learning_rate=1e-3 * 10 ** (-epoch / n_epochs))
            vae.partial_fit((rng.random(X.shape) < X).astype(np.float32))
            seconds += time.perf_counter() - start
        if n_epochs:
            scores = vae.score_samples(binary_test)
            yield {
                "objective": objective,
                "epochs": n_epochs,
                "seconds": seconds,
                "nll": -float(scores.mean()),
                "standard_error": float(scores.std() / np.sqrt(len(scores))),
            }


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=0, help="of the longer run, 1 draw")
    parser.add_argument("--importance-epochs", type=int, default=0, help="after these, 50 draws")
    parser.add_argument("--precision", default="full", help="of the longer run: full or bf16")
    parser.add_argument("--skip", nargs="*", choices=["pca", "tutorial"], default=[])
    parser.add_argument("--json", type=Path, help="write every record here")
    arguments = parser.parse_args()
    records = []
    for name, X in real_tables() if "pca" not in arguments.skip else ():
        gaps = {init: gap_to_pca(X, init) for init in ("pca", "random")}
        shape = " x ".join(map(str, X.shape))
        print(f"{name}, {shape}: " + ", ".join(f"{g:+.4f} from {i}" for i, g in gaps.items()))
        records.append({"what": "gap to PCA", "table": name, **gaps})
    folder = os.environ.get("SKAE_DATA")
    if folder:
        with np.load(Path(folder, "images", "mnist.npz")) as file:
            X, X_test = (file[n].reshape(-1, 784) / np.float32(255) for n in ("X_train", "X_test"))
        binary, binary_test = ((part > 0.5).astype(np.float32) for part in (X, X_test))
        for run in (tutorial, ours) if "tutorial" not in arguments.skip else ():
            record = run(binary, binary_test, 10, arguments.seed)
            print(f"{run.__name__}: bound {record['bound']:.2f}, {record['seconds']:.1f} s")
            records.append({"what": run.__name__, **record})
        lengths = {"elbo": arguments.epochs, "iwae": arguments.importance_epochs}
        for record in longer(X, X_test, lengths, arguments.seed, arguments.precision):
            print(
                f"{record['objective']}, {record['epochs']} epochs, {record['seconds']:.0f} s in "
                f"all: -log p(x) = {record['nll']:.2f} +- {record['standard_error']:.2f}; "
                f"published {PUBLISHED[record['objective']]}",
                flush=True,
            )
            records.append({"what": "longer run", **record})
    write_json(arguments.json, records)


if __name__ == "__main__":
    main()

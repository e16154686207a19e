"""The same training by skae, a bare loop and other libraries, each measured by itself.

All train encoder and decoder of the same layer sizes with ReLU between them, on the same float32
rows, for the same number of epochs and rows per batch, with Adam at 1e-3. Validation, early
stopping, dropout, batch normalisation and weight decay are off. What remains different:

- skae: its network alone, from random weights, with its defaults otherwise: it checks and
  conditions the table, and its Adam follows a schedule. The weights come back to the CPU.
- loop: tensor slices of a table that is on the device, fused Adam, no DataLoader.
- skorch: `NeuralNetRegressor` with its default loader, which collates single rows, and its default
  callbacks.
- PyOD AutoEncoder: fetches and collates single rows, drops the last incomplete batch, and has
  an activation on the code; ``fit`` also scores all rows once. Its standardisation of each row is
  off.
- PyOD VAE: likewise, but with a second output of the encoder, noise in place of the activation on
  the code, and the divergence, which its default capacity of 0 clamps to 0.
- pythae AE: given this graph. It fetches and collates single rows as dictionaries, copies the model
  whenever the loss of an epoch is the lowest, shows a progress bar, and writes the best model to a
  file at the end. Without validation rows it evaluates nothing.
- autoencoders AE: its loader collates single rows, and it prints a line for each batch. It requires
  validation and test rows, and is given one; it writes each model that is the best on that one, and
  the last.
- scikit-learn MLPRegressor: fitted to its own input, in numpy, with an activation on the code. It
  cannot use a GPU.

`speed.py` calls this script for one library at a time, so that each has a process of its own.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from speed_cases import Case
from speed_loop import Graph, Loop, synchronize
from torch import Tensor, nn

from skae import Autoencoder

LEARNING_RATE = 1e-3


Fit = Callable[[np.ndarray, Case], int]  # trains; returns the number of parameters


class UnavailableError(Exception):
    """A library cannot be measured here."""


def size(module: nn.Module) -> int:
    """Return the number of parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def skae(device: str) -> Fit:
    """Return a fit of `Autoencoder`."""

    def fit(X: np.ndarray, case: Case) -> int:
        model = Autoencoder(
            case.widths[-1],
            hidden_layer_sizes=case.widths[1:-1],
            activation="relu",
            linear_shortcut=False,
            init="random",
            learning_rate=LEARNING_RATE,
            batch_size=case.batch_size,
            max_iter=case.epochs,
            early_stopping=False,
            device=device,
        )
        return size(model.fit(X).module_)

    return fit


def loop(device: str) -> Fit:
    """Return a training by the hand-written loop."""

    def fit(X: np.ndarray, case: Case) -> int:
        graph = Graph(False, case.widths, nn.ReLU).to(device)
        rows = torch.from_numpy(X).to(device)
        training = Loop(rows, case.batch_size, graph.parameters(), lambda x: graph(x).mean())
        for _ in range(case.epochs):
            training.run_epoch()
        return size(graph)

    return fit


def skorch(device: str) -> Fit:
    """Return a fit of skorch's regressor."""
    from skorch import NeuralNetRegressor

    class Network(Graph):
        def forward(self, x: Tensor) -> Tensor:
            return self.reconstruct(x)

    def fit(X: np.ndarray, case: Case) -> int:
        net = NeuralNetRegressor(
            Network(False, case.widths, nn.ReLU),
            optimizer=torch.optim.Adam,
            lr=LEARNING_RATE,
            batch_size=case.batch_size,
            max_epochs=case.epochs,
            iterator_train__shuffle=True,
            train_split=None,
            verbose=0,
            device=device,
        )
        return size(net.fit(X, X).module_)

    return fit


def pyod_settings(case: Case, device: str) -> dict:
    """Return what both detectors are given."""
    return {
        "preprocessing": False,
        "lr": LEARNING_RATE,
        "epoch_num": case.epochs,
        "batch_size": case.batch_size,
        "optimizer_params": {},
        "batch_norm": False,
        "dropout_rate": 0,
        "verbose": 0,
        "device": device,
    }


def pyod_autoencoder(device: str) -> Fit:
    """Return a fit of PyOD's autoencoder."""
    from pyod.models.auto_encoder import AutoEncoder

    def fit(X: np.ndarray, case: Case) -> int:
        sizes = list(case.widths[1:])
        model = AutoEncoder(hidden_neuron_list=sizes, **pyod_settings(case, device))
        return size(model.fit(X).model)

    return fit


def pyod_vae(device: str) -> Fit:
    """Return a fit of PyOD's variational autoencoder."""
    from pyod.models.vae import VAE

    def fit(X: np.ndarray, case: Case) -> int:
        model = VAE(
            encoder_neuron_list=list(case.widths[1:-1]),
            decoder_neuron_list=list(case.widths[-2:0:-1]),
            latent_dim=case.widths[-1],
            **pyod_settings(case, device),
        )
        return size(model.fit(X).model)

    return fit


def pythae(device: str) -> Fit:
    """Return a training by pythae's pipeline."""
    from pythae.models import AE, AEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig

    class Half:
        def __init__(self, widths: tuple[int, ...], output: str):
            super().__init__()
            self.stack, self.output = Graph.stack(widths, nn.ReLU), output

        def forward(self, x: Tensor) -> ModelOutput:
            return ModelOutput(**{self.output: self.stack(x)})

    class Encoder(Half, BaseEncoder):
        pass

    class Decoder(Half, BaseDecoder):
        pass

    def fit(X: np.ndarray, case: Case) -> int:
        model = AE(
            AEConfig(input_dim=(X.shape[1],), latent_dim=case.widths[-1]),
            Encoder(case.widths, "embedding"),
            Decoder(case.widths[::-1], "reconstruction"),
        )
        with tempfile.TemporaryDirectory() as folder:
            config = BaseTrainerConfig(
                output_dir=folder,
                per_device_train_batch_size=case.batch_size,
                num_epochs=case.epochs,
                learning_rate=LEARNING_RATE,
                no_cuda=device == "cpu",
            )
            TrainingPipeline(model, config)(X)
        return size(model)

    return fit


def autoencoders(device: str) -> Fit:
    """Return a training by the trainer of autoencoders."""
    from autoencoders import AutoencoderConfig, AutoencoderModel
    from autoencoders.data.base import DatasetSplits, TensorSpec, create_dataloaders
    from autoencoders.training import AETrainer, TrainingConfig

    def fit(X: np.ndarray, case: Case) -> int:
        rows = torch.from_numpy(X)
        model = AutoencoderModel(
            AutoencoderConfig(),
            sample_spec=TensorSpec((X.shape[1],)),
            encoder="mlp",
            encoder_config={"hidden_dims": list(case.widths[1:]), "activation": "relu"},
        )
        splits = DatasetSplits(rows, rows[:1], rows[:1])
        with tempfile.TemporaryDirectory() as folder:
            config = TrainingConfig(
                output_dir=folder,
                epochs=case.epochs,
                learning_rate=LEARNING_RATE,
                device=device,
            )
            loaders = create_dataloaders(splits, batch_size=case.batch_size)
            AETrainer(model, config).fit(loaders)
        return size(model)

    return fit


def mlp_regressor(device: str) -> Fit:
    """Return a fit of scikit-learn's regressor to its own input."""
    from sklearn.neural_network import MLPRegressor

    if device != "cpu":
        raise UnavailableError(f"cannot use {device}")

    def fit(X: np.ndarray, case: Case) -> int:
        model = MLPRegressor(
            hidden_layer_sizes=(*case.widths[1:], *case.widths[-2:0:-1]),
            alpha=0,
            batch_size=case.batch_size,
            learning_rate_init=LEARNING_RATE,
            max_iter=case.epochs,
            n_iter_no_change=case.epochs + 1,
        ).fit(X, X)
        return sum(array.size for array in (*model.coefs_, *model.intercepts_))

    return fit


LIBRARIES: dict[str, Callable[[str], Fit]] = {
    "skae": skae,
    "loop": loop,
    "skorch": skorch,
    "PyOD AutoEncoder": pyod_autoencoder,
    "PyOD VAE": pyod_vae,
    "pythae AE": pythae,
    "autoencoders AE": autoencoders,
    "MLPRegressor": mlp_regressor,
}


def make_fit(library: str, device: str) -> Fit:
    """Return the fit of a library, or raise UnavailableError with the reason."""
    try:
        return LIBRARIES[library](device)
    except ModuleNotFoundError as error:
        if error.name == LIBRARIES[library].__name__.split("_")[0]:
            raise UnavailableError("not installed") from error
        raise UnavailableError(f"fails to import: {error}") from error
    except ImportError as error:
        raise UnavailableError(f"fails to import: {error}") from error


def peak_bytes() -> int:
    """Return the most memory that this process has held, since it was reset on Linux."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def memory(device: str) -> Iterator[list[float]]:
    """Give a list that holds, after the block, the MB that the device's memory rose by at most.

    On the CPU, Linux counts from the present; elsewhere it counts what exceeds all that was before.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)  # what was freed goes back to the system
    rose = [0.0]
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield rose
        rose[0] = (torch.cuda.max_memory_allocated(device) - before) / 1e6
        return
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        with suppress(OSError):
            reset.write_text("5")  # the peak becomes the present
    before = peak_bytes()
    yield rose
    rose[0] = (peak_bytes() - before) / 1e6


def seconds(fit: Fit, X: np.ndarray, case: Case, device: str) -> float:
    """Return how long a fit takes."""
    gc.collect()
    start = time.perf_counter()
    fit(X, case)
    synchronize(device)
    return time.perf_counter() - start


def measure(library: str, case: Case, device: str, repeats: int, folder: Path | None) -> dict:
    """Return the figures of a library: fits of it and of the loop take turns."""
    fit, by_hand = make_fit(library, device), loop(device)
    X = case.load(folder)
    for each in (fit, by_hand):  # what is loaded and compiled by the first call
        each(X[: 4 * case.batch_size], replace(case, epochs=1))
    with memory(device) as rose:
        n_parameters = fit(X, case)
    own, loops = [], []
    for _ in range(repeats):
        loops.append(seconds(by_hand, X, case, device))
        own.append(seconds(fit, X, case, device))
    return {
        "parameters": n_parameters,
        "fit_seconds": median(own),
        "samples_per_second": len(X) * case.epochs / median(own),
        "peak_mb": rose[0],
        "loop_ratio": median(a / b for a, b in zip(own, loops, strict=True)),
        "all_fit_seconds": own,
        "all_loop_seconds": loops,
    }


def measure_in_process(
    library: str, case: Case, device: str, repeats: int, folder: Path | None
) -> dict:
    """Return what `measure` returns in a process of its own, or why it returns nothing."""
    task = [library, asdict(case), device, repeats, folder and str(folder)]
    process = subprocess.run(
        [sys.executable, __file__, json.dumps(task)], capture_output=True, text=True
    )
    if process.returncode == 0:
        return json.loads(process.stdout)
    if library in ("skae", "loop"):
        raise SystemExit(process.stderr)
    return {"reason": f"fails: {(process.stderr.splitlines() or ['killed'])[-1]}"}


def main() -> None:
    """Measure what the first argument says, and print it; libraries print nothing."""
    library, case, device, repeats, folder = json.loads(sys.argv[1])
    case["widths"] = tuple(case["widths"])
    answers, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: SIM115
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    try:
        result = measure(library, Case(**case), device, repeats, folder and Path(folder))
    except UnavailableError as reason:
        result = {"reason": str(reason)}
    print(json.dumps(result), file=answers)


if __name__ == "__main__":
    main()

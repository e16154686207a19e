"""A fit that can be killed: its state in a file, after an epoch now and then."""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from skae._files import read, write
from skae.training._optimizer import load_optimizer, state_of_optimizer

if TYPE_CHECKING:
    from skae.base import BaseAutoencoder
    from skae.training._net import Net

INTERVAL = 1.0  # seconds between two writes, at least
FREE = ("checkpoint", "verbose", "net_params", "random_state")  # the last is in the file


class Checkpoint:
    """The file of one fit.

    Parameters
    ----------
    path : str or path
        Where it is, or will be.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = path
        self.written = time.monotonic()
        self.state: dict[str, Any] | None = None
        if os.path.exists(path):
            self.state = read(path, "checkpoint")

    def random_state(self, random_state: np.random.RandomState) -> np.random.RandomState:
        """Return the generator that the fit began with."""
        if self.state is None:
            self.began = random_state.get_state(legacy=False)
        else:
            self.began = self.state["began"]
            random_state = np.random.RandomState()
            random_state.set_state(self.began)
        return random_state

    def identify(self, estimator: BaseAutoencoder, conditioned: Any, n_before: int) -> None:
        """Note what fit this is; refuse the file of another one.

        Raises
        ------
        ValueError
            If the file belongs to a fit of other parameters or other rows.
        """
        parameters = {
            name: _described(value)
            for name, value in estimator.get_params().items()
            if name not in FREE
        }
        described = json.dumps([type(estimator).__name__, parameters])
        digest = hashlib.sha256(described.encode())
        digest.update(str(n_before).encode())
        for piece in conditioned.pieces():
            digest.update(conditioned.values(piece)[0].numpy().tobytes())
        digest.update(conditioned.weight.numpy().tobytes())
        self.fit = digest.hexdigest()
        if self.state is not None and self.state["fit"] != self.fit:
            raise ValueError(
                f"checkpoint={os.fspath(self.path)!r} belongs to a fit with other parameters or "
                "other rows; remove the file or choose another."
            )

    def resume(self, net: Net, order: torch.Generator) -> None:
        """Bring a net, about to run its first epoch, to where the file says it was."""
        if self.state is None:
            return
        state = self.state
        modules = {name: torch.tensor(value) for name, value in state["module"].items()}
        net.module_.load_state_dict(modules)
        load_optimizer(net, state["optimizer"])
        net.n_steps_, net.n_epochs_ = state["n_steps"], len(state["history"])
        for epoch in state["history"]:
            net.history.new_epoch()
            net.history[-1].update(epoch)
        if net.best_ is not None:
            net.best_.load(state["best"])
        order.set_state(torch.tensor(state["order"]))
        torch.random.set_rng_state(torch.tensor(state["noise"]))

    def note(self, net: Net, order: torch.Generator) -> None:
        """Write where a net is after an epoch, unless it was written just now."""
        if time.monotonic() - self.written < INTERVAL:
            return
        module = {name: t.cpu().numpy() for name, t in net.module_.state_dict().items()}
        kept = ("epoch", "train_loss", "valid_loss", "valid_loss_best", "dur")
        write(
            self.path,
            "checkpoint",
            {
                "fit": self.fit,
                "began": self.began,
                "module": module,
                "optimizer": state_of_optimizer(net),
                "n_steps": net.n_steps_,
                "history": [{k: e[k] for k in kept if k in e} for e in net.history],
                "best": None if net.best_ is None else net.best_.state(),
                "order": order.get_state().numpy(),
                "noise": torch.random.get_rng_state().numpy(),
            },
        )
        self.written = time.monotonic()


def _described(value: Any) -> str:
    """Return a text that is the same in another process."""
    if hasattr(value, "get_params"):
        return type(value).__name__
    if callable(value):
        return f"{value.__module__}:{value.__qualname__}"
    return repr(value)

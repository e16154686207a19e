"""Checkpoints: the state of a fit in a file, from which it can resume."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from skae import _schema as schema
from skae._file_format import check_place, read, write
from skae.data import ALONE, Group
from skae.training._module_state import moments_fit
from skae.training._optimizer import load_optimizer, state_of_optimizer

INTERVAL = 1.0  # minimum number of seconds between two writes


class Checkpoint:
    """The checkpoint file of one fit.

    Parameters
    ----------
    path : str or path
        Path of the file, which need not exist.
    fit : callable
        Returns the digest of the fit.
    group : Group
        The processes of the fit; only that of rank 0 reads and writes the file.

    Raises
    ------
    ValueError
        If the file cannot be written, is damaged or belongs to another fit.
    """

    def __init__(self, path: str | os.PathLike[str], fit: Callable[[], str], group: Group = ALONE):
        self.path = path
        self.group = group
        self.written = time.monotonic()
        self.state: dict[str, Any] | None = None
        if group.rank == 0:
            self._open(fit())
        if group.size > 1:
            self.state = self._received()

    def _open(self, fit: str) -> None:
        """Read the state in the file, if there is one."""
        self.fit = fit
        check_place(self.path, "checkpoint")
        if os.path.exists(self.path):
            self.state = read(self.path, "checkpoint", _is_state)
            if self.state["fit"] != fit:
                raise ValueError(
                    f"checkpoint={os.fspath(self.path)!r} belongs to a fit with other parameters "
                    "or other samples; remove the file or choose another one."
                )

    def _received(self) -> dict[str, Any] | None:
        """Return the state that the process of rank 0 has read."""
        content = b"" if self.state is None else Path(self.path).read_bytes()
        sent = self.group.gather(torch.tensor(bytearray(content), dtype=torch.uint8)).numpy()
        if not len(sent):
            return None
        with TemporaryDirectory() as folder:
            copy = Path(folder) / "checkpoint"
            copy.write_bytes(sent.tobytes())
            return read(copy, "checkpoint", _is_state)

    def random_state(self, random_state: np.random.RandomState) -> np.random.RandomState:
        """Return the generator that the fit started with."""
        if self.state is None:
            self.began = random_state.get_state(legacy=False)
        else:
            self.began = self.state["began"]
            random_state = np.random.RandomState()
            random_state.set_state(self.began)
        return random_state

    def resume(self, net: Any, order: torch.Generator) -> None:
        """Load the state in the file, if there is one, into a net before its first epoch."""
        if self.state is None:
            return
        state = self.state
        self._check_fits(net, state)
        modules = {name: torch.tensor(value) for name, value in state["module"].items()}
        net.module_.load_state_dict(modules)
        load_optimizer(net, state["optimizer"])
        net.n_steps_, net.n_epochs_ = state["n_steps"], len(state["history"])
        net.stop_, net.term_names_ = state["stop"], state["term_names"]
        for epoch in state["history"]:
            net.history.new_epoch()
            net.history[-1].update(epoch)
        if net.best_ is not None:
            net.best_.load(state["best"])
        order.set_state(torch.tensor(state["order"]))
        net.random_.generator.set_state(torch.tensor(state["noise"]))

    def _check_fits(self, net: Any, state: dict[str, Any]) -> None:
        """Raise ValueError if the arrays of a file do not fit a net."""
        shapes = {name: tuple(t.shape) for name, t in net.module_.state_dict().items()}
        best = state["best"]
        if (
            {name: value.shape for name, value in state["module"].items()} != shapes
            or (best is None) != (net.best_ is None)
            or (best and [value.shape for value in best["values"]] != list(shapes.values()))
            or len(state["history"]) > net.max_epochs
            or not moments_fit(state["optimizer"]["moments"], shapes)
        ):
            raise ValueError(
                f"checkpoint={os.fspath(self.path)!r} cannot be read as checkpoint of skae: it is "
                "damaged."
            )

    def save(self, net: Any, order: torch.Generator) -> None:
        """Write the state of a net after an epoch, unless the last write was too recent."""
        if self.group.rank > 0 or time.monotonic() - self.written < INTERVAL:
            return
        module = {name: t.cpu().numpy() for name, t in net.module_.state_dict().items()}
        write(
            self.path,
            "checkpoint",
            {
                "fit": self.fit,
                "began": self.began,
                "module": module,
                "optimizer": state_of_optimizer(net),
                "n_steps": net.n_steps_,
                "stop": net.stop_,
                "history": [_own_entries(epoch) for epoch in net.history],
                "term_names": net.term_names_,
                "best": None if net.best_ is None else net.best_.state(),
                "order": order.get_state().numpy(),
                "noise": net.random_.generator.get_state().numpy(),
            },
        )
        self.written = time.monotonic()


def _own_entries(epoch: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of an epoch in the history that skae or skorch recorded."""
    kept = ("epoch", "valid_loss", "valid_loss_best", "dur")
    return {k: v for k, v in epoch.items() if k in kept or k.startswith("train_")}


def _generator(value: Any, _: Any) -> bool:
    """Whether a value is the state of a generator of torch."""
    try:
        torch.Generator().set_state(torch.tensor(value))
    except (TypeError, ValueError, RuntimeError):
        return False
    return True


_state = schema.record(
    fit=schema.text,
    began=schema.record(
        bit_generator=lambda value, _: value == "MT19937",
        state=schema.record(
            key=schema.array("u", 624),
            pos=lambda value, _: schema.integer()(value, {}) and value <= 624,
        ),
        has_gauss=schema.integer(),
        gauss=schema.number,
    ),
    module=schema.mapping(schema.tensor),
    optimizer=schema.record(
        options=schema.mapping(schema.text),
        moments=schema.mapping(schema.mapping(schema.anything)),
    ),
    n_steps=schema.integer(),
    stop=schema.boolean,
    term_names=schema.sequence(schema.text, list),
    history=schema.sequence(schema.mapping(schema.either(schema.number, schema.boolean)), list),
    best=schema.either(
        schema.instance(None),
        schema.record(
            epoch=schema.integer(),
            loss=schema.number,
            lowest=schema.number,
            waited=schema.integer(),
            exhausted=schema.boolean,
            values=schema.sequence(schema.tensor, list),
        ),
    ),
    order=_generator,
    noise=_generator,
)


def _is_state(value: Any) -> bool:
    """Whether a value is a state that `Checkpoint.save` writes."""
    return _state(value, {})

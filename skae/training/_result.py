"""The result of a run of training, and callbacks that ask for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from skorch.callbacks import Callback


@dataclass(frozen=True)
class TrainingResult:
    """The result of a run, in addition to the trained module.

    Attributes
    ----------
    history : list of dict
        Losses of each epoch: ``train_loss``, ``train_<term>`` for each term of the objective if
        there are several, ``valid_loss`` if there are validation samples.
    term_names : list of str
        Names of the terms of the objective; empty if there was no step.
    n_steps : int
        Number of gradient steps.
    best : tuple (int, float) or None
        Epoch whose weights were kept and its validation loss; 0 is the start. None without
        validation samples.
    initial_loss : float or None
        Validation loss of the start.
    mean_loss : float
        Loss of the reconstruction by the mean.
    optimizer : dict
        State of the optimiser.
    """

    history: list[dict[str, Any]]
    term_names: list[str]
    n_steps: int
    best: tuple[int, float] | None
    initial_loss: float | None
    mean_loss: float
    optimizer: dict[str, Any]

    @property
    def loss(self) -> float:
        """The validation loss of the weights that were kept, or the loss of the last epoch."""
        if self.best is not None:
            return self.best[1]
        return self.history[-1]["train_loss"] if self.history else self.mean_loss


class EpochCallback(Callback):
    """Base of the callbacks that are notified of epochs only.

    Of the net that notifies them, they use ``stop_``, which ends the training, ``module_``, and
    ``result()``, the result if the training ended with this epoch.
    """

"""One of several models while they are trained, and what its callbacks see."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from skae.data import Random
from skae.training import AutoencoderModule, BestEpoch, Job, TrainingResult, check_convergence


@dataclass(eq=False)
class Member:
    """One of the models, while it is trained.

    Attributes
    ----------
    job : Job
    number : int
        Of the job in the group.
    order, random : torch.Generator, Random
        Of its batches and of its objective.
    first_loss : float
        Of its first step.
    best : BestEpoch or None
    history : list of dict
    stop : bool
        Whether a callback ends the training.
    """

    job: Job
    number: int
    order: torch.Generator
    random: Random
    first_loss: float = 0.0
    best: BestEpoch | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    stop: bool = False

    def is_done(self, epoch: int) -> bool:
        """Whether training ends before an epoch."""
        exhausted = self.best is not None and self.best.exhausted
        return self.stop or exhausted or epoch > self.job.plan.max_epochs

    def notify(self, event: str, net: Net) -> None:
        """Notify the callbacks of the beginning or the end of an epoch."""
        for _, callback in self.job.callbacks:
            getattr(callback, event)(net)
        self.stop = net.stop_

    def record(self, name: str, loss: float) -> None:
        """Record a loss; raise DivergenceError if it is too large."""
        self.history[-1][name] = loss
        check_convergence(
            name,
            loss,
            epoch=len(self.history),
            first=self.first_loss,
            best=self.best,
            mean_loss=self.job.plan.mean_loss,
            learning_rate=self.job.plan.learning_rate,
        )


class Net:
    """What callbacks see of one of the models."""

    def __init__(self, group: Any, member: Member):
        self.group, self.member = group, member
        self.stop_ = member.stop

    @property
    def module_(self) -> AutoencoderModule:
        """The module, with its weights at this time."""
        module = self.member.job.module
        self.group.weights.store(self._row(), module)
        return module

    def result(self) -> TrainingResult:
        """Return the result, if training ended with this epoch."""
        return self.group.result(self._row(), self.member)

    def _row(self) -> int:
        return self.group.members.index(self.member)

"""Steps of training that repeat the operations of an earlier step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from skorch.callbacks import EpochTimer, PrintLog
from torch import Tensor
from torch.func import functional_call

from skae.data import Batch, Draw, Recorder, Replay
from skae.training._flat_adam import FlatAdamW
from skae.training._losses import sums_of, total_of
from skae.training._program import Recorded
from skae.training._result import EpochCallback

# Steps of a batch size that are worth a program: making one takes as long as about 150 small steps
# on the CPU, and 10 on a GPU.
MIN_STEPS = {"cpu": 300, "cuda": 30}
FIELDS = ("x", "weight", "observed", "target", "target_observed")  # tensors of a batch
QUIET = (EpochTimer, PrintLog, EpochCallback)  # callbacks that change nothing of a step


class RecordedSteps:
    """Steps with AdamW whose losses and gradients are computed by a program for each batch size.

    In a step of a small network, most of the time passes between operations: in Python, autograd
    and the optimiser. A program has the operations only. Validation losses have a program, too.

    Parameters
    ----------
    net : Trainer
    n_steps : dict of int to int
        Number of steps by batch size, if training does not end early.
    """

    def __init__(self, net: Any, n_steps: dict[int, int]):
        self.net = net
        least = MIN_STEPS[torch.device(net.device).type]
        self.pays = {size: n >= least for size, n in n_steps.items()}
        self.pays_epochs = net.max_epochs >= least
        self.draws: dict[tuple[bool, int], list[Draw]] = {}
        self.optimizer: FlatAdamW | None = None
        self.program = Recorded(self._losses_and_gradients, "A step")
        self.validation = Recorded(self._losses, "The validation loss")

    @staticmethod
    def possible(net: Any, n_steps: dict[int, int]) -> bool:
        """Whether steps may be the same operations each time, and are enough to record them."""
        device = torch.device(net.device).type
        return (
            device in MIN_STEPS
            and max(n_steps.values()) >= MIN_STEPS[device]
            and (device == "cuda" or net.precision == "full")
            and net.group.size == 1
            and net.checkpoint is None  # a fit that resumes would repeat other bits
            and not (net.compile or net.draws_by_itself_ or net.notifies_batches_)
            and all(isinstance(callback, QUIET) for _, callback in net.callbacks_)
            and FlatAdamW.supports(net.optimizer_)
        )

    def __call__(self, batch: Batch, step: Callable[[Batch], Tensor]) -> Tensor:
        """Take a step, by a program or by a function; return the sums of the losses."""
        if self.optimizer is None:
            return self._first(batch, step)
        n = len(batch.x)
        sums, *gradients = self.program(n, self._arguments(batch), pays=self.pays[n])
        self.optimizer.step(gradients)
        return sums

    def losses(self, batch: Batch, losses_of: Callable[[Batch], Tensor]) -> Tensor:
        """Return the objective of each validation sample, by a program or by a function."""
        if self.optimizer is None:
            return losses_of(batch)
        (losses,) = self.validation(len(batch.x), self._arguments(batch), pays=self.pays_epochs)
        return losses

    def _arguments(self, batch: Batch) -> list[Tensor]:
        """Return all tensors that the objective of a batch depends on."""
        module = self.net.module_
        key = module.training, len(batch.x)
        if key not in self.draws:
            recorder = Recorder(batch.x)
            buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
            with torch.no_grad():
                functional_call(module, buffers, (batch._replace(random=recorder),))
            self.draws[key] = recorder.draws
        self.fields = [name for name in FIELDS if getattr(batch, name) is not None]
        given = [getattr(batch, name) for name in self.fields]
        drawn = [batch.random._drawn(*draw) for draw in self.draws[key]]
        return [batch.progress, *self.tensors, *given, *drawn]

    def end_epoch(self) -> None:
        """Bring the state of the optimiser up to date."""
        if self.optimizer is not None:
            self.optimizer.write_counts()

    def end(self) -> None:
        """Leave weights and moments as the optimiser would."""
        if self.optimizer is not None:
            self.optimizer.end()

    def _first(self, batch: Batch, step: Callable[[Batch], Tensor]) -> Tensor:
        """Take a step by a function; find the tensors that steps read and change."""
        module = self.net.module_
        buffers = dict(module.named_buffers())
        sums = step(batch)  # creates the moments of the optimiser
        kept = all(buffers[name] is buffer for name, buffer in module.named_buffers())
        if kept:
            self.optimizer = FlatAdamW(self.net.optimizer_)
            named = dict(module.named_parameters())
            names = {id(weight): name for name, weight in named.items()}
            self.trained = [[names[id(w)] for w in own] for own in self.optimizer.weights]
            self.weight_names, self.buffer_names = list(named), list(buffers)
            self.tensors = [*named.values(), *buffers.values()]
        return sums

    def _losses_and_gradients(self, progress: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the sums of the losses, and the gradient of each group of weights as a vector."""
        leaves, terms, batch = self._terms(progress, *tensors)
        trained = [[leaves[name] for name in group] for group in self.trained]
        loss = self.net.criterion_(total_of(terms), batch.weight)
        gradients = iter(torch.autograd.grad(loss, [w for group in trained for w in group]))
        joined = [torch.cat([next(gradients).flatten() for _ in group]) for group in trained]
        return sums_of(terms, loss, batch.weight), *joined

    @torch.no_grad()
    def _losses(self, progress: Tensor, *tensors: Tensor) -> tuple[Tensor]:
        """Return the objective of each sample."""
        return (total_of(self._terms(progress, *tensors)[1]),)

    def _terms(
        self, progress: Tensor, *tensors: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], Batch]:
        """Return the weights, the terms of the objective and the batch of given arguments."""
        left = list(tensors)
        leaves = {name: left.pop(0).detach() for name in self.weight_names}
        buffers = {name: left.pop(0) for name in self.buffer_names}
        for group in self.trained:
            for name in group:
                leaves[name].requires_grad_()
        given: dict[str, Any] = {name: left.pop(0) for name in self.fields}
        given = {"observed": None, "progress": progress} | given
        batch = Batch(**given, random=Replay(left, given["x"]))
        with self.net._autocast():
            terms = functional_call(self.net.module_, leaves | buffers, (batch,))
        return leaves, terms, batch

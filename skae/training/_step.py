"""Steps of training that repeat the operations of an earlier step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from skorch.callbacks import EpochTimer, PrintLog
from torch import Tensor
from torch.func import functional_call

from skae.data import Batch, Draw, Random, Recorder, Replay
from skae.training._flat_adam import FlatAdamW
from skae.training._losses import sums_of, total_of
from skae.training._program import Function, record
from skae.training._random import LOCK
from skae.training._result import EpochCallback

logger = logging.getLogger("skae")

MIN_STEPS = 1000  # of a batch size; recording takes as long as some hundreds of small steps
TOLERANCE = 1e-4  # of what a program computes, relative to autograd
QUIET = (EpochTimer, PrintLog, EpochCallback)  # callbacks that change nothing of a step

Step = Callable[[Batch], Tensor]


class RecordedSteps:
    """Steps with AdamW whose losses and gradients are computed by a program for each batch size.

    In a step of a small network, most of the time passes between operations: in Python, autograd
    and the optimiser. A program has the operations only. It is recorded in one step of its batch
    size, and compared with autograd in the next one.

    Parameters
    ----------
    net : Trainer
    count : dict of int to int
        Number of steps by batch size, if training does not end early.
    """

    def __init__(self, net: Any, count: dict[int, int]):
        self.net = net
        self.frequent = {n for n, n_steps in count.items() if n_steps >= MIN_STEPS}
        self.draws: dict[int, list[Draw]] = {}
        self.recorded: dict[int, Function] = {}
        self.programs: dict[int, Function] = {}  # of those recorded, the ones that were compared
        self.optimizer: FlatAdamW | None = None

    @staticmethod
    def possible(net: Any) -> bool:
        """Whether the steps of a net are the same operations each time."""
        return (
            torch.device(net.device).type == "cpu"
            and net.precision == "full"
            and not (net.compile or net.draws_by_itself_ or net.notifies_batches_)
            and all(isinstance(callback, QUIET) for _, callback in net.callbacks_)
            and FlatAdamW.supports(net.optimizer_)
        )

    def __call__(self, batch: Batch, step: Step) -> Tensor:
        """Take a step, by a program or by a function; return the sums of the losses."""
        n = len(batch.x)
        if n in self.programs and self.optimizer is not None:
            drawn = [batch.random._drawn(*draw) for draw in self.draws[n]]
            sums, *gradients = self.programs[n](*self._arguments(batch, drawn, self.buffers))
            self.optimizer.step(gradients)
            return sums
        if self.optimizer is not None:
            self.optimizer.write_counts()
            sums = self._new(batch, step) if n in self.frequent else step(batch)
            self.optimizer.read_counts()
            return sums
        sums = step(batch)  # creates the moments of the optimiser
        if self.frequent:
            self._begin()
        return sums

    def end_epoch(self) -> None:
        """Bring the state of the optimiser up to date."""
        if self.optimizer is not None:
            self.optimizer.write_counts()

    def end(self) -> None:
        """Leave weights and moments as the optimiser would."""
        if self.optimizer is not None:
            self.optimizer.end()

    def _begin(self) -> None:
        """Find the tensors that programs read and that the optimiser changes."""
        net = self.net
        self.optimizer = FlatAdamW(net.optimizer_)
        named = dict(net.module_.named_parameters())
        names = {id(weight): name for name, weight in named.items()}
        self.trained = [[names[id(w)] for w in weights] for weights in self.optimizer.weights]
        self.tensors = {"progress": net.progress_, **named}
        self.buffers = dict(net.module_.named_buffers())

    def _new(self, batch: Batch, step: Step) -> Tensor:
        """Take a step by a function; record a program of it, or compare the one there is."""
        n = len(batch.x)
        if n in self.recorded:
            return self._compare(batch, step)
        recorder = Recorder(batch.x)
        try:
            with torch.no_grad():
                self.net.module_(batch._replace(random=recorder))
            drawn = [Random(0, batch.x)._drawn(*draw) for draw in recorder.draws]
            arguments = self._arguments(batch, drawn, self.buffers)
            with LOCK:
                self.recorded[n] = record(self._losses_and_gradients(batch), arguments)
            self.draws[n] = recorder.draws
        except Exception as error:
            self._give_up(n, repr(error))
        return step(batch)

    def _compare(self, batch: Batch, step: Step) -> Tensor:
        """Take a step by a function, and compare the program with it."""
        n = len(batch.x)
        drawn = [batch.random._drawn(*draw) for draw in self.draws[n]]
        buffers = {name: buffer.clone() for name, buffer in self.buffers.items()}
        found = self.recorded[n](*self._arguments(batch, drawn, buffers))
        sums = step(batch._replace(random=Replay(drawn, batch.x)))
        gradients = [
            torch.cat([self.tensors[name].grad.flatten() for name in names])
            for names in self.trained
        ]
        expected = [sums, *gradients, *self.buffers.values()]
        if all(map(_equal, [*found, *buffers.values()], expected)):
            self.programs[n] = self.recorded[n]
        else:
            self._give_up(n, "a program of its operations computes something else")
        return sums

    def _arguments(
        self, batch: Batch, drawn: Sequence[Tensor], buffers: dict[str, Tensor]
    ) -> list[Tensor]:
        """Return the arguments of a program."""
        given = [value for value in (batch.x, batch.weight, batch.observed) if value is not None]
        return [*self.tensors.values(), *buffers.values(), *given, *drawn]

    def _losses_and_gradients(self, batch: Batch) -> Function:
        """Return the function of these arguments that a program repeats."""
        net, trained, complete = self.net, self.trained, batch.observed is None
        names, buffer_names = list(self.tensors)[1:], list(self.buffers)

        def losses_and_gradients(progress: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
            left = list(tensors)
            leaves = {name: left.pop(0).detach() for name in names}
            for name in (name for group in trained for name in group):
                leaves[name].requires_grad_()
            buffers = {name: left.pop(0) for name in buffer_names}
            x, weight = left.pop(0), left.pop(0)
            observed = None if complete else left.pop(0)
            batch = Batch(x, observed, weight, progress, random=Replay(left, x))
            terms = functional_call(net.module_, leaves | buffers, (batch,))
            loss = net.criterion_(total_of(terms), weight)
            weights = [[leaves[name] for name in group] for group in trained]
            gradients = iter(torch.autograd.grad(loss, [w for group in weights for w in group]))
            joined = [torch.cat([next(gradients).flatten() for _ in group]) for group in weights]
            return sums_of(terms, loss, weight), *joined

        return losses_and_gradients

    def _give_up(self, n: int, reason: str) -> None:
        logger.info("Steps of %d samples are not recorded: %s.", n, reason)
        self.frequent.discard(n)


def _equal(found: Tensor, expected: Tensor) -> bool:
    """Whether two tensors are equal but for rounding."""
    return bool((found - expected).norm() <= TOLERANCE * expected.norm())

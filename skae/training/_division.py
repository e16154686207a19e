"""The part of a training that this process computes, and what it has in common with others."""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from skorch.callbacks import Callback, EpochTimer, GradientNormClipping, LRScheduler, ParamMapper
from torch import Tensor
from torch.func import functional_call

from skae.data import Batch, Batches, Group, Random, Recorder, RowDataset, SharedRandom

# Callbacks that change the weights, which each process has to call.
ACTING = (EpochTimer, GradientNormClipping, LRScheduler, ParamMapper)


def callbacks_of(callbacks: list[tuple[str, Callback]], group: Group) -> list[tuple[str, Callback]]:
    """Return the callbacks that this process calls: only that of rank 0 calls all."""
    return [(name, c) for name, c in callbacks if group.rank == 0 or isinstance(c, ACTING)]


class Division:
    """Divides the batches of a training among processes, and adds up what they compute.

    All start from the weights of the process of rank 0.

    Parameters
    ----------
    net : Trainer
        Initialised; its processes, ``net.group``, may be this one alone.
    """

    def __init__(self, net: Any):
        self.net = net
        self.group: Group = net.group
        self.vectors: list[Tensor] = []  # what is summed in each step
        self.parts: list[Tensor] = []  # of the vectors: the gradients, and the sums of losses
        self.axes: dict[bool, list[int | None]] = {}  # of draws in training and in evaluation
        self.has_statistics = any(
            getattr(layer, "track_running_stats", False) for layer in net.module_.modules()
        )
        if self.group.size > 1:
            self._copy_first(net.module_.state_dict().values())

    def divide(self, batches: Batches, random: Random) -> None:
        """Have batches be those of this process, with its share of the random numbers."""
        batches.group = self.group
        batches.random = random
        if self.group.size > 1:
            training = self.net.module_.training
            if training not in self.axes:
                self.axes[training] = self._axes(batches.rows)
            batches.random = SharedRandom(random, self.axes[training])

    def backward(self, loss: Tensor, sums: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Compute the gradient for the whole batch; return its loss and its sums of losses."""
        if self.group.size == 1:
            loss.backward()
            return loss, sums
        (loss * (len(batch.x) / batch.n_samples)).backward()
        weights = [w for w in self.net.module_.parameters() if w.grad is not None]
        if not _are([w.grad for w in weights], self.parts[:-1]):
            self._join(weights, sums)
        self.parts[-1].copy_(sums)
        for vector in self.vectors:
            self.group.add(vector)
        sums = self.parts[-1].clone()
        return sums[0] / batch.n_samples, sums

    def _join(self, weights: list[Any], sums: Tensor) -> None:
        """Have the gradients, with the sums of losses, be parts of one vector for each dtype.

        A vector that stays is summed faster than gradients that are allocated in each step.
        """
        tensors = [*(weight.grad for weight in weights), sums]
        places: dict[torch.dtype, list[int]] = defaultdict(list)
        for place, tensor in enumerate(tensors):
            places[tensor.dtype].append(place)
        self.vectors, self.parts = [], list(tensors)
        for own in places.values():
            vector = torch.cat([tensors[i].flatten() for i in own])
            for i, part in zip(own, vector.split([tensors[i].numel() for i in own]), strict=True):
                self.parts[i] = part.view_as(tensors[i])
            self.vectors.append(vector)
        for weight, part in zip(weights, self.parts[:-1], strict=True):
            weight.grad = part

    def of_each(self, batches: Batches, function: Callable[[Batch], Tensor]) -> Tensor:
        """Return the results of a function of a batch for each sample, of all processes."""
        n, start, batches.group = batches.rows.n_samples, 0, self.group
        results = batches.rows.weight.new_zeros(n, device=batches.device)
        for batch in batches:
            result = function(batch)
            if batch.share is None:
                results[start : start + len(result)] = result
            else:
                places = start + batch.share.positions.to(results.device)
                results[places] = result[: len(places)].to(results)
            start += batch.n_samples
        return self.group.sum(results)

    def end_epoch(self) -> None:
        """Take over the statistics of layers, as of batch normalisation, from rank 0."""
        if self.group.size > 1 and self.has_statistics:
            self._copy_first(self.net.module_.buffers())

    def stops(self, stop: bool) -> bool:
        """Return whether the process of rank 0 stops after the epoch."""
        return bool(self.group.first(torch.tensor(float(stop)))) if self.group.size > 1 else stop

    def _copy_first(self, tensors: Any) -> None:
        with torch.no_grad():
            for tensor in tensors:
                tensor.copy_(self.group.first(tensor))

    def _axes(self, rows: RowDataset) -> list[int | None]:
        """Return the axis of the samples for each draw of the objective; None if there is none.

        It is the axis whose size is that of the batch, in batches of two sizes.
        """
        two, three = (self._shapes_drawn(rows, n) for n in (2, 3))
        return [_axis_of_samples(*both) for both in zip(two, three, strict=True)]

    @torch.no_grad()
    def _shapes_drawn(self, rows: RowDataset, n: int) -> list[tuple[int, ...]]:
        module, net = self.net.module_, self.net
        progress = torch.zeros((), dtype=rows.dtype, device=rows.weight.device)
        recorder = Recorder(progress)
        if len(rows):
            batch = rows.batch(torch.zeros(n, dtype=torch.int64), progress, recorder)
        else:
            x = progress.new_zeros(n, rows.n_features)
            observed = None if rows.complete else torch.ones_like(x)
            batch = Batch(x, observed, torch.ones_like(x[:, 0]), progress, random=recorder)
        buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
        with net._network_draws(net.seed), net._autocast():
            functional_call(module, buffers, (batch.to(net.device),))
        return [shape for _, shape, _ in recorder.draws]


def _are(found: Sequence[Tensor | None], expected: Sequence[Tensor]) -> bool:
    """Whether tensors are the expected ones themselves."""
    return len(found) == len(expected) and all(map(operator.is_, found, expected))


def _axis_of_samples(two: tuple[int, ...], three: tuple[int, ...]) -> int | None:
    """Return the axis of the samples in a draw, given its shapes for two and three of them."""
    for axis, sizes in enumerate(zip(two, three, strict=False)):
        if sizes == (2, 3):
            return axis
    if two != three:
        raise ValueError(
            f"The objective draws numbers of shape {two} for 2 samples and of shape {three} for 3. "
            "In several processes, one axis of a draw must be the samples; split the axis into "
            "two, or set distributed=False."
        )
    return None

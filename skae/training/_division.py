"""The part of a training that this process computes, and what it has in common with others."""

from __future__ import annotations

from collections.abc import Callable
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
        self.joined: list[int] = []  # the weights whose gradients are parts of the vectors
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
        if [id(w) for w in weights] != self.joined:
            self._join(weights, sums)
        *gradients, total = self.parts
        for weight, gradient in zip(weights, gradients, strict=True):
            gradient.copy_(weight.grad)
            weight.grad = gradient
        total.copy_(sums)
        for vector in self.vectors:
            self.group.add(vector)
        return total[0] / batch.n_samples, total.clone()

    def _join(self, weights: list[Tensor], sums: Tensor) -> None:
        """Make one vector for each dtype, with a part for each gradient and for the sums of losses.

        Vectors that stay are summed faster than those that are allocated in each step. A gradient
        has the strides of its weight, which fused optimisers rely on.
        """
        tensors = [*(torch.empty_like(weight, device="meta") for weight in weights), sums]
        self.joined, self.vectors, self.parts = [id(w) for w in weights], [], list(tensors)
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):  # in order of all processes
            own = [i for i, tensor in enumerate(tensors) if tensor.dtype == dtype]
            sizes = [tensors[i].numel() for i in own]
            vector = torch.empty(sum(sizes), dtype=dtype, device=sums.device)
            for i, part in zip(own, vector.split(sizes), strict=True):
                self.parts[i] = part.as_strided(tensors[i].shape, tensors[i].stride())
            self.vectors.append(vector)

    def of_each(self, batches: Batches, function: Callable[[Batch], Tensor]) -> Tensor:
        """Return the results of a function of a batch for each sample, of all processes."""
        return self.group.sum(self.of_own(batches, function))

    def of_own(self, batches: Batches, function: Callable[[Batch], Tensor]) -> Tensor:
        """Return the results of a function for each sample, 0 for those of other processes."""
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
        return results

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

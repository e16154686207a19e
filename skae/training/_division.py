"""The part of a training that this process computes, and what it has in common with others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

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
        self.hooks: dict[Tensor, Any] = {}  # of the weights that are trained
        self.vectors: list[Tensor] = []  # what is summed in each step
        self.parts: dict[Tensor, Tensor] = {}  # of the vectors, for each weight
        self.sums = torch.empty(0)  # the part for the sums of losses
        self.taken: list[Tensor] = []  # weights that have a gradient in this step
        self.axes: dict[bool, list[int | None]] = {}  # of draws in training and in evaluation
        self.has_statistics = any(
            getattr(layer, "track_running_stats", False) for layer in net.module_.modules()
        )
        if self.group.size > 1:
            self._copy_first(net.module_.state_dict().values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the weights without hooks and gradients."""
        for hook in self.hooks.values():
            hook.remove()
        for weight in self.net.module_.parameters():
            weight.grad = None

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
        if not self.parts:
            self._join(sums)
        for weight in self.parts:
            if weight.requires_grad and weight not in self.hooks:
                self.hooks[weight] = weight.register_post_accumulate_grad_hook(self._take)
        (loss * (len(batch.x) / batch.n_samples)).backward()
        self.sums.copy_(sums)
        for vector in self.vectors:
            self.group.sum_(vector)
        for weight in self.taken:
            weight.grad = self.parts[weight]
        self.taken.clear()
        return self.sums[0] / batch.n_samples, self.sums.clone()

    def _take(self, weight: Tensor) -> None:
        """Write a gradient into a vector, while it is in the cache, and free its memory."""
        assert weight.grad is not None
        self.parts[weight].copy_(weight.grad)
        weight.grad = None
        self.taken.append(weight)

    def _join(self, sums: Tensor) -> None:
        """Make one vector for each dtype, with a part for each gradient and for the sums of losses.

        Vectors that stay are summed faster than those that are allocated in each step. A gradient
        has the strides of its weight, which fused optimisers rely on.
        """
        self.sums = sums.detach()
        weights = list(self.net.module_.parameters())
        # In the order of all processes.
        for dtype in dict.fromkeys(tensor.dtype for tensor in (*weights, sums)):
            own = [weight for weight in weights if weight.dtype == dtype]
            sizes = [weight.numel() for weight in own]
            n_sums = len(sums) if sums.dtype == dtype else 0
            vector = torch.zeros(sum(sizes) + n_sums, dtype=dtype, device=sums.device)
            *parts, rest = vector.split([*sizes, n_sums])
            for weight, part in zip(own, parts, strict=True):
                strides = torch.empty_like(weight, device="meta").stride()
                self.parts[weight] = part.as_strided(weight.shape, strides)
            self.sums = rest if n_sums else self.sums
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

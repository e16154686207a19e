"""The part of a training that this process computes, and what it has in common with others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from skorch.callbacks import Callback, EpochTimer, GradientNormClipping, LRScheduler, ParamMapper
from torch import Tensor
from torch.func import functional_call

from skae.data import Batch, Batches, Group, Random, Recorder, RowDataset, SharedRandom

LARGE = 2**14  # numbers of a gradient that is summed by itself, not joined with others
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
        self.hooks: list[Any] = []
        self.added: dict[Tensor, Callable[[], None]] = {}  # gradients whose sums have begun
        self.axes: dict[bool, list[int | None]] = {}  # of draws in training and in evaluation
        self.has_statistics = any(
            getattr(layer, "track_running_stats", False) for layer in net.module_.modules()
        )
        if self.group.size > 1:
            self._copy_first(net.module_.state_dict().values())

    def __enter__(self) -> Self:
        """Sum gradients over processes as soon as they are computed."""
        if self.group.size > 1:
            large = [w for w in self.net.module_.parameters() if w.numel() >= LARGE]
            self.hooks = [w.register_post_accumulate_grad_hook(self._add) for w in large]
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the weights without hooks."""
        for hook in self.hooks:
            hook.remove()

    def _add(self, weight: Tensor) -> None:
        """Begin to sum the gradient of a weight, while those of others are computed."""
        if weight.grad is not None and weight.grad.is_contiguous():
            self.added[weight] = self.group.add(weight.grad)

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
        weights = [w for w in self.net.module_.parameters() if w not in self.added]
        gradients = [w.grad for w in weights if w.grad is not None]
        total = self.group.sum(torch.cat([*(g.flatten() for g in gradients), sums]))
        *parts, sums = total.split([*(g.numel() for g in gradients), len(sums)])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        for finish in self.added.values():
            finish()
        self.added.clear()
        return sums[0] / batch.n_samples, sums

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
        return [
            next(
                (axis for axis, sizes in enumerate(zip(*both, strict=True)) if sizes == (2, 3)),
                None,
            )
            for both in zip(two, three, strict=True)
        ]

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

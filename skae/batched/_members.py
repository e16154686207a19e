"""Models of one structure: their weights, hyperparameters and samples, stacked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skae.architectures import without_fused_kernel
from skae.batched._numbers import common_value
from skae.batched._structure import method_of, numbers_of
from skae.data import Batch, Draw, Recorder
from skae.training import AutoencoderModule, Job

MAX_DATASETS = 8  # different datasets that are looked for among those of the jobs

Tensors = dict[str, Tensor]


class Datasets:
    """The samples of several models, without copies of what several of them share.

    Parameters
    ----------
    jobs : sequence of Job
        Whose datasets have the same shape.
    """

    def __init__(self, jobs: Sequence[Job]):
        different: list[Any] = []
        which = []
        for job in jobs:
            first = enumerate(different[:MAX_DATASETS])
            at = next((i for i, dataset in first if _equal(dataset, job.dataset)), None)
            if at is None:
                at = len(different)
                different.append(job.dataset)
            which.append(at)
        self.n_rows = len(different[0])
        self.x = torch.cat([d.x for d in different])
        self.observed = (
            None if different[0].complete else torch.cat([d.observed for d in different])
        )
        self.weight = torch.cat([d.weight for d in different])
        self.offset = torch.tensor(which)[:, None] * self.n_rows

    def to(self, device: torch.device) -> Datasets:
        """Move the samples to a device."""
        self.x, self.weight = self.x.to(device), self.weight.to(device)
        self.offset = self.offset.to(device)
        self.observed = None if self.observed is None else self.observed.to(device)
        return self

    @property
    def n_features(self) -> int:
        return self.x.shape[1]

    @property
    def names(self) -> list[str]:
        """What batches consist of."""
        return ["x", "weight", *(["observed"] if self.observed is not None else [])]

    def batch(self, members: Tensor, rows: Tensor) -> Tensors:
        """Return x, observed and weight of some rows of each model, (n_models, n, ...)."""
        index = (self.offset[members] + rows).flatten()
        shape = rows.shape
        batch = {
            "x": self.x.index_select(0, index).unflatten(0, shape),
            "weight": self.weight.index_select(0, index).view(shape),
        }
        if self.observed is not None:
            batch["observed"] = self.observed.index_select(0, index).unflatten(0, shape)
        return batch


def _equal(a: Any, b: Any) -> bool:
    """Whether two datasets have the same samples."""
    if a is b:
        return True
    if a.complete != b.complete or not torch.equal(a.x, b.x) or not torch.equal(a.weight, b.weight):
        return False
    return a.complete or torch.equal(a.observed, b.observed)


class Objective:
    """The objective of any of several models, given its weights and hyperparameters.

    Parameters
    ----------
    jobs : sequence of Job
        Of one structure.
    names : sequence of str
        Hyperparameters that differ between them.
    """

    def __init__(self, jobs: Sequence[Job], names: Sequence[str]):
        self.module = jobs[0].module
        self.owner, self.function = method_of(jobs[0])
        own, numbers = self.owner._own_parameters(), [numbers_of(job) for job in jobs]
        self.values = {name: [of_one[name] for of_one in numbers] for name in names}
        self.is_tuple = {name: isinstance(own[name], tuple) for name in names}

    def numbers(self, like: Tensor) -> Tensors:
        """Return the hyperparameters of all models, (n_models, n_numbers) each."""
        return {
            name: torch.tensor(values, dtype=like.dtype, device=like.device)
            for name, values in self.values.items()
        }

    def __call__(
        self,
        tensors: Tensors,
        numbers: Tensors,
        batch: Batch,
    ) -> Tensors:
        """Return the terms of the objective for the weights and buffers of one model."""
        owner = object.__new__(type(self.owner))
        owner.__dict__ = vars(self.owner) | {
            name: common_value(self.values[name], row, self.is_tuple[name])
            for name, row in numbers.items()
        }
        with without_fused_kernel(self.module):
            return self._call(owner, lambda m: torch.func.functional_call(m, tensors, (batch,)))

    def _call(self, owner: Any, function: Callable[[AutoencoderModule], Tensors]) -> Tensors:
        """Call a function of the module with the objective of an estimator."""
        self.module.objective = MethodType(self.function, owner)
        try:
            return function(self.module)
        finally:
            self.module.objective = None

    def draws(self, batch: Batch) -> list[Draw]:
        """Return what the objective of the first model draws for a batch."""
        recorder = Recorder(batch.x)
        with torch.no_grad():
            self._call(self.owner, lambda module: module(batch._replace(random=recorder)))
        return recorder.draws


class Weights:
    """The weights of several models as rows of one matrix, and as tensors by name.

    Parameters
    ----------
    modules : sequence of Module
        Of one structure.
    """

    def __init__(self, modules: Sequence[torch.nn.Module]):
        named = [dict(module.named_parameters()) for module in modules]
        self.slices: dict[str, tuple[slice, torch.Size]] = {}
        end = 0
        for name, weight in named[0].items():
            self.slices[name] = slice(end, end + weight.numel()), weight.shape
            end += weight.numel()
        with torch.no_grad():
            self.rows = torch.stack(
                [torch.cat([weight.flatten() for weight in own.values()]) for own in named]
            )
        buffers = [dict(module.named_buffers()) for module in modules]
        self.buffers = {name: torch.stack([own[name] for own in buffers]) for name in buffers[0]}
        self.unused: Tensor | None = None  # mask of weights that the objective does not depend on

    def take(self, index: Tensor) -> None:
        """Keep some of the models."""
        self.rows = self.rows[index]
        self.buffers = {name: buffer[index] for name, buffer in self.buffers.items()}

    def leaves(self, rows: Tensor) -> Tensors:
        """Return the parameters in given rows by name, (n_models, ...), to compute gradients of."""
        return {
            name: rows[:, part].view(-1, *shape).detach().requires_grad_()
            for name, (part, shape) in self.slices.items()
        }

    def gradient(self, loss: Tensor, leaves: Tensors) -> Tensor:
        """Return the gradient of a sum over the models, (n_models, n_weights)."""
        gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        parts = []
        for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True):
            if gradient is None:
                if self.unused is None:
                    self.unused = torch.zeros_like(self.rows[0], dtype=torch.bool)
                self.unused[self.slices[name][0]] = True
            parts.append((torch.zeros_like(leaf) if gradient is None else gradient).flatten(1))
        return torch.cat(parts, dim=1)

    @torch.no_grad()
    def store(self, i: int, module: torch.nn.Module) -> None:
        """Copy the weights of a model into a module."""
        for name, weight in module.named_parameters():
            part, shape = self.slices[name]
            weight.copy_(self.rows[i, part].view(shape))


class Row(torch.nn.Module):
    """The weights of one model, which share memory with those of all."""

    def __init__(self, weights: Weights, i: int):
        super().__init__()
        self.register_buffer("weights", weights.rows[i])


def split_rows(jobs: Sequence[Job]) -> tuple[Tensor, Tensor]:
    """Return the indices of training and validation samples, (n_models, n) each."""

    def kept(n: int, held_out: NDArray) -> NDArray:
        return np.setdiff1d(np.arange(n), held_out)

    train = np.stack([kept(len(job.dataset), job.plan.held_out) for job in jobs])
    held_out = np.stack([np.asarray(job.plan.held_out, dtype=np.int64) for job in jobs])
    return torch.from_numpy(train), torch.from_numpy(held_out)

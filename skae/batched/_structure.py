"""What models must have in common to be trained together."""

from __future__ import annotations

import pickle
from collections.abc import Hashable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skae.batched._numbers import flat_numbers
from skae.data import InMemoryDataset
from skae.training import EpochCallback, Job, draws_by_itself


def method_of(job: Job) -> tuple[Any, Any]:
    """Return the estimator whose method the objective of a job is, and its function."""
    objective: Any = job.objective
    return objective.__self__, objective.__func__


def hyperparameters_of(job: Job) -> dict[str, Any]:
    """Return the hyperparameters that the objective of a job may read."""
    return method_of(job)[0]._own_parameters()


def why_not(job: Job) -> str | None:
    """Return why a job cannot be trained together with others; None if it can."""
    plan = job.plan
    for reason, holds in (
        ("it has a checkpoint", job.checkpoint is not None),
        ("it resumes a fit", job.optimizer is not None),
        ("several processes train it", job.group.size > 1),
        ("it has net_params", bool(plan.net_params)),
        ("it prints a line per epoch", plan.verbose > 0),
        (f"its precision is {plan.precision}", plan.precision != "full"),
        ("it is a chunk of a stream", plan.one_pass),
        ("it has no epochs", plan.max_epochs == 0),
        ("its samples are read batch by batch", not isinstance(job.dataset, InMemoryDataset)),
        ("its objective is not a method", not hasattr(job.objective, "__self__")),
        ("its callbacks are notified of batches", _of_batches(job)),
        ("its layers draw random numbers by themselves", draws_by_itself(job.module)),
        ("its layers have statistics of batches", _has_statistics(job.module)),
    ):
        if holds:
            return reason
    return None


def _of_batches(job: Job) -> bool:
    return any(not isinstance(callback, EpochCallback) for _, callback in job.callbacks)


def _has_statistics(module: nn.Module) -> bool:
    return any(getattr(layer, "track_running_stats", False) for layer in module.modules())


def numbers_of(job: Job) -> dict[str, list[float]]:
    """Return the hyperparameters that are numbers, which may differ within a group."""
    own = hyperparameters_of(job).items()
    return {name: flat for name, value in own if (flat := flat_numbers(value)) is not None}


def structure_of(job: Job) -> Hashable:
    """Return what a job must have in common with those of its group."""
    (owner, function), plan, rows = method_of(job), job.plan, job.dataset
    own = hyperparameters_of(job)
    numbers = numbers_of(job)
    ignored = {*owner.get_params(deep=False), *own, *owner._before_training, "feature_names_in_"}
    state = {k: v for k, v in vars(owner).items() if k not in ignored and "callback" not in k}
    state |= {k: v for k, v in own.items() if k not in numbers}
    return (
        type(owner),
        function,
        tuple((name, len(values)) for name, values in sorted(numbers.items())),
        tuple((name, isinstance(own[name], tuple)) for name in sorted(numbers)),
        token(state),
        _of_module(job.module),
        (len(rows), rows.n_features, rows.dtype, rows.complete),
        (plan.batch_size, len(plan.held_out), plan.device),
    )


def _of_module(module: nn.Module) -> Hashable:
    """Return the layers of a module with all their attributes, except weights."""
    return tuple(
        (name, type(layer), _attributes(layer), _shapes(layer))
        for name, layer in module.named_modules()
    )


def _attributes(layer: nn.Module) -> Hashable:
    own = {k: v for k, v in vars(layer).items() if k not in OF_MODULES}
    return token(own)


OF_MODULES = ("_parameters", "_buffers", "_modules", "objective", "training")


def _shapes(layer: nn.Module) -> Hashable:
    own = (*layer._parameters.items(), *layer._buffers.items())
    return tuple((n, None if t is None else (t.shape, t.dtype)) for n, t in own)


def token(value: Any) -> Hashable:
    """Return what is equal for equal values; values that cannot be compared differ."""
    if value is None or isinstance(value, (bool, int, float, str, bytes, type)):
        return type(value), value
    if isinstance(value, dict):
        return "dict", tuple((k, token(v)) for k, v in sorted(value.items(), key=str))
    if isinstance(value, (list, tuple)):
        return type(value), tuple(map(token, value))
    if isinstance(value, nn.Module):
        return "module", type(value)
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.dtype, value.shape, value.tobytes()
    if isinstance(value, torch.dtype):
        return value
    try:
        return type(value), pickle.dumps(value)
    except Exception:
        return id(value)

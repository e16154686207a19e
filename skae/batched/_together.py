"""Jobs of training, grouped by their structure, and trained group by group."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from joblib import Parallel, delayed

from skae.batched._structure import numbers_of, structure_of, why_not
from skae.batched._training import Group, Outcome
from skae.training import Job

logger = logging.getLogger("skae")

MAX_CELLS = 2**28  # of a group's arrays
COPIES_OF_WEIGHTS = 8  # gradients, moments, the best epoch, temporaries
COPIES_OF_ACTIVATIONS = 6


def train_together(jobs: Sequence[Job], *, n_jobs: int | None = None) -> list[Outcome]:
    """Train the modules of several jobs, those of one structure as one program.

    Parameters
    ----------
    jobs : sequence of Job
    n_jobs : int, default=None
        Number of processes for jobs that have no structure in common with others; None is one.

    Returns
    -------
    outcomes : list of TrainingResult or Exception
        The result of each job, or the error that ended it.
    """
    outcomes: list[Any] = [None] * len(jobs)
    alone: list[int] = []
    for indices in _by_structure(jobs):
        for part in _that_fit_into_memory(jobs, indices):
            for members, group in _groups(jobs, part):
                if group is None:
                    alone += members
                    continue
                for i, outcome in zip(members, group.run(), strict=True):
                    outcomes[i] = outcome
    for i, outcome in zip(alone, _one_by_one([jobs[i] for i in alone], n_jobs), strict=True):
        outcomes[i] = outcome
    return outcomes


def _one_by_one(jobs: Sequence[Job], n_jobs: int | None) -> list[Outcome]:
    """Train modules by themselves, in several processes if asked for."""
    if len(jobs) < 2 or n_jobs in (None, 1) or any(map(_needs_this_process, jobs)):
        return [_alone(job) for job in jobs]
    plain = [replace(job, callbacks=()) for job in jobs]
    found = Parallel(n_jobs=n_jobs, backend="loky")(delayed(_elsewhere)(job) for job in plain)
    outcomes = []
    for job, (outcome, weights) in zip(jobs, found, strict=True):
        job.module.load_state_dict(weights)
        job.module.eval()
        outcomes.append(outcome)
    return outcomes


def _needs_this_process(job: Job) -> bool:
    """Whether a job has connections to other processes, or callbacks that users have set."""
    return job.group.size > 1 or any(
        getattr(callback, "has_callbacks", True) for _, callback in job.callbacks
    )


def _alone(job: Job) -> Outcome:
    try:
        return job.run()
    except Exception as error:
        return error


def _elsewhere(job: Job) -> tuple[Outcome, dict[str, Any]]:
    """Train a module in another process; return its weights, too."""
    return _alone(job), job.module.state_dict()


def _by_structure(jobs: Sequence[Job]) -> Iterator[list[int]]:
    """Yield the indices of jobs of one structure."""
    found: dict[Hashable, list[int]] = defaultdict(list)
    for i, job in enumerate(jobs):
        reason = why_not(job)
        if reason is not None:
            logger.info("A model is trained by itself, not in a batch: %s.", reason)
        found[("alone", i) if reason is not None else structure_of(job)].append(i)
    for indices in found.values():  # those that the optimiser updates at once, next to each other
        yield sorted(indices, key=lambda i: _update_of(jobs[i]))


def _update_of(job: Job) -> tuple[float, str, int, float]:
    """Return what determines the rates of a job at each step, and its decay."""
    plan = job.plan
    return plan.learning_rate, plan.schedule, plan.max_epochs, plan.weight_decay


def _that_fit_into_memory(jobs: Sequence[Job], indices: list[int]) -> Iterator[list[int]]:
    """Yield parts of a group that each fit into memory."""
    job = jobs[indices[0]]
    weights = list(job.module.parameters())
    n_weights = sum(weight.numel() for weight in weights)
    widths = sum(weight.shape[0] for weight in weights if weight.ndim > 1)
    n_features = job.dataset.n_features
    cells = job.plan.batch_size * (COPIES_OF_ACTIVATIONS * (widths + n_features))
    cells += COPIES_OF_WEIGHTS * n_weights + len(job.dataset) * n_features
    at_once = max(1, MAX_CELLS // cells)
    for start in range(0, len(indices), at_once):
        yield indices[start : start + at_once]


def _groups(jobs: Sequence[Job], indices: list[int]) -> Iterator[tuple[list[int], Group | None]]:
    """Yield groups of models of one structure, and their indices; None for a single one.

    Models are divided by those numbers that hooks cannot read from tensors.
    """
    if len(indices) == 1:
        yield indices, None
        return
    members = [jobs[i] for i in indices]
    numbers = [numbers_of(job) for job in members]
    differ = [name for name in numbers[0] if any(own[name] != numbers[0][name] for own in numbers)]
    group, error = _group(members, differ)
    if group is not None:
        yield indices, group
        return
    answers = getattr(error, "answers", None)
    if answers is None:
        fixed = [name for name in differ if _group(members, [name])[0] is None] or differ
        if not fixed:
            logger.info("Models are trained one by one, not in a batch: %r.", error)
            yield from (([i], None) for i in indices)
            return
        logger.info("Only models with equal %s are batched: %r.", " and ".join(fixed), error)
        answers = [tuple(tuple(own[name]) for name in fixed) for own in numbers]
    parts: dict[Hashable, list[int]] = defaultdict(list)
    for i, answer in zip(indices, answers, strict=True):
        parts[answer].append(i)
    for part in parts.values():
        yield from _groups(jobs, part)


def _group(jobs: Sequence[Job], names: Sequence[str]) -> tuple[Group | None, Exception | None]:
    """Return a group, or None and why its objective cannot be vectorised over hyperparameters."""
    group = Group(jobs, names)
    try:
        group.try_step()
    except Exception as error:
        return None, error
    return group, None

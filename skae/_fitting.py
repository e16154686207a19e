"""One fit: from an estimator and its samples to a plan, a run and fitted attributes."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from skae._callbacks import CallbackBridge
from skae._fit_identity import facts_of, fit_digest
from skae._fit_start import Start, make_plan, resume_fit, start_fit
from skae._hooks import Hooks
from skae._validation import random_state_of
from skae._warnings import warn
from skae.batched import outcomes_together
from skae.data import (
    HOLDERS,
    DataSource,
    DividedRows,
    Group,
    RowDataset,
)
from skae.training import (
    AutoencoderModule,
    Checkpoint,
    Job,
    TrainingResult,
    check_precision,
    device_of,
    local_device,
    run,
    taking_part,
)


@contextmanager
def processes_of(estimator: Hooks) -> Iterator[tuple[Group, torch.device]]:
    """Context with the processes that take part in a fit, and the device of this one.

    An error inside, as of samples that are refused, is the reason that the others give.
    """
    device = device_of(local_device(estimator.device, estimator.distributed))
    with taking_part(estimator.distributed, device) as group:
        yield group, device


@dataclass(frozen=True)
class Kind:
    """What kind of fit it is, in which processes, and on which device of this one.

    Attributes
    ----------
    resume : bool
        Whether to continue from the estimator's fitted state.
    one_pass : bool
        Whether to use each sample once, at the initial learning rate, and hold out none.
    start_only : bool
        Whether to run no epoch.
    group : Group
    device : torch.device
    """

    resume: bool
    one_pass: bool
    start_only: bool
    group: Group
    device: torch.device


def train(
    estimator: Hooks, source: DataSource, weight: NDArray, bridge: CallbackBridge, kind: Kind
) -> tuple[dict[str, Any], RowDataset]:
    """Train by an estimator's hooks and hyperparameters.

    Parameters
    ----------
    estimator : Hooks
        Changed only by its own hooks, and by `n_components_`, which hooks read.
    source : DataSource of shape (n, d)
        Samples, each with an observed value.
    weight : ndarray of shape (n,)
        In (0, 1).
    bridge : CallbackBridge
        Notifies scikit-learn's callbacks of each epoch.
    kind : Kind

    Returns
    -------
    fitted : dict
        Fitted attributes.
    rows : RowDataset
        The samples as training used them.
    """
    estimator._check()
    dtype = estimator._training_dtype(source.dtype)
    check_precision(kind.device, dtype, "training would be in")
    check_same_fit(estimator, source, weight, kind)
    group, one_pass, resume = kind.group, kind.one_pass, kind.resume
    random_state = common_random_state(random_state_of(estimator.random_state), group)
    once = one_pass or kind.start_only
    checkpoint = None
    if estimator.checkpoint is not None and not once:
        fit = partial(fit_digest, estimator, source, weight, resume)
        checkpoint = checkpoint_of(estimator.checkpoint, estimator.n_init, fit, group)
        random_state = checkpoint.random_state(random_state)
    n_before = estimator._n_steps if resume else 0
    weights_seed, *seeds = (int(s) + n_before for s in random_state.randint(2**31 - 1, size=4))
    new_start = partial(start_fit, estimator, source, weight, random_state, group=group)
    start = resume_fit(estimator, source, weight) if resume else new_start(weights_seed)
    plan = make_plan(estimator, start, random_state, *seeds, one_pass=one_pass)
    epochs = 0 if kind.start_only else plan.max_epochs
    plan = replace(plan, device=str(kind.device), max_epochs=epochs)
    attributes = partial(fitted_attributes, estimator, start, resume=resume, one_pass=one_pass)
    if group.rank == 0:  # whose callbacks must not wait for other processes
        rows = start.rows
        rows = rows.own if isinstance(rows, DividedRows) else rows
        bridge.begin(plan.max_epochs, rows, attributes)
    callbacks = [("bridge", bridge)]
    objective, optimizer = estimator._objective, start.optimizer
    dataset = estimator._training_data(start.rows, plan.held_out, random_state)
    job = Job(start.module, objective, dataset, plan, callbacks, checkpoint, optimizer, group)
    if estimator.n_init > 1 and not (resume or once):
        others = [new_start(weights_seed + i).module for i in range(1, estimator.n_init)]
        result, module = best_of(job, others)
    else:
        result, module = run(job), start.module
    if start.starts_at_pca and result.best is not None and result.history:
        warn_if_still_pca(estimator, *result.best)
    return attributes(result) | {"module_": module}, start.rows


def check_same_fit(estimator: Hooks, source: DataSource, weight: NDArray, kind: Kind) -> None:
    """Raise ValueError, in each process of a fit, unless all take part in the same fit."""
    group = kind.group
    if group.size > 1:
        if kind.one_pass:
            raise ValueError(
                "partial_fit does not train in several processes; call fit, or set "
                "distributed=False."
            )
        divided = HOLDERS.get() is group
        facts = facts_of(estimator, source, weight, resume=kind.resume, divided=divided)
        group.check_same(facts | {"type of device": kind.device.type})


def common_random_state(random_state: np.random.RandomState, group: Group) -> np.random.RandomState:
    """Return a generator in the state of that in the process of rank 0."""
    if group.size > 1:
        state = random_state.get_state(legacy=False)["state"]
        own = torch.from_numpy(np.append(state["key"].astype(np.int64), state["pos"]))
        *key, position = group.first(own).tolist()
        random_state.set_state(("MT19937", np.array(key, np.uint32), position, 0, 0.0))
    return random_state


def checkpoint_of(
    path: str | os.PathLike[str], n_init: int, digest: Callable[[], str], group: Group
) -> Checkpoint:
    """Return the checkpoint of a fit with one training."""
    if n_init > 1:
        raise ValueError(
            f"A checkpoint holds one training, but n_init={n_init}; set n_init=1, or "
            "checkpoint=None."
        )
    return Checkpoint(path, digest, group)


def best_of(
    job: Job, others: Sequence[AutoencoderModule]
) -> tuple[TrainingResult, AutoencoderModule]:
    """Train a job, and other modules in the same way; return the best result and its module.

    All have the same validation samples, but their own order of samples and noise.
    """
    jobs, plan = [job], job.plan
    for i, module in enumerate(others, 1):
        own = replace(plan, seed=plan.seed + i, order_seed=plan.order_seed + i)
        jobs.append(replace(job, module=module, plan=own, callbacks=()))
    outcomes = outcomes_together([partial(run, job) for job in jobs])
    results = [
        (result, job.module)
        for result, job in zip(outcomes, jobs, strict=True)
        if isinstance(result, TrainingResult)
    ]
    if not results:
        raise cast(BaseException, outcomes[0])
    return min(results, key=lambda one: one[0].loss)


def fitted_attributes(
    estimator: Hooks, start: Start, result: TrainingResult, *, resume: bool, one_pass: bool
) -> dict[str, Any]:
    """Return the fitted attributes of the epochs run so far, except the module."""
    former = vars(estimator) if resume else {}
    curve, held_out = former.get("loss_curve_", []), former.get("validation_loss_curve_")
    losses = [epoch["train_loss"] for epoch in result.history]
    terms = {
        name: [epoch.get(f"train_{name}", epoch["train_loss"]) for epoch in result.history]
        for name in result.term_names
    }
    unknown = [math.nan] * len(curve)
    former_terms = former.get("loss_terms_", {})
    best_epoch = len(curve) + len(losses)
    if result.best is not None:
        epoch = result.best[0]
        best_epoch = len(curve) + epoch if epoch else former.get("best_epoch_", 0)
    if result.best is not None or held_out is not None:
        own = [epoch.get("valid_loss", math.nan) for epoch in result.history]
        held_out = (held_out or unknown) + own
    return {
        **start.fitted,
        "n_iter_": former.get("n_iter_", 0) + max(1, len(losses)),
        "best_epoch_": best_epoch,
        "loss_curve_": curve + losses,
        "loss_terms_": {
            name: former_terms.get(name, unknown) + terms.get(name, [math.nan] * len(losses))
            for name in [*former_terms, *(n for n in terms if n not in former_terms)]
        },
        "validation_loss_curve_": held_out,
        "initial_validation_loss_": (
            former["initial_validation_loss_"] if resume else result.initial_loss
        ),
        "_one_pass": one_pass,
        "_mean_loss": former.get("_mean_loss", result.mean_loss),
        "_n_steps": former.get("_n_steps", 0) + result.n_steps,
        "_optimizer": result.optimizer,
    }


def warn_if_still_pca(estimator: Hooks, best_epoch: int, loss: float) -> None:
    """Warn that training did not improve on its start, unless the loss was 0 already."""
    if best_epoch == 0 and abs(loss) > torch.finfo(torch.float32).eps:
        warn(
            f"No epoch of {type(estimator).__name__} had a validation loss lower than its start "
            f"by more than three standard errors, so the fit is {estimator._init_name}. More "
            "samples or another architecture may help."
        )

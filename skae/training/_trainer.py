"""A net of skorch with whole-batch indexing and one device synchronisation per epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from inspect import signature
from operator import attrgetter
from typing import Any, cast

import torch
from numpy.typing import NDArray
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer, LRScheduler, PrintLog
from torch import Tensor

from skae._warnings import warn
from skae.data import ALONE, Batch, Batches, Group, Random, RowDataset
from skae.exceptions import DivergenceError
from skae.training._best_epoch import BestEpoch
from skae.training._checkpoint import Checkpoint
from skae.training._division import Division, callbacks_of
from skae.training._interrupts import keeps_best_epoch
from skae.training._losses import sums_of, total_of
from skae.training._optimizer import options_of, state_of_optimizer
from skae.training._random import draws_by_itself, seeded
from skae.training._result import TrainingResult
from skae.training._schedules import SCHEDULES
from skae.training._step import RecordedSteps

DIVERGED = 1e3  # of the loss of a reconstruction by the mean


class HoldOut:
    """Split a dataset into given training samples and given validation samples."""

    def __init__(self, held_out: NDArray, kept: NDArray):
        self.held_out = torch.from_numpy(held_out)
        self.kept = torch.from_numpy(kept)

    def __call__(self, rows: RowDataset) -> tuple[RowDataset, RowDataset]:
        return rows.take(self.kept), rows.take(self.held_out)


class EpochLog(PrintLog):
    """The log of skorch, which formats a line of each epoch only if it prints it."""

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        if net.verbose:
            super().on_epoch_end(net, **kwargs)


class Trainer(NeuralNet):
    """Train a module whose call returns the terms of the objective by name, each of shape (n,).

    Parameters
    ----------
    schedule : str
        Name of a learning-rate schedule.
    precision : str
        'full', or 'bf16' for autocast.
    seed : int
        Seed of the objective in training.
    validation_seed : int
        Seed of the objective on validation samples, the same for each epoch.
    mean_loss : float
        Loss of a reconstruction by the mean. Training has diverged if its loss is far above this
        one, that of the first step and that of the validation samples at the start.
    one_pass : bool
        Whether the samples are a chunk of a stream: batches have the progress of a finished
        training.
    warm_up : float
        Fraction of the training before which no epoch is a candidate for the best one.
    patience, start_patience, tol, n_errors
        See `BestEpoch`; ignored without validation samples.
    checkpoint : Checkpoint or None
        File to save the state to, and to resume from.
    group : Group
        The processes that the training is divided among.
    """

    def __init__(
        self,
        *args: Any,
        schedule: str = "constant",
        precision: str = "full",
        seed: int = 0,
        validation_seed: int = 0,
        mean_loss: float = 1.0,
        one_pass: bool = False,
        warm_up: float = 0.0,
        patience: int = 10,
        start_patience: int | None = None,
        tol: float = 0.0,
        n_errors: float = 3.0,
        checkpoint: Checkpoint | None = None,
        group: Group = ALONE,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.schedule = schedule
        self.precision = precision
        self.seed = seed
        self.validation_seed = validation_seed
        self.mean_loss = mean_loss
        self.one_pass = one_pass
        self.warm_up = warm_up
        self.patience = patience
        self.start_patience = start_patience
        self.tol = tol
        self.n_errors = n_errors
        self.checkpoint = checkpoint
        self.group = group

    @property
    def _default_callbacks(self) -> list:
        return [("epoch_timer", EpochTimer()), ("print_log", EpochLog())]

    def initialize_callbacks(self) -> Trainer:
        """Initialise the callbacks that this process calls."""
        super().initialize_callbacks()
        self.callbacks_: list[tuple[str, Callback]] = callbacks_of(self.callbacks_, self.group)
        return self

    def initialize_optimizer(self, *args: Any, **kwargs: Any) -> Trainer:
        """Initialise the optimiser; store its options before schedules change them."""
        super().initialize_optimizer(*args, **kwargs)
        self.options_ = options_of(self)
        self.rates_ = [group["lr"] for group in self.optimizer_.param_groups]
        return self

    def train(self, rows: RowDataset) -> None:
        """Run the epochs until training stops early or ends, and restore the best one."""
        self.n_steps_ = self.n_epochs_ = 0
        self.first_loss_: float | None = None
        self.stop_ = False
        self.term_names_: list[str] = []
        self.best_: BestEpoch | None = None
        if self.schedule != "constant" and any(
            isinstance(c, LRScheduler) for _, c in self.callbacks_
        ):
            raise ValueError(
                f"Both schedule={self.schedule!r} and the LRScheduler in net_params set the "
                "learning rate; set schedule='constant'."
            )
        try:
            self.notify("on_train_begin", X=rows)
            self.fit_loop(rows)
        except KeyboardInterrupt:
            if self.group.size > 1 or not keeps_best_epoch():
                raise
            del self.history[self.n_epochs_ :]
            kept = "the weights as they are" if self.best_ is None else f"epoch {self.best_.epoch}"
            warn(f"Interrupted after {self.n_epochs_} of {self.max_epochs} epochs; keeping {kept}.")
        if self.best_ is not None:
            self.best_.restore()
        self.notify("on_train_end", X=rows)

    def result(self) -> TrainingResult:
        """Return the result of the run, or of one that would end after the current epoch."""
        best = self.best_
        return TrainingResult(
            history=list(self.history[: self.n_epochs_]),
            term_names=self.term_names_,
            n_steps=self.n_steps_,
            best=None if best is None else (best.epoch, best.loss),
            initial_loss=None if best is None else best.initial_loss,
            mean_loss=self.mean_loss,
            optimizer=state_of_optimizer(self),
        )

    def fit_loop(
        self, X: RowDataset, y: None = None, epochs: int | None = None, **_: Any
    ) -> Trainer:
        """Run the epochs."""
        train, held_out = self.get_split_datasets(X)
        batches = self.get_iterator(train, training=True).to(self.device)
        self.progress_ = batches.progress
        self.random_ = Random(self.seed, self.progress_)
        self.draws_by_itself_ = draws_by_itself(self.module_)
        self._set_training(True)
        self.division_ = Division(self)
        self.division_.divide(batches, self.random_)
        self.notifies_batches_ = _needs_closure(self.optimizer_) or any(
            getattr(type(callback), event) is not getattr(Callback, event)
            for _, callback in self.callbacks_
            for event in ("on_batch_begin", "on_batch_end", "on_grad_computed")
        )
        epochs = self.max_epochs if epochs is None else epochs
        self.n_steps_planned_ = max(1, epochs * len(batches))
        n_last = train.n_samples - (len(batches) - 1) * self.batch_size
        n_steps = {self.batch_size: epochs * (len(batches) - 1)}
        n_steps[n_last] = n_steps.get(n_last, 0) + epochs
        possible = RecordedSteps.possible(self, n_steps)
        self.recorded_ = RecordedSteps(self, n_steps) if possible else None
        if held_out is not None:
            self.validation_ = self.get_iterator(held_out, training=False).to(self.device)
            self.best_ = BestEpoch(
                self.module_,
                self.division_.of_each(self.validation_, attrgetter("weight")),
                self._losses(self.validation_),
                patience=self.patience,
                start_patience=self.start_patience,
                tol=self.tol,
                n_errors=self.n_errors,
                group=self.group,
            )
        datasets = {"dataset_train": train, "dataset_valid": held_out}
        if self.checkpoint is not None:  # after the initial loss is computed
            self.checkpoint.resume(self, batches.generator)
        try:
            with self.division_:
                self._run_epochs(batches, epochs, datasets)
        finally:
            if self.recorded_ is not None:
                self.recorded_.end()
        return self

    def _run_epochs(self, batches: Batches, epochs: int, datasets: dict[str, Any]) -> None:
        """Run the epochs that are left, until training stops early."""
        for epoch in range(self.n_epochs_ + 1, epochs + 1):
            if self.stop_ or (self.best_ is not None and self.best_.exhausted):
                break
            self.notify("on_epoch_begin", **datasets)
            self.run_single_epoch(batches, training=True, prefix="train", step_fn=self.train_step)
            self.division_.end_epoch()
            if self.best_ is not None:
                is_candidate = epoch > self.warm_up * epochs
                losses = self._losses(self.validation_)
                loss = self.best_.update(epoch, losses, is_candidate=is_candidate)
                self._record("valid_loss", loss)
                self.history.record("valid_loss_best", self.best_.epoch == epoch)
            self.history[-1]["batches"].clear()
            self.n_epochs_ = epoch
            self._end_epoch(datasets)
            if self.checkpoint is not None:  # after callbacks, which may stop the fit
                self.checkpoint.save(self, cast(torch.Generator, batches.generator))

    def _end_epoch(self, datasets: dict[str, Any]) -> None:
        """Notify callbacks, which may stop the training of all processes."""
        try:
            self.notify("on_epoch_end", **datasets)
        except KeyboardInterrupt:  # of skorch's EarlyStopping
            if self.group.size == 1:
                raise
            self.stop_ = True
        self.stop_ = self.division_.stops(self.stop_)

    def run_single_epoch(
        self,
        iterator: Batches,
        training: bool,
        prefix: str,
        step_fn: Callable[..., dict[str, Any]],
        **_: Any,
    ) -> None:
        """Take one step per batch and record the mean loss."""
        anneal = SCHEDULES[self.schedule]
        self._set_training(training)
        totals: Tensor | float = 0.0
        for batch in iterator:
            progress = 1.0 if self.one_pass else self.n_steps_ / self.n_steps_planned_
            self.progress_.fill_(progress)
            if self.schedule != "constant":
                for group, rate in zip(self.optimizer_.param_groups, self.rates_, strict=True):
                    group["lr"] = rate * anneal(progress)
            if self.notifies_batches_:
                self.notify("on_batch_begin", batch=batch, training=training)
                step = step_fn(batch)
                sums = step["sums"]
            elif self.recorded_ is None:
                sums = self._step(batch)
            else:
                sums = self.recorded_(batch, self._step)
            totals = totals + sums
            if self.first_loss_ is None:
                self.first_loss_ = float(sums[0]) / batch.n_samples
            self.n_steps_ += 1
            if self.notifies_batches_:
                self.notify("on_batch_end", batch=batch, training=training, **step)
        if self.recorded_ is not None:
            self.recorded_.end_epoch()
        self._record_means(cast(Tensor, totals), iterator.rows, prefix)

    def _record_means(self, totals: Tensor, rows: RowDataset, prefix: str) -> None:
        """Record the mean loss of an epoch, and of each term if there are several."""
        total, *further = totals.tolist()
        loss = total / rows.n_samples
        self._record(f"{prefix}_loss", loss)
        if further:
            weight = float(rows.sum(rows.weight.sum()))
            means = {
                name: value / weight
                for name, value in zip(self.term_names_[1:], further, strict=True)
            }
            means = {self.term_names_[0]: loss - sum(means.values())} | means
            for name, value in means.items():
                self.history.record(f"{prefix}_{name}", value)

    def _step(self, batch: Batch) -> Tensor:
        """Take the step of skorch's `train_step`, without callbacks; return the sums of losses."""
        self.optimizer_.zero_grad(set_to_none=True)
        step = self.train_step_single(batch)
        self.optimizer_.step()
        return cast(Tensor, step["sums"])

    def train_step_single(self, batch: Any, **_: Any) -> dict[str, Any]:
        """Compute the loss of a batch and its gradient."""
        with self._network_draws(self.seed + self.n_steps_), self._autocast():
            terms = self.module_(batch)
        losses = total_of(terms)
        loss = self.criterion_(losses, batch.weight)
        sums = sums_of(terms, loss, batch.weight)
        loss, sums = self.division_.backward(loss, sums, batch)
        self.term_names_ = self.term_names_ or list(terms)
        return {"loss": loss, "y_pred": losses, "terms": terms, "sums": sums}

    def _losses(self, validation: Any) -> Tensor:
        """Return the objective of each validation sample, with the same noise at each call."""
        self._set_training(False)
        validation.progress.fill_(1.0)
        self.division_.divide(validation, Random(self.validation_seed, validation.progress))
        evaluate: Callable[[Batch], Tensor] = self._losses_of
        if self.recorded_ is not None:
            evaluate = partial(self.recorded_.losses, losses_of=self._losses_of)
        network_draws = self._network_draws(self.validation_seed)
        with torch.no_grad(), network_draws, self._autocast():
            losses = self.division_.of_own(validation, evaluate)
        return self.group.sum(losses)  # without the lock of torch's generator

    def _losses_of(self, batch: Batch) -> Tensor:
        return total_of(self.module_(batch))

    def _network_draws(self, seed: int) -> AbstractContextManager:
        """Seed torch's generator if there are layers that draw from it."""
        return seeded(seed, self.device) if self.draws_by_itself_ else nullcontext()

    def _autocast(self) -> AbstractContextManager:
        if self.precision == "full":
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, dtype=torch.bfloat16)

    def _record(self, name: str, loss: float) -> None:
        self.history.record(name, loss)
        check_convergence(
            name,
            loss,
            epoch=len(self.history),
            first=cast(float, self.first_loss_),
            best=self.best_,
            mean_loss=self.mean_loss,
            learning_rate=self.lr,
        )


def _needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimiser evaluates the objective itself, as LBFGS does."""
    return signature(optimizer.step).parameters["closure"].default is not None


def check_convergence(
    name: str,
    loss: float,
    *,
    epoch: int,
    first: float,
    best: BestEpoch | None,
    mean_loss: float,
    learning_rate: float,
) -> None:
    """Raise DivergenceError if a loss is not finite, or that of training far above the first ones.

    Few outliers among the validation samples suffice for a large mean, although training converges.
    """
    if name == "valid_loss" and math.isfinite(loss):
        return
    start = 0.0 if best is None else float(best.weight @ best.start_losses)
    usual = max(loss for loss in (mean_loss, first, start) if math.isfinite(loss))
    if not loss <= DIVERGED * usual:
        raise DivergenceError(
            f"The fit diverged in epoch {epoch}: {name} = {loss:.3g}, while the first step had "
            f"{first:.3g} and a reconstruction by the mean has {mean_loss:.3g}; lower "
            f"learning_rate (now {learning_rate:g})."
        )

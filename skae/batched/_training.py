"""Training of models of one structure as one program."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.func import vmap

from skae.batched._adam import StackedAdamW
from skae.batched._draws import draw_for_all
from skae.batched._member import Member, Net
from skae.batched._members import Datasets, Objective, Row, Tensors, Weights, split_rows
from skae.data import Batch, Draw, Random, Replay
from skae.exceptions import DivergenceError
from skae.training import (
    SCHEDULES,
    BestEpoch,
    Job,
    Recorded,
    TrainingResult,
    make_trainer,
    total_of,
    validation_batch_size,
)

# With as many models, after which there are likely to be more: recording takes about as long.
ENOUGH_CALLS = 20
KEPT = 0.5  # of the models; if no more are left, the finished ones leave the batch

Outcome = TrainingResult | Exception


class Group:
    """Train models of one structure together; each as it would be alone.

    Parameters
    ----------
    jobs : sequence of Job
        With as many samples, held out ones, and samples per batch each.
    names : sequence of str
        Hyperparameters that differ between them.
    """

    def __init__(self, jobs: Sequence[Job], names: Sequence[str]):
        self.outcomes: list[Outcome | None] = [None] * len(jobs)
        self.device = torch.device(jobs[0].plan.device)
        for job in jobs:
            job.module.to(self.device)
        self.weights = Weights([job.module for job in jobs])
        self.objective = Objective(jobs, names)
        self.like = self.weights.rows
        self.numbers = self.objective.numbers(self.like)
        self.datasets = Datasets(jobs).to(self.device)
        self.train, self.held_out = split_rows(jobs)
        self.batch_size = jobs[0].plan.batch_size
        self.steps_per_epoch = -(-self.train.shape[1] // self.batch_size)
        self.draws: dict[tuple[bool, int], list[Draw]] = {}
        self.term_names: list[str] = []
        self.n_steps = 0
        self.n_calls: dict[Hashable, int] = {}
        self.program = Recorded(self._losses_and_gradients, "A step of several models")
        self.validation = Recorded(self._losses, "The validation losses of several models")
        self.members = [
            Member(
                job,
                i,
                torch.Generator().manual_seed(job.plan.order_seed),
                Random(job.plan.seed, self.like),
            )
            for i, job in enumerate(jobs)
        ]
        weights = zip(jobs, self.train, strict=True)
        self.mean_weight = self._tensor([float(j.dataset.weight[i].mean()) for j, i in weights])
        self.n_planned = self._tensor([self._n_planned(member) for member in self.members])
        first = make_trainer(jobs[0].module, jobs[0].dataset, jobs[0].plan)
        self.options = first.initialize().options_
        decay = [job.plan.weight_decay for job in jobs]
        self.optimizer = StackedAdamW(self.weights.rows, decay)

    def _tensor(self, values: Any) -> Tensor:
        return torch.tensor(values, dtype=self.like.dtype, device=self.device)

    # ------------------------------------------------------------------------------ training

    def run(self) -> list[Outcome]:
        """Train all models; return the result of each, or the error that ended its training."""
        if self.held_out.shape[1]:
            of_start = self._validation_losses()
            for i, member in enumerate(self.members):
                self._start(i, member, of_start[i])
        epoch = 1
        while self._finish(epoch):
            for _, member in self._active():
                member.notify("on_epoch_begin", Net(self, member))
            losses, terms = self._train_epoch()
            of_validation = self._validation_losses() if self.held_out.shape[1] else None
            for i, member in self._active():
                member.history.append({"epoch": epoch})
                try:
                    self._record(i, member, losses, terms, of_validation)
                    member.notify("on_epoch_end", Net(self, member))
                except DivergenceError as error:
                    self.outcomes[member.number] = error
            epoch += 1
        return [outcome for outcome in self.outcomes if outcome is not None]

    def try_step(self) -> None:
        """Compute the objective and its gradient for a few samples; change nothing."""
        numbers = self._numbers(self.members)
        index = self.train[:, : self.batch_size].to(self.device)
        batch = self.datasets.batch(numbers, index)
        randoms = [Random(0, self.like) for _ in self.members]
        self._losses_and_gradients(*self._arguments(batch, self._progress()[0], randoms, numbers))

    def _start(self, i: int, member: Member, losses: Tensor) -> None:
        """Choose the start as the best epoch so far."""
        plan = member.job.plan
        weight = self.datasets.batch(self._numbers([member]), self.held_out[[member.number]])
        member.best = BestEpoch(
            Row(self.weights, i),
            weight["weight"][0],
            losses,
            patience=plan.patience,
            start_patience=plan.start_patience,
            tol=plan.tol,
            n_errors=plan.n_errors,
        )

    def _record(
        self,
        i: int,
        member: Member,
        losses: list[float],
        terms: dict[str, list[float]],
        of_validation: Tensor | None,
    ) -> None:
        """Record the losses of an epoch, and keep it if it is the best one."""
        member.record("train_loss", losses[i])
        further = {name: values[i] for name, values in terms.items()}
        if further:
            first = losses[i] - sum(further.values())
            for name, value in {self.term_names[0]: first, **further}.items():
                member.history[-1][f"train_{name}"] = value
        if of_validation is not None and member.best is not None:
            epoch, plan = len(member.history), member.job.plan
            candidate = epoch > plan.warm_up * plan.max_epochs
            loss = member.best.update(epoch, of_validation[i], is_candidate=candidate)
            member.record("valid_loss", loss)
            member.history[-1]["valid_loss_best"] = member.best.epoch == epoch

    def _train_epoch(self) -> tuple[list[float], dict[str, list[float]]]:
        """Take a step per batch; return the mean loss and the mean of each further term."""
        self.objective.module.train()
        n = self.train.shape[1]
        numbers = self._numbers(self.members)
        order = torch.stack([torch.randperm(n, generator=m.order) for m in self.members])
        rows = self.train[numbers.cpu()].gather(1, order).to(self.device)
        randoms = [m.random for m in self.members]
        mean_weight = self.mean_weight[numbers]
        totals: Tensor | float = 0.0
        for index in rows.split(self.batch_size, dim=1):
            progress, rates = self._progress()
            batch = self.datasets.batch(numbers, index)
            arguments = self._arguments(batch, progress, randoms, numbers)
            enough = ENOUGH_CALLS if self.held_out.shape[1] else 0
            sums, gradient = self._call(self.program, index.shape, arguments, enough)
            self.optimizer.step(gradient, rates, self.weights.unused)
            if not self.n_steps:
                for member, value in zip(self.members, sums[0].tolist(), strict=True):
                    member.first_loss = value / index.shape[1]
            self.n_steps += 1
            totals = totals + sums
        losses, *further = cast(Tensor, totals)
        weight = mean_weight * n
        names = self.term_names[1:]
        means = {k: (v / weight).tolist() for k, v in zip(names, further, strict=True)}
        return (losses / n).tolist(), means

    def _call(
        self, program: Recorded, shape: torch.Size, arguments: list[Tensor], enough: int
    ) -> Sequence[Tensor]:
        """Call a program for batches of a shape, which is recorded after enough calls."""
        kind = program.name, shape
        self.n_calls[kind] = self.n_calls.get(kind, 0) + 1
        return program(shape, arguments, pays=self.n_calls[kind] > enough)

    def _arguments(
        self, batch: Tensors, progress: Tensor, randoms: Sequence[Random], numbers: Tensor
    ) -> list[Tensor]:
        """Return all that the objective of a batch depends on."""
        drawn = self._drawn(batch, progress, randoms)
        state = [self.weights.rows, *self.weights.buffers.values(), *self.numbers.values()]
        return [*state, self.mean_weight[numbers], progress, *batch.values(), *drawn]

    def _losses_and_gradients(self, rows: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums of the losses, (1 + n_further_terms, n_models), and the gradients."""
        leaves = self.weights.leaves(rows)
        terms, mean_weight, batch = self._terms(leaves, *tensors)
        self.term_names = list(terms)
        losses, weight = total_of(terms), batch["weight"]
        sums = [(losses * weight).sum(1) / mean_weight]
        sums += [(terms[name].detach() * weight).sum(1) for name in self.term_names[1:]]
        gradient = self.weights.gradient(sums[0].sum() / losses.shape[1], leaves)
        return torch.stack(sums).detach(), gradient

    @torch.no_grad()
    def _losses(self, rows: Tensor, *tensors: Tensor) -> tuple[Tensor]:
        """Return the objective of each sample, (n_models, n)."""
        terms, _, _ = self._terms(self.weights.leaves(rows), *tensors)
        return (total_of(terms),)

    def _terms(self, leaves: Tensors, *tensors: Tensor) -> tuple[Tensors, Tensor, Tensors]:
        """Return the terms of the objective, the mean weight and the batch of given arguments."""
        left = list(tensors)
        buffers = {name: left.pop(0) for name in self.weights.buffers}
        numbers = {name: left.pop(0) for name in self.numbers}
        mean_weight, progress = left.pop(0), left.pop(0)
        batch = {name: left.pop(0) for name in self.datasets.names}
        terms = vmap(self._terms_of_one)(leaves, buffers, numbers, batch, progress, left)
        return terms, mean_weight, batch

    def _progress(self) -> tuple[Tensor, list[float]]:
        """Return the completed fraction and the learning rate of each model."""
        rates = []
        for member in self.members:
            plan, done = member.job.plan, self.n_steps / self._n_planned(member)
            rates.append(plan.learning_rate * SCHEDULES[plan.schedule](done))
        return self.n_steps / self.n_planned, rates

    def _n_planned(self, member: Member) -> int:
        """Return the number of steps of a model, if training does not end early."""
        return max(1, member.job.plan.max_epochs * self.steps_per_epoch)

    @torch.no_grad()
    def _validation_losses(self) -> Tensor:
        """Return the objective of the validation samples, (n_models, n)."""
        self.objective.module.eval()
        numbers = self._numbers(self.members)
        rows = self.held_out[numbers.cpu()]
        progress = self._tensor([1.0] * len(self.members))
        randoms = [Random(m.job.plan.validation_seed, self.like) for m in self.members]
        size = validation_batch_size(self.datasets.n_features)
        parts: list[Tensor] = []
        for index in rows.split(size, dim=1):
            batch = self.datasets.batch(numbers, index.to(self.device))
            arguments = self._arguments(batch, progress, randoms, numbers)
            (losses,) = self._call(self.validation, index.shape, arguments, ENOUGH_CALLS)
            parts.append(losses.clone())
        return torch.cat(parts, dim=1)

    def _drawn(self, batch: Tensors, progress: Tensor, randoms: Sequence[Random]) -> list[Tensor]:
        """Return what the objective draws for a batch, (n_models, ...) each."""
        key = self.objective.module.training, batch["x"].shape[1]
        if key not in self.draws:
            one = {name: value[0] for name, value in batch.items()}
            first = Batch(one["x"], one.get("observed"), one["weight"], progress[0])
            self.draws[key] = self.objective.draws(first)
        return draw_for_all(randoms, self.draws[key])

    def _terms_of_one(
        self,
        leaves: Tensors,
        buffers: Tensors,
        numbers: Tensors,
        batch: Tensors,
        progress: Tensor,
        drawn: list[Tensor],
    ) -> Tensors:
        """Return the terms of the objective of one model by name, (n,) each."""
        observed, random = batch.get("observed"), Replay(drawn, batch["x"])
        given = Batch(batch["x"], observed, batch["weight"], progress, random=random)
        return self.objective(leaves | buffers, numbers, given)

    # ----------------------------------------------------------------- models that are finished

    def _numbers(self, members: Sequence[Member]) -> Tensor:
        return torch.tensor([m.number for m in members], device=self.device)

    def _active(self) -> list[tuple[int, Member]]:
        """Return the models that are not finished, with their rows."""
        return [(i, m) for i, m in enumerate(self.members) if self.outcomes[m.number] is None]

    def _finish(self, epoch: int) -> bool:
        """Finish the models that are done before an epoch; whether there are others."""
        for i, member in self._active():
            if member.is_done(epoch):
                self.outcomes[member.number] = self._finished(i, member)
        active = self._active()
        if len(active) <= KEPT * len(self.members):
            self._keep([i for i, _ in active])
        return bool(active)

    def _keep(self, rows: Sequence[int]) -> None:
        """Go on with some of the models only."""
        self.members = [self.members[i] for i in rows]
        index = torch.tensor(rows, dtype=torch.int64, device=self.device)
        self.weights.take(index)
        self.numbers = {name: values[index] for name, values in self.numbers.items()}
        self.n_planned = self.n_planned[index]
        self.optimizer.take(index, self.weights.rows)
        for i, member in enumerate(self.members):
            if member.best is not None:
                member.best.module = Row(self.weights, i)

    def _finished(self, i: int, member: Member) -> TrainingResult:
        """Return the result of a model, and copy its weights to its module."""
        job, best = member.job, member.best
        if best is not None:
            best.restore()
        self.weights.store(i, job.module)
        job.module.cpu().eval()
        return self.result(i, member)

    def result(self, i: int, member: Member) -> TrainingResult:
        """Return the result of a model, if its training ended now."""
        best, slices = member.best, self.weights.slices
        unused = self.weights.unused
        used = {n: s for n, s in slices.items() if unused is None or not unused[s[0]].all()}
        moments = self.optimizer.moments(i, used)
        return TrainingResult(
            history=list(member.history),
            term_names=list(self.term_names),
            n_steps=len(member.history) * self.steps_per_epoch,
            best=None if best is None else (best.epoch, best.loss),
            initial_loss=None if best is None else best.initial_loss,
            mean_loss=member.job.plan.mean_loss,
            optimizer={"options": self.options, "moments": moments},
        )

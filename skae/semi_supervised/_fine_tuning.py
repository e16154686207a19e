"""Training of a fitted encoder and a linear output layer on targets."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from numpy.typing import NDArray
from skorch.callbacks import Callback
from torch import Tensor

from skae._validation import rescale_weights
from skae._warnings import warn
from skae.base import BaseAutoencoder
from skae.data import NO_RANDOM, Batch, DataSource, Random, RowDataset
from skae.exceptions import DivergenceError
from skae.semi_supervised._heads import LinearHead, OutputLayer, Standardization
from skae.semi_supervised._tasks import Task
from skae.semi_supervised._teacher import Choice
from skae.training import AutoencoderModule, Job, TrainingPlan, run


class TargetDataset(RowDataset):
    """A dataset whose batches have the targets of the samples as their context."""

    def __init__(self, rows: RowDataset, targets: Tensor):
        self.rows = rows
        self.targets = targets
        self.n_features = rows.n_features
        self.weight = rows.weight
        self.dtype = rows.dtype
        self.complete = rows.complete

    def values(self, index: Tensor | slice) -> tuple[Tensor, Tensor | None]:
        return self.rows.values(index)

    def batch(self, index: Tensor | slice, progress: Tensor, random: Random = NO_RANDOM) -> Batch:
        return self.rows.batch(index, progress, random)._replace(context=self.targets[index])

    def take(self, index: Tensor) -> RowDataset:
        return TargetDataset(self.rows.take(index), self.targets[index])

    def to(self, device: torch.device | str) -> RowDataset:
        return TargetDataset(self.rows.to(device), self.targets.to(device))


def layer_of(name: str) -> str:
    """Return the layer of a parameter of an encoder: its path up to the first number in it.

    Parameters of the encoder itself, such as embeddings of positions, are one layer.
    """
    path = name.split(".")[:-1]
    numbers = [i for i, part in enumerate(path) if re.fullmatch(r"\d+", part)]
    return ".".join(path[: numbers[0] + 1] if numbers else path[:1])


def learning_rates(module: AutoencoderModule, base: float, decay: float) -> dict[str, float]:
    """Return the learning rate of each parameter between the inputs and the output layer.

    It is the base rate for the output layer, and decays by a factor from layer to layer towards the
    inputs. The linear shortcut has the rate of the first layer.
    """
    names = [] if module.encoder is None else [n for n, _ in module.encoder.named_parameters()]
    layers = list(dict.fromkeys(map(layer_of, names)))
    height = {layer: len(layers) - i for i, layer in enumerate(layers)}
    rates = {f"encoder.{name}": base * decay ** height[layer_of(name)] for name in names}
    if module.encoder_shortcut is not None:
        rates["encoder_shortcut.weight"] = base * decay ** max(1, len(layers))
    return rates


class _Report(Callback):
    """Report each epoch as done."""

    def __init__(self, done: Callable[[str], None]):
        self.done = done

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        self.done("epoch")


@dataclass(frozen=True)
class Learned:
    """What is learned from the labels.

    Attributes
    ----------
    encoder : BaseAutoencoder
    head : LinearHead
        Of the codes as they are.
    choice : Choice or None
        What the targets of the unlabelled samples were; None without them.
    n_iter : int
        Number of epochs of the last training.
    """

    encoder: BaseAutoencoder
    head: LinearHead
    choice: Choice | None = None
    n_iter: int = 1


@dataclass(frozen=True)
class FineTuning:
    """Training of encoders, each with an output layer.

    Attributes
    ----------
    task : type of Task
    standardization : Standardization
        Of the codes before training, by which the output layer is as easy to train as others.
    layer_decay : float
        Factor of the learning rate from layer to layer.
    """

    task: type[Task]
    standardization: Standardization
    layer_decay: float

    def train(
        self,
        start: Learned,
        source: DataSource,
        weight: NDArray,
        targets: NDArray,
        plan: TrainingPlan,
        done: Callable[[str], None],
    ) -> Learned:
        """Train a copy of an encoder and its output layer.

        If training diverges, the start is returned, with a warning.
        """
        fitted = start.encoder._with_fit_params()
        module = copy.deepcopy(start.encoder.module_).cpu()
        like = module.output_bias
        head = start.head.of_standardized(self.standardization)
        module.add_module("head", OutputLayer(head, self.standardization, like))

        def objective(module: AutoencoderModule, batch: Batch) -> dict[str, Tensor]:
            code = fitted._encode_to_learn(module, batch._replace(context=None))
            output = cast(OutputLayer, module.head)(code)
            return {"loss": self.task.objective(output, cast(Tensor, batch.context))}

        rates = learning_rates(module, plan.learning_rate, self.layer_decay).items()
        groups = [(name, {"lr": rate}) for name, rate in rates]
        plan = replace(plan, net_params={"optimizer__param_groups": groups})
        conditioning, complete = fitted._conditioning, not source.has_missing()
        weight = rescale_weights(weight)
        rows = RowDataset.of(source, weight, conditioning, like.dtype, complete)
        dataset = TargetDataset(rows, torch.tensor(targets, dtype=like.dtype))
        try:
            result = run(Job(module, objective, dataset, plan, [("report", _Report(done))]))
        except DivergenceError:
            warn(
                "The fine-tuning of the encoder diverged, so it stays as it was; lower "
                f"learning_rate (now {plan.learning_rate:g})."
            )
            return start
        tuned = copy.copy(start.encoder)
        tuned.module_, layer = module, cast(OutputLayer, module.head)
        del module.head
        # The moments of the decoder do not belong to this encoder.
        tuned._optimizer = {"options": {}, "moments": {}}
        own = layer.head().of_codes(self.standardization)
        return Learned(tuned, own, n_iter=max(1, len(result.history)))

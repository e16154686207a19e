"""The imputation network: an autoencoder that corrects the conditional mean of a Gaussian."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skae._schema import array, persistent
from skae.architectures import Architecture, Dropout
from skae.base import BaseAutoencoder
from skae.data import Batch, RowDataset, subsample_evenly
from skae.hyperparameters import NON_NEGATIVE, POSITIVE, POSITIVE_INT, hyperparameters, param
from skae.impute._conditional_gaussian import (
    MAX_WHOLE_COLUMNS,
    ConditionalGaussian,
    probabilities,
)
from skae.losses import CrossEntropy
from skae.tables import ColumnGroups, is_grouping
from skae.training import AutoencoderModule, LayerSizes, budget

MIN_EPOCHS, MAX_EPOCHS = 10, 500
MASKED_FRACTION = (0.05, 0.6)  # of a row's observed values in training, smallest and largest
N_VALIDATION_MASKS = 2  # of each validation row
MAX_BINNED_ROWS = 20_000  # that the bins are computed from


def zero_init(layer: nn.Linear) -> nn.Linear:
    """Set the parameters of a layer to zero."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class ResidualBlock(nn.Module):
    """x plus a small network of x."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        last = zero_init(nn.Linear(width, width))
        self.inner = nn.Sequential(nn.Linear(width, width), nn.SiLU(), Dropout(dropout), last)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


@persistent
@hyperparameters
class ResidualMLP(Architecture):
    """Encoder of residual blocks, and a decoder with one layer."""

    n_blocks: int = param(POSITIVE_INT, default=2, doc="Number of residual blocks.")
    dropout: float = param(
        NON_NEGATIVE, default=0.2, doc="Fraction of the units dropped in training."
    )

    def build(
        self, n_inputs: int, n_code: int, n_components: int, n_outputs: int
    ) -> tuple[nn.Module, nn.Module]:
        blocks = [ResidualBlock(n_code, self.dropout) for _ in range(self.n_blocks)]
        encoder = nn.Sequential(nn.Linear(n_inputs, n_code), *blocks)
        return encoder, nn.Sequential(nn.SiLU(), zero_init(nn.Linear(n_components, n_outputs)))

    def _n_layers(self) -> int:
        return 2 * self.n_blocks + 2


class NetworkStart(NamedTuple):
    """What training starts from, and the rows that validate it."""

    gaussian: ConditionalGaussian
    groups: ColumnGroups
    validation: NDArray


@persistent
@hyperparameters
class ImputationNetwork(BaseAutoencoder):
    r"""Autoencoder that learns to predict masked values.

    .. math:: \hat x = e + g(f(e, m, b)), \qquad e = E[x | x_o]

    where e is the Gaussian's conditional mean given the observed values o, m is their mask, and b
    is the position of each observed value among the quantiles of its column (piecewise linear).
    Training masks a random fraction of the observed values of each row anew at each step, and
    minimises the squared error of these values. The network starts at zero, so that the start is
    the Gaussian.

    Columns of a group indicate the category of the row by a 1, and are masked together. Their
    reconstruction is the probability of each category, the softmax of log e plus the output of the
    network, and their error is twice the cross-entropy, as a squared error is twice the negative
    log-likelihood of a Gaussian.

    Parameters
    ----------
    {parameters}
    """

    n_components: int = param(POSITIVE_INT, default=192, kw_only=False, doc="Width of the network.")
    n_bins: int = param(POSITIVE_INT, default=12, doc="Quantile bins of each column.")
    n_steps: int = param(POSITIVE_INT, default=2500, doc="Gradient steps if ``max_iter='auto'``.")
    batch_size: int | str = param(POSITIVE_INT, default=128, doc="Batch size.")
    learning_rate: float = param(POSITIVE, default=2e-3, doc="Learning rate.")
    weight_decay: float = param(NON_NEGATIVE, default=1e-2, doc="Weight decay (AdamW).")

    # The Gaussian to start from. Hooks see only the module and the rows, so it is set before `fit`;
    # afterwards the module holds it.
    _start = cast(NetworkStart | None, None)
    _before_training = ("_start",)

    @classmethod
    def starting_from(
        cls,
        gaussian: ConditionalGaussian,
        groups: ColumnGroups,
        validation: NDArray,
        **params: Any,
    ) -> Self:
        """Return a network to fit to rows, in the Gaussian's units, some of which validate it."""
        network = cls(**params)
        network._start = NetworkStart(gaussian, groups, validation)
        return network

    def started(self) -> Self:
        """Forget what only training needs."""
        self.__dict__.pop("_start", None)
        return self

    def _architecture(self) -> Any:
        return ResidualMLP()

    def _starts_from_pca(self) -> bool:
        return False

    def _linear_shortcut(self) -> bool:
        return False

    def _layer_sizes(self, n_features: int) -> LayerSizes:
        return LayerSizes(
            n_inputs=n_features * (2 + self.n_bins),
            n_code=self.n_components,
            n_components=self.n_components,
            n_outputs=n_features,
        )

    def _held_out(self, n_samples: int, random_state: np.random.RandomState) -> NDArray:
        return cast(NetworkStart, self._start).validation

    def _warm_up(self) -> float:
        return 0.8  # only the last epochs, of small steps, may replace the start

    def _n_epochs(self, rows: RowDataset, steps_per_epoch: int, starts_at_pca: bool) -> int:
        auto = int(np.clip(round(self.n_steps / steps_per_epoch), MIN_EPOCHS, MAX_EPOCHS))
        return budget.resolve_auto(self.max_iter, auto)

    def _before_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        gaussian, groups, _ = cast(NetworkStart, self._start)
        shift, scale = module.shift.double(), module.scale.double()
        module.register_buffer("gaussian_mean", (gaussian.mean - shift) / scale)
        module.register_buffer("gaussian_covariance", gaussian.covariance / scale**2)
        low, width = quantile_bins(rows, self.n_bins)
        module.register_buffer("bin_low", low.to(module.shift))
        module.register_buffer("bin_width", width.to(module.shift))
        if groups.is_grouped.any():
            module.register_buffer("group_start", torch.from_numpy(groups.group_start))
            module.register_buffer("grouped", torch.from_numpy(groups.is_grouped))

    def _added_tensors(self, layer_sizes: LayerSizes) -> dict[str, Tensor]:
        d = layer_sizes["n_outputs"]
        exact, each = torch.empty(d, d, dtype=torch.float64, device="meta"), (d, self.n_bins)
        return {
            "gaussian_mean": exact[0],
            "gaussian_covariance": exact,
            "bin_low": torch.empty(each, device="meta"),
            "bin_width": torch.empty(each, device="meta"),
        }

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        super()._check_state(state)
        values = state["_weights"]["values"] if "_weights" in state else {}
        if "group_start" in values or "grouped" in values:
            group_start: Any = values.get("group_start")
            grouped: Any = values.get("grouped")
            if not (
                is_grouping(group_start, state["n_features_in_"])
                and array("b", None)(grouped, {})
                and np.array_equal(ColumnGroups(group_start).is_grouped, grouped)
            ):
                raise ValueError("the columns of its categories do not belong together")

    def _corrupt(self, module: AutoencoderModule, batch: Batch) -> Batch:
        low, high = MASKED_FRACTION
        fraction = low + (high - low) * batch.random.uniform(len(batch.x), 1)
        uniform = batch.random.uniform(*batch.x.shape)
        if (group_start := getattr(module, "group_start", None)) is not None:
            uniform = uniform[:, group_start]
        seen = (uniform >= fraction).to(batch.x)
        if batch.observed is not None:
            seen = seen * batch.observed
        return batch._replace(x=batch.x * seen, observed=seen)

    def _objective(self, module: AutoencoderModule, batch: Batch) -> dict[str, Tensor]:
        known = torch.ones_like(batch.x) if batch.observed is None else batch.observed
        total = torch.zeros_like(batch.x[:, 0])
        n_masks = 1 if module.training else N_VALIDATION_MASKS
        for _ in range(n_masks):
            seen = self._corrupt(module, batch)
            error = column_errors(module, self._output(module, seen), batch.x)
            total = total + (error * (known - cast(Tensor, seen.observed))).mean(1)
        return {"reconstruction": total / n_masks}

    def _encode(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        return module.encode(self._network_input(module, batch)[1])

    def _reconstruct(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        return to_reconstruction(module, self._output(module, batch))

    def _network_input(self, module: AutoencoderModule, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the conditional mean, (n, d), and the network's input, (n, (2 + n_bins) d)."""
        known = torch.ones_like(batch.x) if batch.observed is None else batch.observed
        gaussian = module.get_buffer("gaussian_mean"), module.get_buffer("gaussian_covariance")
        few = batch.x.shape[1] <= MAX_WHOLE_COLUMNS
        expected = (filled if few else _Filled.apply)(batch.x, known, *gaussian).to(batch.x)
        low, width = module.get_buffer("bin_low"), module.get_buffer("bin_width")
        within = ((batch.x[:, :, None] - low) / width).clamp(0, 1) * known[:, :, None]
        return expected, torch.cat([expected, known, within.flatten(1)], dim=1)

    def _output(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        expected, inputs = self._network_input(module, batch)
        correction = module.decode(module.encode(inputs))
        if batch.observed is not None:
            # A row with nothing observed gets the mean.
            correction = correction * batch.observed.amax(1, keepdim=True)
        return initial_output(module, expected) + correction


def filled(x: Tensor, observed: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """Return rows with the conditional mean of their missing values, (n, d), in float64."""
    return ConditionalGaussian.of(mean, covariance).fill(x, observed)


class _Filled(torch.autograd.Function):
    """Conditional means of rows of many columns; under vmap, model by model.

    The number of missing values of a row decides how its mean is computed, which vmap cannot do.
    """

    @staticmethod
    def forward(x: Tensor, observed: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
        return filled(x, observed, mean, covariance)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return None, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Sequence[int | None], *arguments: Tensor) -> tuple[Tensor, int]:
        each = [
            [
                a if dim is None else a.select(dim, i)
                for a, dim in zip(arguments, in_dims, strict=True)
            ]
            for i in range(info.batch_size)
        ]
        return torch.stack([_Filled.forward(*of_one) for of_one in each]), 0


def initial_output(module: AutoencoderModule, expected: Tensor) -> Tensor:
    """Return the output that the network starts from, given the Gaussian's conditional mean."""
    if (group_start := getattr(module, "group_start", None)) is None:
        return expected
    p = probabilities(
        torch.addcmul(module.shift, expected, module.scale), module.shift, group_start
    )
    grouped = module.get_buffer("grouped")
    return torch.where(grouped, torch.where(grouped, p, 1).log(), expected)


def to_reconstruction(module: AutoencoderModule, output: Tensor) -> Tensor:
    """Return the reconstruction, in conditioned units, for an output of the network."""
    if (group_start := getattr(module, "group_start", None)) is None:
        return output
    p = CrossEntropy(group_start).link(output)
    return torch.where(module.get_buffer("grouped"), (p - module.shift) / module.scale, output)


def column_errors(module: AutoencoderModule, output: Tensor, x: Tensor) -> Tensor:
    """Return the error of each value, (n, d), for an output of the network."""
    error = (output - x).square()
    if (group_start := getattr(module, "group_start", None)) is None:
        return error
    x = torch.addcmul(module.shift, x, module.scale)
    nll = 2 * CrossEntropy(group_start).cell(output, x)
    return torch.where(module.get_buffer("grouped"), nll, error * module.scale**2)


def quantile_bins(rows: RowDataset, n_bins: int) -> tuple[Tensor, Tensor]:
    """Return lower ends and widths of bins between quantiles of each column, (d, n_bins).

    Bins between equal quantiles get an infinite width, which makes their features constant.
    """
    some = torch.from_numpy(subsample_evenly(np.arange(len(rows)), MAX_BINNED_ROWS))
    x, observed = rows.values(some)
    x = x.double() if observed is None else x.double().masked_fill(observed == 0, torch.nan)
    levels = torch.linspace(0, 1, n_bins + 1, dtype=torch.float64)
    ends = torch.nanquantile(x.cpu(), levels, dim=0).T
    width = ends.diff(dim=1)
    least = 1e-6 * (ends[:, -1:] - ends[:, :1])
    return ends[:, :-1], torch.where(width > least, width, torch.inf)

"""The imputation network: an autoencoder that corrects the conditional mean of a Gaussian."""

from __future__ import annotations

from collections.abc import Mapping
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
from skae.impute._budget import BATCH_SIZE
from skae.impute._conditional_gaussian import probabilities
from skae.impute._masked_examples import MaskedExamples
from skae.losses import CrossEntropy
from skae.tables import ColumnGroups, is_grouping
from skae.training import AutoencoderModule, LayerSizes

N_PARTS = 3  # of the rows that the network is fitted to
MAX_INPUTS, MAX_BINS = 1024, 8  # fewer bins of more columns
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
    """Encoder of residual blocks, and a decoder with one layer, whose outputs are the first ones.

    The outputs of other columns, which are not predicted, are zero.
    """

    n_blocks: int = param(POSITIVE_INT, default=1, doc="Number of residual blocks.")
    dropout: float = param(
        NON_NEGATIVE, default=0.2, doc="Fraction of the units dropped in training."
    )

    def build(
        self, n_inputs: int, n_code: int, n_components: int, n_outputs: int
    ) -> tuple[nn.Module, nn.Module]:
        blocks = [ResidualBlock(n_code, self.dropout) for _ in range(self.n_blocks)]
        encoder = nn.Sequential(nn.Linear(n_inputs, n_code), *blocks)
        last = zero_init(nn.Linear(n_components, n_outputs // N_PARTS))
        padded = nn.ZeroPad1d((0, n_outputs - n_outputs // N_PARTS))
        return encoder, nn.Sequential(nn.SiLU(), last, padded)

    def _n_layers(self) -> int:
        return 2 * self.n_blocks + 2


class NetworkStart(NamedTuple):
    """What the network learns of the rows, beside the examples.

    Attributes
    ----------
    Z : ndarray of shape (n, d)
        Standardised rows, NaN where a value is missing.
    groups : ColumnGroups
        Groups of the columns.
    frequency : ndarray of shape (d,)
        Means of the columns.
    n_validation : int
        The last examples, which validate the network.
    """

    Z: NDArray
    groups: ColumnGroups
    frequency: NDArray
    n_validation: int


@persistent
@hyperparameters
class ImputationNetwork(BaseAutoencoder):
    r"""Autoencoder that learns to predict masked values.

    .. math:: \hat x = e + g(f(e, m, b)), \qquad e = E[x | x_o]

    where e is the Gaussian's conditional mean given the observed values o, m is their mask, and b
    is the position of each observed value among the quantiles of its column (piecewise linear).
    It is fitted to `MaskedExamples` and minimises the squared error of their targets. The network
    starts at zero, so that the start is the Gaussian.

    Columns of a group indicate the category of the row by a 1, and are masked together. Their
    reconstruction is the probability of each category, the softmax of log e plus the output of the
    network, and their error is twice the cross-entropy, as a squared error is twice the negative
    log-likelihood of a Gaussian.

    Parameters
    ----------
    {parameters}
    """

    n_components: int = param(POSITIVE_INT, default=192, kw_only=False, doc="Width of the network.")
    n_bins: int = param(POSITIVE_INT, default=MAX_BINS, doc="Quantile bins of each column.")
    batch_size: int | str = param(POSITIVE_INT, default=BATCH_SIZE, doc="Batch size.")
    learning_rate: float = param(POSITIVE, default=2e-3, doc="Learning rate.")
    weight_decay: float = param(NON_NEGATIVE, default=1e-2, doc="Weight decay (AdamW).")

    # Hooks see only the module and the rows, so it is set before `fit`; afterwards the module holds
    # what is needed of it.
    _start = cast(NetworkStart | None, None)
    _before_training = ("_start",)

    def fit_examples(self, examples: MaskedExamples, start: NetworkStart) -> Self:
        """Fit the network, or leave it at its start if training diverges."""
        self._start = start
        self._fit_or_start(examples.table(), sample_weight=examples.weight)
        self.__dict__.pop("_start")
        return self

    def complete(self, filled: NDArray, seen: NDArray) -> NDArray:
        """Return estimates of all values, given conditional means and the mask of what is seen."""
        d = filled.shape[1]
        return self.reconstruct(np.hstack([filled, seen, np.full_like(filled, np.nan)]))[:, :d]

    def _architecture(self) -> Any:
        return ResidualMLP()

    def _starts_from_pca(self) -> bool:
        return False

    def _linear_shortcut(self) -> bool:
        return False

    def _layer_sizes(self, n_features: int) -> LayerSizes:
        return LayerSizes(
            n_inputs=n_features // N_PARTS * (2 + self.n_bins),
            n_code=self.n_components,
            n_components=self.n_components,
            n_outputs=n_features,
        )

    def _held_out(self, n_samples: int, random_state: np.random.RandomState) -> NDArray:
        return np.arange(n_samples - cast(NetworkStart, self._start).n_validation, n_samples)

    def _warm_up(self) -> float:
        return 0.8  # only the last epochs, of small steps, may replace the start

    def _before_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        start = cast(NetworkStart, self._start)
        low, width = quantile_bins(start.Z, self.n_bins)
        module.register_buffer("bin_low", low.to(module.shift))
        module.register_buffer("bin_width", width.to(module.shift))
        if start.groups.is_grouped.any():
            frequency = np.maximum(start.frequency, np.finfo(np.float32).tiny)
            module.register_buffer("frequency", torch.from_numpy(frequency).to(module.shift))
            module.register_buffer("group_start", torch.from_numpy(start.groups.group_start))
            module.register_buffer("grouped", torch.from_numpy(start.groups.is_grouped))

    def _added_tensors(self, layer_sizes: LayerSizes) -> dict[str, Tensor]:
        each = (layer_sizes["n_outputs"] // N_PARTS, self.n_bins)
        return {name: torch.empty(each, device="meta") for name in ("bin_low", "bin_width")}

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        super()._check_state(state)
        if (values := state.get("_weights", {}).get("values")) is None:
            return
        n_columns, left = divmod(state["n_features_in_"], N_PARTS)
        if left:
            raise ValueError("its rows are not of as many parts")
        if "group_start" in values or "grouped" in values:
            group_start: Any = values.get("group_start")
            grouped: Any = values.get("grouped")
            if not (
                is_grouping(group_start, n_columns)
                and array("b", None)(grouped, {})
                and np.array_equal(ColumnGroups(group_start).is_grouped, grouped)
                and array("f", n_columns, finite=True)(values.get("frequency"), {})
            ):
                raise ValueError("the columns of its categories do not belong together")

    def _objective(self, module: AutoencoderModule, batch: Batch) -> dict[str, Tensor]:
        filled, seen, target = _parts(module, batch)
        known = torch.ones_like(batch.x) if batch.observed is None else batch.observed
        has_target = known[:, -target.shape[1] :]
        error = column_errors(module, self._output(module, filled, seen), target)
        return {"reconstruction": (error * has_target).mean(1)}

    def _encode(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        return module.encode(_network_input(module, *_parts(module, batch)[:2]))

    def _reconstruct(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        filled, seen, target = _parts(module, batch)
        values = to_values(module, self._output(module, filled, seen))
        return (torch.cat([values, seen, target], dim=1) - module.shift) / module.scale

    def _output(self, module: AutoencoderModule, filled: Tensor, seen: Tensor) -> Tensor:
        code = module.encode(_network_input(module, filled, seen))
        correction = module.decode(code)[:, : filled.shape[1]]
        # A row with nothing observed gets the mean.
        return initial_output(module, filled) + correction * seen.amax(1, keepdim=True)


def _parts(module: AutoencoderModule, batch: Batch) -> tuple[Tensor, ...]:
    """Return the parts of rows in the Gaussian's units, (n, d) each."""
    return torch.addcmul(module.shift, batch.x, module.scale).chunk(N_PARTS, dim=1)


def _network_input(module: AutoencoderModule, filled: Tensor, seen: Tensor) -> Tensor:
    """Return the network's input, (n, (2 + n_bins) d)."""
    low, width = module.get_buffer("bin_low"), module.get_buffer("bin_width")
    within = ((filled[:, :, None] - low) / width).clamp(0, 1) * seen[:, :, None]
    return torch.cat([filled, seen, within.flatten(1)], dim=1)


def initial_output(module: AutoencoderModule, filled: Tensor) -> Tensor:
    """Return the output that the network starts from, given the Gaussian's conditional mean."""
    if (group_start := getattr(module, "group_start", None)) is None:
        return filled
    p = probabilities(filled, module.get_buffer("frequency"), group_start)
    grouped = module.get_buffer("grouped")
    return torch.where(grouped, torch.where(grouped, p, 1).log(), filled)


def to_values(module: AutoencoderModule, output: Tensor) -> Tensor:
    """Return values, probabilities for categories, for an output of the network."""
    if (group_start := getattr(module, "group_start", None)) is None:
        return output
    return torch.where(module.get_buffer("grouped"), CrossEntropy(group_start).link(output), output)


def column_errors(module: AutoencoderModule, output: Tensor, target: Tensor) -> Tensor:
    """Return the error of each value, (n, d), for an output of the network."""
    error = (output - target).square()
    if (group_start := getattr(module, "group_start", None)) is None:
        return error
    nll = 2 * CrossEntropy(group_start).cell(output, target)
    return torch.where(module.get_buffer("grouped"), nll, error)


def quantile_bins(Z: NDArray, n_bins: int) -> tuple[Tensor, Tensor]:
    """Return lower ends and widths of bins between quantiles of each column, (d, n_bins).

    Bins between equal quantiles get an infinite width, which makes their features constant.
    """
    z = torch.from_numpy(Z[subsample_evenly(np.arange(len(Z)), MAX_BINNED_ROWS)])
    levels = torch.linspace(0, 1, n_bins + 1, dtype=torch.float64)
    ends = torch.nanquantile(z, levels, dim=0).T
    width = ends.diff(dim=1)
    least = 1e-6 * (ends[:, -1:] - ends[:, :1])
    return ends[:, :-1], torch.where(width > least, width, torch.inf)

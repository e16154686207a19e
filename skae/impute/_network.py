"""The autoencoder that fills holes: a correction of what a Gaussian says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skae._schema import array, persistent
from skae.architectures import Architecture, Dropout
from skae.base import BaseAutoencoder
from skae.data import Batch, RowDataset, subsample_evenly
from skae.hyperparameters import NON_NEGATIVE, POSITIVE, POSITIVE_INT, hyperparameters, param
from skae.impute._conditional_gaussian import Gaussian, probabilities
from skae.impute._table_encoder import is_grouping
from skae.losses import CrossEntropy
from skae.training import AutoencoderModule, HoldOut, LayerSizes, budget

STEPS = 2500  # of the training, about
EPOCHS = (10, 500)  # of it, at least and at most
HIDE = (0.05, 0.6)  # share of a row's observed cells that training hides
LOOKS = 2  # patterns of hidden cells that held-out rows are seen with
MAX_ROWS = 20_000  # that the bins are of


def silent(layer: nn.Linear) -> nn.Linear:
    """Set a layer to zero."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Block(nn.Module):
    """x plus a small network of x."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        last = silent(nn.Linear(width, width))
        self.inner = nn.Sequential(nn.Linear(width, width), nn.SiLU(), Dropout(dropout), last)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


@persistent
@hyperparameters
class ResidualMLP(Architecture):
    """Encoder of residual blocks, and a decoder of one layer."""

    n_blocks: int = param(POSITIVE_INT, default=2, doc="How many.")
    dropout: float = param(
        NON_NEGATIVE, default=0.2, doc="Share of the units left out in training."
    )

    def build(
        self, n_inputs: int, n_code: int, n_components: int, n_outputs: int
    ) -> tuple[nn.Module, nn.Module]:
        blocks = [Block(n_code, self.dropout) for _ in range(self.n_blocks)]
        encoder = nn.Sequential(nn.Linear(n_inputs, n_code), *blocks)
        return encoder, nn.Sequential(nn.SiLU(), silent(nn.Linear(n_components, n_outputs)))

    def _n_layers(self) -> int:
        return 2 * self.n_blocks + 2


@persistent
@hyperparameters
class ImputationNetwork(BaseAutoencoder):
    r"""Autoencoder that learns to fill cells that are hidden from it.

    .. math:: \hat x = e + g(f(e, m, b)), \qquad e = E[x | x_o]

    with e the Gaussian's conditional mean given the observed cells o, m their mask, and b where
    each observed value is among the quantiles of its column (piecewise linear). Training hides a
    random share of the observed cells of each row anew at each step, and minimises the squared
    error of these cells. The network starts at zero, so that the start is the Gaussian.

    Columns with the same leader tell by a 1 which category the row has, and are hidden together.
    Their reconstruction is the chance of each, the softmax of log e and what the network adds, and
    their error twice the cross-entropy, as a squared error is twice a Gaussian's.

    Parameters
    ----------
    {parameters}
    """

    n_components: int = param(POSITIVE_INT, default=192, kw_only=False, doc="Width.")
    n_bins: int = param(POSITIVE_INT, default=12, doc="Quantiles of each column.")
    batch_size: int | str = param(POSITIVE_INT, default=128, doc="Rows of a step.")
    learning_rate: float = param(POSITIVE, default=2e-3, doc="Step size.")
    weight_decay: float = param(NON_NEGATIVE, default=1e-2, doc="Decay of weights.")

    def fit_from(
        self,
        gaussian: Gaussian,
        X: NDArray,
        weight: NDArray,
        held_out: NDArray,
        group_start: NDArray,
    ) -> Self:
        """Train from the Gaussian of the rows, in their units, and on all but some of them."""
        self._gaussian, self._group_start = gaussian, group_start
        self.net_params = {"train_split": HoldOut(held_out)}
        try:
            return self._fit_or_start(X, sample_weight=weight)
        finally:
            del self._gaussian, self._group_start
            self.net_params = None

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

    def _warm_up(self) -> float:
        return 0.8  # the last epochs, of small steps, or none

    def _n_epochs(self, rows: RowDataset, steps_per_epoch: int, starts_at_pca: bool) -> int:
        return budget.resolve_auto(
            self.max_iter, int(np.clip(round(STEPS / steps_per_epoch), *EPOCHS))
        )

    def _before_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        shift, scale = module.shift.double(), module.scale.double()
        module.register_buffer("gaussian_mean", (self._gaussian.mean - shift) / scale)
        module.register_buffer("gaussian_covariance", self._gaussian.covariance / scale**2)
        low, width = bins(rows, self.n_bins)
        module.register_buffer("bin_low", low.to(module.shift))
        module.register_buffer("bin_width", width.to(module.shift))
        group_start = torch.from_numpy(self._group_start)
        grouped = group_start.bincount(minlength=len(group_start))[group_start] > 1
        if grouped.any():
            module.register_buffer("group_start", group_start)
            module.register_buffer("grouped", grouped)

    def _added_tensors(self, widths: LayerSizes) -> dict[str, Tensor]:
        d = widths["n_outputs"]
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
                and np.array_equal(np.bincount(group_start)[group_start] > 1, grouped)
            ):
                raise ValueError("the columns of its categories do not belong together")

    def _corrupt(self, module: AutoencoderModule, batch: Batch) -> Batch:
        low, high = HIDE
        share = low + (high - low) * batch.random.uniform(len(batch.x), 1)
        chance = batch.random.uniform(*batch.x.shape)
        if (group_start := getattr(module, "group_start", None)) is not None:
            chance = chance[:, group_start]
        seen = (chance >= share).to(batch.x)
        if batch.observed is not None:
            seen = seen * batch.observed
        return batch._replace(x=batch.x * seen, observed=seen)

    def _objective(self, module: AutoencoderModule, batch: Batch) -> dict[str, Tensor]:
        known = torch.ones_like(batch.x) if batch.observed is None else batch.observed
        total = torch.zeros_like(batch.x[:, 0])
        looks = 1 if module.training else LOOKS
        for _ in range(looks):
            seen = self._corrupt(module, batch)
            error = cell_errors(module, self._output(module, seen), batch.x)
            total = total + (error * (known - cast(Tensor, seen.observed))).mean(1)
        return {"reconstruction": total / looks}

    def _encode(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        return module.encode(self._told(module, batch)[1])

    def _reconstruct(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        return linked(module, self._output(module, batch))

    def _told(self, module: AutoencoderModule, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the conditional mean, (n, d), and what the network sees, (n, (2 + n_bins) d)."""
        known = torch.ones_like(batch.x) if batch.observed is None else batch.observed
        gaussian = Gaussian.of(
            module.get_buffer("gaussian_mean"), module.get_buffer("gaussian_covariance")
        )
        expected = gaussian.fill(batch.x, known).to(batch.x)
        low, width = module.get_buffer("bin_low"), module.get_buffer("bin_width")
        within = ((batch.x[:, :, None] - low) / width).clamp(0, 1) * known[:, :, None]
        return expected, torch.cat([expected, known, within.flatten(1)], dim=1)

    def _output(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        expected, told = self._told(module, batch)
        correction = module.decode(module.encode(told))
        if batch.observed is not None:
            # Of a row with nothing observed, the mean is all there is to say.
            correction = correction * batch.observed.amax(1, keepdim=True)
        return start(module, expected) + correction


def start(module: AutoencoderModule, expected: Tensor) -> Tensor:
    """Return the output that the network starts from, given the Gaussian's conditional mean."""
    if (group_start := getattr(module, "group_start", None)) is None:
        return expected
    p = probabilities(
        torch.addcmul(module.shift, expected, module.scale), module.shift, group_start
    )
    grouped = module.get_buffer("grouped")
    return torch.where(grouped, torch.where(grouped, p, 1).log(), expected)


def linked(module: AutoencoderModule, output: Tensor) -> Tensor:
    """Return the reconstruction, in conditioned units, for the output."""
    if (group_start := getattr(module, "group_start", None)) is None:
        return output
    p = CrossEntropy(group_start).link(output)
    return torch.where(module.get_buffer("grouped"), (p - module.shift) / module.scale, output)


def cell_errors(module: AutoencoderModule, output: Tensor, x: Tensor) -> Tensor:
    """Return the error of each cell, for the output."""
    error = (output - x).square()
    if (group_start := getattr(module, "group_start", None)) is None:
        return error
    x = torch.addcmul(module.shift, x, module.scale)
    nll = 2 * CrossEntropy(group_start).cell(output, x)
    return torch.where(module.get_buffer("grouped"), nll, error * module.scale**2)


def bins(rows: RowDataset, n_bins: int) -> tuple[Tensor, Tensor]:
    """Return lower ends and widths of bins between quantiles of each column, (d, n_bins).

    Where quantiles coincide, bins have no width, in which every value is at one end: they are
    given an infinite one.
    """
    some = torch.from_numpy(subsample_evenly(np.arange(len(rows)), MAX_ROWS))
    x, observed = rows.values(some)
    x = x.double() if observed is None else x.double().masked_fill(observed == 0, torch.nan)
    levels = torch.linspace(0, 1, n_bins + 1, dtype=torch.float64)
    ends = torch.nanquantile(x.cpu(), levels, dim=0).T
    width = ends.diff(dim=1)
    least = 1e-6 * (ends[:, -1:] - ends[:, :1])
    return ends[:, :-1], torch.where(width > least, width, torch.inf)

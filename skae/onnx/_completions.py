"""The ways to complete standardised rows, as modules in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from skae import impute
from skae.onnx._graphs import AutoencoderGraph

Step = Callable[[tuple[Tensor, ...], tuple[Tensor, ...]], tuple[tuple[Tensor, ...], Tensor]]


class Rows(NamedTuple):
    """Standardised rows, in float64, and what a Gaussian tells of them, (n, d) each."""

    z: Tensor  # 0 where a value is missing
    observed: Tensor  # bool
    filled: Tensor  # with conditional means in place of missing values
    variance: Tensor  # conditional, of the missing values


def scan(step: Step, carry: tuple[Tensor, ...], along: tuple[Tensor, ...]) -> Any:
    """Return the last carry, and the outputs of all steps, stacked.

    In an exported program, this is one loop, whatever the number of steps.
    """
    if torch.compiler.is_exporting():
        from torch._higher_order_ops.scan import scan as exported_scan

        return exported_scan(step, carry, along)
    outputs = []
    for inputs in zip(*(a.unbind() for a in along), strict=True):
        carry, output = step(carry, inputs)
        outputs.append(output)
    return carry, torch.stack(outputs)


def set_constants(module: nn.Module, **arrays: ArrayLike) -> None:
    """Register arrays as buffers, those of floats in float64."""
    for name, array in arrays.items():
        value = torch.tensor(np.array(array))
        module.register_buffer(name, value.double() if value.is_floating_point() else value)


class GaussianRows(nn.Module):
    r"""Conditional means and variances of a Gaussian, given the observed values of each row.

    The Gaussian is conditioned on one column after the other: if :math:`x_k` is observed,

    .. math:: \mu \leftarrow \mu + \frac{\Sigma_{\cdot k}}{\Sigma_{kk}} (x_k - \mu_k), \qquad
              \Sigma \leftarrow \Sigma - \frac{\Sigma_{\cdot k} \Sigma_{k \cdot}}{\Sigma_{kk}}.
    """

    mean: Tensor
    covariance: Tensor

    def __init__(self, completion: impute.Completion):
        super().__init__()
        gaussian = completion.gaussian
        set_constants(self, mean=gaussian.mean.numpy(), covariance=gaussian.covariance.numpy())

    def forward(self, z: Tensor, observed: Tensor) -> Rows:
        """Return what the Gaussian tells of rows, (n, d)."""

        def condition(
            moments: tuple[Tensor, ...], inputs: tuple[Tensor, ...]
        ) -> tuple[tuple[Tensor, ...], Tensor]:
            mean, covariance = moments
            z_k, observed_k, e_k = inputs
            column = covariance @ e_k
            gain = column * (observed_k / (column @ e_k))[:, None]
            covariance = covariance - gain[:, :, None] * column[:, None, :]
            return (mean + gain * (z_k - mean @ e_k)[:, None], covariance), e_k[:1].clone()

        n, d = z.shape
        start = self.mean.expand(n, d).clone(), self.covariance.expand(n, d, d).clone()
        columns = (z.T, observed.T.to(z.dtype), torch.eye(d, dtype=z.dtype))
        (mean, covariance), _ = scan(condition, start, columns)
        variance = covariance.diagonal(dim1=1, dim2=2).clamp_min(impute.MIN_VARIANCE)
        return Rows(z, observed, torch.where(observed, z, mean), variance)


class ByGaussian(nn.Module):
    """Estimate missing values by their conditional means."""

    def __init__(self, completion: impute.GaussianCompletion):
        super().__init__()

    def forward(self, rows: Rows) -> Tensor:
        return rows.filled


class ByNetwork(nn.Module):
    """Estimate missing values by the imputation network."""

    def __init__(self, completion: impute.NetworkCompletion):
        super().__init__()
        self.network = AutoencoderGraph(completion.model, (), "float64")

    def forward(self, rows: Rows) -> Tensor:
        seen, target = rows.observed.to(rows.z.dtype), torch.full_like(rows.z, torch.nan)
        batch = self.network.batch(torch.cat([rows.filled, seen, target], dim=1))
        return self.network.reconstruction(batch)[:, : rows.z.shape[1]]


class ByReconstruction(nn.Module):
    """Estimate missing values by an autoencoder's reconstruction, repeatedly."""

    def __init__(self, completion: impute.ReconstructionCompletion):
        super().__init__()
        self.autoencoder = AutoencoderGraph(completion.model, (), "float64")

    def forward(self, rows: Rows) -> Tensor:
        x = torch.where(rows.observed, rows.z, torch.nan)
        for _ in range(impute.N_RECONSTRUCTIONS):
            x = torch.where(rows.observed, rows.z, self._reconstruction(x))
        return self._reconstruction(x)

    def _reconstruction(self, x: Tensor) -> Tensor:
        return self.autoencoder.reconstruction(self.autoencoder.batch(x))


class ByNearestRows(nn.Module):
    """Estimates of another module, shrunk towards the nearest stored rows.

    Stored rows and distances are in float32, as in the imputer.
    """

    stored: Tensor
    known: Tensor
    log_weight: Tensor
    metric: Tensor
    power: Tensor
    reach: Tensor
    tau: Tensor

    def __init__(self, completion: impute.NearestRowsCompletion):
        super().__init__()
        self.estimate = completion_module(completion.completion)
        rows, limit = completion.neighbors, impute.MAX_DISTANCE
        self.limit = limit
        set_constants(
            self,
            stored=np.clip(rows.filled_, -limit, limit).T,
            known=rows.known_.T,
            log_weight=np.log(rows.weight_),
            metric=np.exp(rows.metric_),
            power=np.exp(rows.power_),
            reach=np.exp(rows.reach_),
            tau=rows.shrinkage_variance_,
        )

    def forward(self, rows: Rows) -> Tensor:
        missing = ~rows.observed
        estimate = torch.where(missing, self.estimate(rows), rows.z)
        near = missing & rows.observed.any(1, keepdim=True) & self.known.any(1)
        weight = torch.where(near, rows.variance / (rows.variance + self.tau), 0)
        filled = estimate
        for _ in range(impute.N_REFINEMENTS):
            towards = torch.where(near, self._means(filled), filled)
            filled = estimate + weight * (towards - estimate)
        return filled

    def _means(self, filled: Tensor) -> Tensor:
        """Return the weighted means of the stored rows near filled ones, (n, d)."""
        x = filled.clamp(-self.limit, self.limit)
        x_squared, twice, squares = x.square(), 2 * self.stored, self.stored.square()

        def one_column(
            carry: tuple[Tensor, ...], inputs: tuple[Tensor, ...]
        ) -> tuple[tuple[Tensor, ...], Tensor]:
            metric, power, reach, known, column = inputs
            squared = metric @ squares - (x * metric) @ twice
            squared = (squared + (x_squared @ metric)[:, None]).clamp_min(0)
            log_weight = torch.where(known, self.log_weight, -torch.inf)
            shares = (log_weight - power * (reach + squared).log()).softmax(dim=1)
            return (carry[0].clone(),), shares @ column

        along = (self.metric, self.power, self.reach, self.known, self.stored)
        return scan(one_column, (x[:1, 0].clone(),), along)[1].T


class BySelfMasking(nn.Module):
    """Estimates of another module, shifted because values are missing due to their size."""

    slope: Tensor

    def __init__(self, completion: impute.SelfMaskedCompletion):
        super().__init__()
        self.estimate = completion_module(completion.completion)
        set_constants(self, slope=completion.slopes * completion.relative_variance)

    def forward(self, rows: Rows) -> Tensor:
        return self.estimate(rows) + self.slope * rows.variance


MODULES: dict[type, Callable[[Any], nn.Module]] = {
    impute.GaussianCompletion: ByGaussian,
    impute.NetworkCompletion: ByNetwork,
    impute.ReconstructionCompletion: ByReconstruction,
    impute.NearestRowsCompletion: ByNearestRows,
    impute.SelfMaskedCompletion: BySelfMasking,
}


def completion_module(completion: impute.Completion) -> nn.Module:
    """Return the module that estimates the missing values of `Rows` as a completion does.

    Raises
    ------
    ValueError
        If it draws at random.
    """
    if type(completion) not in MODULES:
        raise ValueError(
            "to_onnx cannot convert an AutoencoderImputer whose estimator is a "
            f"{type(completion.model).__name__}, which imputes by random draws of its code; fit "
            "the imputer with another autoencoder, or without one."
        )
    return MODULES[type(completion)](completion)

"""Fitted estimators as modules that map samples, with missing values, to named outputs."""

from __future__ import annotations

import copy
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skae.base import BaseAutoencoder
from skae.data import Batch
from skae.onnx._dense_convolutions import without_convolutions
from skae.onnx._scalers import Affine
from skae.outlier import AutoencoderOutlierDetector, LossCriterion

TORCH_DTYPE = {"float32": torch.float32, "float64": torch.float64}


class AutoencoderGraph(nn.Module):
    """What a fitted autoencoder computes of samples, conditioning included.

    Parameters
    ----------
    estimator : BaseAutoencoder
        Fitted.
    outputs : sequence of {'code', 'reconstruction', 'score'}
        What `forward` returns, in this order.
    dtype : {'float32', 'float64'}
        Precision of the samples and of the computation.
    inverse : Affine, default=None
        Map of reconstructions to the units of what precedes the autoencoder.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        estimator: BaseAutoencoder,
        outputs: tuple[str, ...],
        dtype: str,
        inverse: Affine | None = None,
    ):
        super().__init__()
        self.fitted = estimator._with_fit_params()
        self.outputs = outputs
        module = copy.deepcopy(estimator.module_).to("cpu")
        self.module = module.convert(TORCH_DTYPE[dtype], estimator._conditioning)
        if dtype == "float64":
            without_convolutions(self.module)
        constants = {"mean": estimator.mean_, "scale": estimator.scale_}
        if inverse is not None:
            constants |= {"factor": inverse.factor, "offset": inverse.offset}
        for name, value in constants.items():
            # A copy: arrays of files may be read-only.
            self.register_buffer(name, torch.tensor(np.array(value), dtype=TORCH_DTYPE[dtype]))
        self.has_inverse = inverse is not None
        self.eval()

    def batch(self, x: Tensor) -> Batch:
        """Return samples in conditioned units, 0 where a value is missing."""
        observed = ~x.isnan()
        conditioned = torch.where(observed, (x - self.mean) / self.scale, 0)
        weight = torch.ones_like(conditioned[:, 0])
        return Batch(conditioned, observed.to(x.dtype), weight, torch.ones_like(self.scale))

    def reconstruction(self, batch: Batch) -> Tensor:
        """Return reconstructions in the units of what precedes the autoencoder."""
        x_hat = self.fitted._reconstruct(self.module, batch)
        if self.module.loss.power:
            x_hat = x_hat * self.scale + self.mean
        if self.has_inverse:
            x_hat = x_hat * self.get_buffer("factor") + self.get_buffer("offset")
        return x_hat

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs for samples, (n, n_features)."""
        batch = self.batch(x)
        functions: dict[str, Any] = {
            "code": lambda: self.fitted._encode(self.module, batch),
            "reconstruction": lambda: self.reconstruction(batch),
            "score": lambda: self.fitted._score(self.module, batch),
        }
        return tuple(functions[name]() for name in self.outputs)


class DetectorGraph(nn.Module):
    """What a fitted detector computes of samples, in float64 as it does.

    Parameters
    ----------
    detector : AutoencoderOutlierDetector
        Fitted.
    outputs : sequence of {'score', 'decision', 'label'}
        What `forward` returns, in this order.

    Raises
    ------
    ValueError
        If it has a criterion that is not a sum of losses, or encodes tables itself.
    """

    weights: Tensor
    offset: Tensor

    def __init__(self, detector: AutoencoderOutlierDetector, outputs: tuple[str, ...]):
        super().__init__()
        criteria = detector._criteria
        if not all(isinstance(criterion, LossCriterion) for criterion in criteria):
            names = [criterion.name for criterion in criteria]
            raise ValueError(
                "to_onnx converts detectors whose method is a sum of losses over the columns, "
                "'reconstruction', 'standardized', 'denoising' or several of these, but this one "
                f"was fitted with {names}; fit it with one of those methods."
            )
        if detector._encoder is not None:
            raise ValueError(
                "to_onnx converts detectors of arrays of numbers, but this one encodes the columns "
                "of a table; fit it to numbers, for example those of a TableEncoder."
            )
        self.criteria: Any = criteria  # in a tuple, as they are not modules
        self.outputs = outputs
        # As tensors: the exporter rounds numbers to float32.
        self.register_buffer("weights", torch.tensor(detector._weights, dtype=torch.float64))
        self.register_buffer("offset", torch.tensor(detector.offset_, dtype=torch.float64))
        self.autoencoder = AutoencoderGraph(detector.estimator_, (), "float64")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs for samples, (n, n_features)."""
        graph = self.autoencoder
        batch = graph.batch(x.double())
        total = torch.zeros_like(batch.weight)
        for weight, criterion in zip(self.weights.unbind(), self.criteria, strict=True):
            total = total - weight * criterion._terms(graph.fitted, graph.module, batch).sum(1)
        observed = cast(Tensor, batch.observed)
        score = torch.where(observed.sum(1) > 0, total, 0)
        decision = score - self.offset
        results = {
            "score": score,
            "decision": decision,
            "label": 1 - 2 * (decision < 0).to(torch.int64),
        }
        return tuple(results[name] for name in self.outputs)


def example_of(n_features: int, dtype: str) -> NDArray:
    """Return samples to trace a graph with, some of whose values are missing."""
    x = np.zeros((3, n_features), dtype=dtype)
    x[0, 0] = np.nan
    return x

r"""Reconstruction losses, per cell.

A loss consists of the link from the output of the decoder to :math:`\hat x`, the error of one cell
as a function of that output, the domain of :math:`x`, and the output that training starts from.
"""

from __future__ import annotations

from typing import ClassVar, TypeVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from skae._sklearn import StrOptions
from skae._validation import column_name

__all__ = [
    "LIKELIHOODS",
    "LIKELIHOOD_NAMES",
    "LOSSES",
    "LOSS_NAMES",
    "AbsoluteError",
    "CrossEntropy",
    "LogLoss",
    "Loss",
    "Poisson",
    "SquaredError",
    "register_loss",
]


C = TypeVar("C", bound="type[Loss]")
NAMED = {"loss": "name", "likelihood": "likelihood"}


class Loss:
    r"""Base of the losses.

    Attributes
    ----------
    name : str
        Name of the loss, for the ``loss`` parameter.
    power : int
        The error of ``c * x`` is ``c ** power`` times that of ``x``. With power 0, the loss depends
        on the units of `x`: the decoder models `x` as given, not `x` centred and scaled.
    pca : bool
        Whether training can start from the principal components.
    likelihood : str or None
        Name of the corresponding distribution of `x` given :math:`\hat x`, for the ``likelihood``
        parameter, if any.

    Examples
    --------
    >>> import torch
    >>> from skae.extension import Loss
    >>> class FourthPower(Loss):
    ...     name = "fourth_power"
    ...     power = 4
    ...     pca = True
    ...
    ...     def cell(self, output, x):
    ...         return (output - x) ** 4
    >>> FourthPower().cell(torch.tensor([2.0]), torch.tensor([0.0]))
    tensor([16.])
    """

    name: ClassVar[str]
    power: ClassVar[int]
    pca: ClassVar[bool]
    likelihood: ClassVar[str | None] = None

    def check(
        self, low: NDArray, high: NDArray, names: NDArray | None, parameter: str = "loss"
    ) -> None:
        """Check that the values of each column are in the domain, by default all numbers.

        Parameters
        ----------
        low, high : ndarray of shape (n_features,)
            Smallest and largest value of each column.
        names : ndarray of shape (n_features,) or None
            Names of the columns, for the message.
        parameter : {'likelihood', 'loss'}, default='loss'
            The hyperparameter that chose the loss, for the message.

        Raises
        ------
        ValueError
            If a column has values outside of the domain.
        """

    def link(self, output: Tensor) -> Tensor:
        """Return the reconstruction for an output of the decoder.

        Parameters
        ----------
        output : Tensor of shape (n, n_outputs)
            Output of the decoder.

        Returns
        -------
        x_hat : Tensor of shape (n, n_outputs)
            Reconstruction, by default the output itself.
        """
        return output

    def cell(self, output: Tensor, x: Tensor) -> Tensor:
        """Return the error of each cell for an output of the decoder.

        Parameters
        ----------
        output : Tensor of shape (n, n_outputs)
            Output of the decoder.
        x : Tensor of shape (n, n_outputs)
            The samples that it reconstructs.

        Returns
        -------
        cell : Tensor of shape (n, n_outputs)
            Errors.
        """
        raise NotImplementedError

    def nll(self, output: Tensor, x: Tensor) -> Tensor:
        """Return the negative log-likelihood of each cell; not for a Gaussian likelihood.

        Parameters
        ----------
        output : Tensor of shape (n, n_outputs)
            Output of the decoder.
        x : Tensor of shape (n, n_outputs)
            The samples that it reconstructs.

        Returns
        -------
        nll : Tensor of shape (n, n_outputs)
            Negative log-likelihoods, by default the errors.
        """
        return self.cell(output, x)

    def bias(self, mean: NDArray) -> NDArray:
        """Return the constant output that training starts from.

        Parameters
        ----------
        mean : ndarray of shape (n_features,)
            Mean of each column.

        Returns
        -------
        output : ndarray of shape (n_features,)
            Output, by default zeros.
        """
        return np.zeros_like(mean)


class SquaredError(Loss):
    r""":math:`(\hat x - x)^2`, with the identity as its link."""

    name = "squared_error"
    likelihood = "gaussian"
    power = 2
    pca = True

    def cell(self, output: Tensor, x: Tensor) -> Tensor:
        return F.mse_loss(output, x, reduction="none")


class AbsoluteError(Loss):
    r""":math:`|\hat x - x|`, with the identity as its link."""

    name = "absolute_error"
    power = 1
    pca = True

    def cell(self, output: Tensor, x: Tensor) -> Tensor:
        return F.l1_loss(output, x, reduction="none")


class LogLoss(Loss):
    r""":math:`-x \log \hat x - (1 - x) \log(1 - \hat x)`, with the logistic link, x in [0, 1]."""

    name = "log_loss"
    likelihood = "bernoulli"
    power = 0
    pca = False

    def check(
        self, low: NDArray, high: NDArray, names: NDArray | None, parameter: str = "loss"
    ) -> None:
        outside = np.flatnonzero((low < 0) | (high > 1))
        if len(outside):
            j = int(outside[0])
            raise ValueError(
                f"{parameter}='{getattr(self, NAMED[parameter])}' needs values in [0, 1], but "
                f"column {column_name(j, names)} of X goes from {low[j]:.6g} to {high[j]:.6g}; "
                "scale it, for instance with sklearn.preprocessing.MinMaxScaler(clip=True), or use "
                f"{parameter}='{getattr(SquaredError, NAMED[parameter])}'."
            )

    def link(self, output: Tensor) -> Tensor:
        return torch.sigmoid(output)

    def cell(self, output: Tensor, x: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(output, x, reduction="none")

    def bias(self, mean: NDArray) -> NDArray:
        # The logit of a constant column of zeros or ones is infinite.
        p = np.clip(mean, 1e-3, 1 - 1e-3)
        return np.log(p / (1 - p))


class Poisson(Loss):
    r""":math:`x \log (x / \hat x) - x + \hat x`, with an exponential link, x >= 0.

    Half the deviance of a Poisson distribution with mean :math:`\hat x`; 0 at :math:`x`.
    """

    name = "poisson"
    likelihood = "poisson"
    power = 0
    pca = False

    def check(
        self, low: NDArray, high: NDArray, names: NDArray | None, parameter: str = "loss"
    ) -> None:
        negative = np.flatnonzero(low < 0)
        if len(negative):
            j = int(negative[0])
            raise ValueError(
                f"{parameter}='poisson' needs values of at least 0, but column "
                f"{column_name(j, names)} of X goes down to {low[j]:.6g}; use "
                f"{parameter}='{getattr(SquaredError, NAMED[parameter])}'."
            )

    def link(self, output: Tensor) -> Tensor:
        return torch.exp(output)

    def cell(self, output: Tensor, x: Tensor) -> Tensor:
        x = x.clamp_min(0)  # conditioning and its inverse may turn 0 into -1e-9
        return torch.exp(output) - x * output + torch.xlogy(x, x) - x

    def nll(self, output: Tensor, x: Tensor) -> Tensor:
        x = x.clamp_min(0)
        return torch.exp(output) - x * output + torch.lgamma(x + 1)

    def bias(self, mean: NDArray) -> NDArray:
        # The logarithm of a constant column of zeros is infinite.
        return np.log(np.maximum(mean, 1e-3 * max(float(mean.max()), 1e-12)))


class CrossEntropy(Loss):
    r""":math:`-x \log \hat x`, with the softmax of each group of columns as its link.

    A group is a one-hot encoded category: one of its columns is 1, and the others are 0.

    Parameters
    ----------
    group_start : Tensor of shape (d,)
        The first column of the group that each column belongs to.
    """

    name = "cross_entropy"
    power = 0
    pca = False

    def __init__(self, group_start: Tensor):
        self.group_start = group_start

    def link(self, output: Tensor) -> Tensor:
        return self._log(output).exp()

    def cell(self, output: Tensor, x: Tensor) -> Tensor:
        return -x * self._log(output)

    def bias(self, mean: NDArray) -> NDArray:
        return np.log(np.maximum(mean, 1e-12))

    def _log(self, output: Tensor) -> Tensor:
        index = self.group_start.expand_as(output)
        largest = output.detach().scatter_reduce(1, index, output.detach(), "amax")
        shifted = output - largest[:, self.group_start]
        total = torch.zeros_like(shifted).index_add(1, self.group_start, shifted.exp())
        return shifted - total[:, self.group_start].log()


LOSSES: dict[str, Loss] = {}
LIKELIHOODS: dict[str, Loss] = {}
# Constraints of hyperparameters; they include losses that are registered later.
LOSS_NAMES = StrOptions(LOSSES.keys())
LIKELIHOOD_NAMES = StrOptions(LIKELIHOODS.keys())


def register_loss(cls: C) -> C:
    """Make a loss, and its likelihood if it has one, available by its name.

    Parameters
    ----------
    cls : type
        Subclass of `Loss` whose constructor takes no arguments.

    Returns
    -------
    cls : type
        The same class.

    Examples
    --------
    >>> import torch
    >>> from skae import Autoencoder
    >>> from skae.extension import Loss, register_loss
    >>> @register_loss
    ... class PseudoHuber(Loss):
    ...     name = "pseudo_huber"
    ...     power = 1
    ...     pca = True
    ...
    ...     def cell(self, output, x):
    ...         return torch.sqrt(1 + (output - x).square()) - 1
    >>> Autoencoder(2, loss="pseudo_huber")
    Autoencoder(loss='pseudo_huber')
    """
    loss = cls()
    LOSSES[loss.name] = loss
    if loss.likelihood is not None:
        LIKELIHOODS[loss.likelihood] = loss
    return cls


for _loss in (SquaredError, AbsoluteError, LogLoss, Poisson):
    register_loss(_loss)

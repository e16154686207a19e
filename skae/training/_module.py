"""The module that is trained: encoder and decoder, each with a linear shortcut."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypedDict, cast

import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from skae.architectures import Dropout
from skae.data import Batch, Conditioning
from skae.losses import LOSSES, Loss


class LayerSizes(TypedDict):
    """Sizes of a module's tensors: x, h, z and o, see `AutoencoderModule`.

    Attributes
    ----------
    n_inputs : int
        Number of inputs of the encoder, the size of x.
    n_code : int
        Number of its outputs, the size of h.
    n_components : int
        Number of entries of the code, the size of z.
    n_outputs : int
        Number of outputs of the decoder, the size of o.

    Examples
    --------
    >>> from skae.extension import LayerSizes
    >>> LayerSizes(n_inputs=64, n_code=16, n_components=8, n_outputs=64)["n_code"]
    16
    """

    n_inputs: int
    n_code: int
    n_components: int
    n_outputs: int


INITIAL_CODE_STD = 1e-2  # of codes beyond the rank, before training, in conditioned units


class AutoencoderModule(nn.Module):
    r"""Encoder, decoder and linear shortcuts, in conditioned units.

    .. math:: h = f(x) + A x, \quad o = g(z) + B z + c, \quad \hat x = \text{link}(o)

    where the variant computes :math:`z` from :math:`h`. Calling the module returns the objective
    per sample, so that compilation, vectorisation and distribution include the whole computation.

    Parameters
    ----------
    encoder, decoder : Module or None
        :math:`f` and :math:`g`; None stands for zero.
    n_inputs, n_code, n_components, n_outputs : int
        Sizes of :math:`x`, :math:`h`, :math:`z` and :math:`o`.
    linear_shortcut : bool
        Whether :math:`A` and :math:`B` exist.
    tied : bool
        Whether :math:`B = A^\top`.
    loss : Loss
        Reconstruction loss.
    conditioning : Conditioning
        What is subtracted from the samples, and what they are divided by.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skae import Autoencoder
    >>> X = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    >>> module = Autoencoder(2, max_iter=1, early_stopping=False, random_state=0).fit(X).module_
    >>> x = (torch.from_numpy(X) - module.shift) / module.scale
    >>> module.decode(module.encode(x)).shape
    torch.Size([50, 4])
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        encoder: nn.Module | None,
        decoder: nn.Module | None,
        *,
        n_inputs: int,
        n_code: int,
        n_components: int,
        n_outputs: int,
        linear_shortcut: bool,
        tied: bool = False,
        loss: Loss,
        conditioning: Conditioning,
    ):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.encoder_shortcut: nn.Linear | None = None
        self.decoder_shortcut: nn.Linear | None = None
        self.tied = tied
        if linear_shortcut:
            self.encoder_shortcut = nn.Linear(n_inputs, n_code, bias=False)
            if not tied:
                self.decoder_shortcut = nn.Linear(n_components, n_outputs, bias=False)
        self.output_bias = nn.Parameter(torch.zeros(n_outputs))
        self.register_buffer("shift", torch.tensor(conditioning.shift).to(self.output_bias))
        self.register_buffer("scale", torch.tensor(conditioning.scale).to(self.output_bias))
        self.loss = loss
        self.objective: Callable[[AutoencoderModule, Batch], dict[str, Tensor]] | None = None
        self._drawing_layers = tuple(m for m in self.modules() if isinstance(m, Dropout))

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the objective, which belongs to a run of training."""
        return self.__dict__ | {"objective": None}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the objective.

        Parameters
        ----------
        batch : Batch
            Samples.

        Returns
        -------
        terms : dict of str to Tensor of shape (n,)
            Each term by its name.
        """
        assert self.objective is not None
        for layer in self._drawing_layers:
            layer.random = batch.random
        try:
            return self.objective(self, batch)
        finally:
            for layer in self._drawing_layers:
                layer.random = None

    def convert(self, dtype: torch.dtype, conditioning: Conditioning) -> Self:
        """Convert to a dtype, with shift and scale in its full precision.

        Parameters
        ----------
        dtype : torch.dtype
            The dtype.
        conditioning : Conditioning
            Shift and scale.

        Returns
        -------
        self : AutoencoderModule
            The module itself.
        """
        if self.output_bias.dtype != dtype:
            self.to(dtype)
            self.shift.copy_(torch.tensor(conditioning.shift))
            self.scale.fill_(conditioning.scale)
        return self

    def encode(self, x: Tensor) -> Tensor:
        """Return the output of the encoder.

        Parameters
        ----------
        x : Tensor of shape (n, n_inputs)
            Inputs.

        Returns
        -------
        h : Tensor of shape (n, n_code)
            The network's output plus that of the shortcut.
        """
        if self.encoder_shortcut is None:
            return cast(nn.Module, self.encoder)(x)
        h = self.encoder_shortcut(x)
        return h if self.encoder is None else h + self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        """Return the output of the decoder, before the link.

        Parameters
        ----------
        z : Tensor of shape (..., n, n_components)
            Codes. They may have several axes of samples, of which networks are given one.

        Returns
        -------
        o : Tensor of shape (..., n, n_outputs)
            The network's output plus that of the shortcut.
        """
        if z.ndim > 2:
            return self.decode(z.flatten(0, -2)).unflatten(0, z.shape[:-1])
        if self.encoder_shortcut is None:
            return cast(nn.Module, self.decoder)(z) + self.output_bias
        o = F.linear(z, self.output_axes, self.output_bias)
        return o if self.decoder is None else o + self.decoder(z)

    @property
    def input_axes(self) -> Tensor:
        """The linear path to the code, (n_code, n_inputs)."""
        return cast(nn.Linear, self.encoder_shortcut).weight

    @property
    def output_axes(self) -> Tensor:
        """The linear path from the code, (n_outputs, n_components)."""
        if self.tied:
            return self.input_axes.T
        return cast(nn.Linear, self.decoder_shortcut).weight

    def cell_loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the loss of each cell.

        Parameters
        ----------
        output : Tensor of shape (n, n_outputs)
            Output of the decoder.
        batch : Batch
            The samples that it reconstructs.

        Returns
        -------
        cell : Tensor of shape (n, n_outputs)
            Losses, 0 for missing values.
        """
        x = batch.x if self.loss.power else torch.addcmul(self.shift, batch.x, self.scale)
        cell = self.loss.cell(output, x)
        return cell if batch.observed is None else cell * batch.observed

    def reconstruction_loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the mean loss over the observed cells of each sample.

        Parameters
        ----------
        output : Tensor of shape (n, n_outputs)
            Output of the decoder.
        batch : Batch
            The samples that it reconstructs.

        Returns
        -------
        loss : Tensor of shape (n,)
            Losses, 0 for a sample without observed cells.
        """
        cell = self.cell_loss(output, batch)
        if batch.observed is None:
            return cell.mean(1)
        return cell.sum(1) / batch.observed.sum(1).clamp_min(1)

    @torch.no_grad()
    def start(
        self, bias: NDArray, axes: NDArray | None, zeroed: Iterable[nn.Parameter] = ()
    ) -> None:
        """Initialise the parameters.

        Parameters
        ----------
        bias : ndarray of shape (n_outputs,)
            Constant output that training starts from.
        axes : ndarray of shape (rank, n_outputs) or None
            Principal axes. If given, the shortcuts become the projection on them and the networks
            output zero, so that the module is PCA. Codes beyond the rank are small and random, and
            are not decoded.
        zeroed : iterable of Parameter
            Parameters that must be zero for both networks to output zero.
        """
        self.output_bias.copy_(torch.as_tensor(bias))
        if axes is None:
            return
        for parameter in zeroed:
            parameter.zero_()
        self._check_outputs_zero()
        rank, d = axes.shape
        nn.init.normal_(self.input_axes, std=INITIAL_CODE_STD / math.sqrt(d))
        if not self.tied:
            nn.init.zeros_(self.output_axes)
        # The encoder may have further inputs, which PCA ignores.
        self.input_axes[:, d:] = 0
        self.input_axes[:rank, :d] = torch.as_tensor(axes).to(self.output_bias)
        self.output_axes[:, :rank] = torch.as_tensor(axes.T).to(self.output_bias)

    def _check_outputs_zero(self) -> None:
        """Raise ValueError if a network does not output zero."""
        for name, network, axes in (
            ("encoder", self.encoder, self.input_axes),
            ("decoder", self.decoder, self.output_axes),
        ):
            if network is not None:
                with _evaluating(network):
                    output = network(torch.ones_like(axes[:1]))
                if output.count_nonzero():
                    raise ValueError(
                        f"The {name} does not output zero when its last layer is zero, so that "
                        "training cannot start at PCA (tied weights need an activation that is 0 "
                        "at 0, such as 'tanh'); use init='random'."
                    )


def build(
    architecture: Any,
    conditioning: Conditioning,
    *,
    loss: str,
    layer_sizes: LayerSizes,
    linear_shortcut: bool,
    tied: bool,
) -> AutoencoderModule:
    """Build an untrained module; without an architecture, it has linear shortcuts only."""
    encoder, decoder = (None, None) if architecture is None else architecture.build(**layer_sizes)
    for name, network, n_in, n_out in (
        ("encoder", encoder, layer_sizes["n_inputs"], layer_sizes["n_code"]),
        ("decoder", decoder, layer_sizes["n_components"], layer_sizes["n_outputs"]),
    ):
        if network is not None:
            _check_layer_sizes(name, network, n_in, n_out)
    return AutoencoderModule(
        encoder,
        decoder,
        **layer_sizes,
        linear_shortcut=linear_shortcut,
        tied=tied,
        loss=LOSSES[loss],
        conditioning=conditioning,
    )


@torch.no_grad()
def _check_layer_sizes(name: str, network: nn.Module, n_in: int, n_out: int) -> None:
    """Raise ValueError if a network does not map rows of size n_in to rows of size n_out."""
    weight = next(network.parameters(), torch.empty(0))
    rows = torch.zeros(2, n_in, dtype=weight.dtype, device=weight.device)
    with _evaluating(network):
        try:
            output = network(rows)
        except (RuntimeError, ValueError) as error:
            reason = f"fails on two rows ({str(error).splitlines()[0]})"
        else:
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            if shape == (2, n_out):
                return
            reason = f"maps two rows to {shape}"
    raise ValueError(
        f"The {name} that the architecture builds must map rows of size {n_in} to rows of size "
        f"{n_out}, but it {reason}; use the sizes that are passed to build."
    )


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Context in which a network is in evaluation mode, thus without random draws."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode

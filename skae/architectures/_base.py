from __future__ import annotations

from abc import ABC, abstractmethod
from numbers import Integral
from typing import Any, ClassVar, NamedTuple

from torch import nn

from skae._schema import Persistent
from skae._sklearn_types import BaseEstimator


class PretrainingStage(NamedTuple):
    """Parts of two networks that are trained as an autoencoder before the whole is.

    Parameters
    ----------
    encoder, decoder : torch.nn.Module
        Map arrays of shape (n, n_inputs) to (n, n_code), and back.
    n_code : int
        Number of entries of the code between them.
    n_epochs : int
        Number of epochs of this training.

    Examples
    --------
    >>> from torch import nn
    >>> from skae.extension import PretrainingStage
    >>> PretrainingStage(nn.Linear(64, 16), nn.Linear(16, 64), n_code=16, n_epochs=5).n_code
    16
    """

    encoder: nn.Module
    decoder: nn.Module
    n_code: int
    n_epochs: int


class Architecture(Persistent, BaseEstimator, ABC):
    """Base of the objects that build an encoder and a decoder.

    An architecture is an estimator whose hyperparameters describe networks. It depends on shapes
    only, not on losses or data.

    See Also
    --------
    skae.FunctionArchitecture : Networks of functions, without a class of your own.

    Examples
    --------
    >>> from torch import nn
    >>> from skae import Autoencoder
    >>> from skae.extension import POSITIVE_INT, Architecture, hyperparameters, param
    >>> @hyperparameters
    ... class OneLayer(Architecture):
    ...     n_units: int = param(POSITIVE_INT, default=64, doc="Number of hidden units.")
    ...
    ...     def build(self, n_inputs, n_code, n_components, n_outputs):
    ...         hidden = nn.Linear(n_inputs, self.n_units)
    ...         encoder = nn.Sequential(hidden, nn.Tanh(), nn.Linear(self.n_units, n_code))
    ...         return encoder, nn.Sequential(nn.Linear(n_components, n_outputs))
    >>> Autoencoder(2, architecture=OneLayer(n_units=32))
    Autoencoder(architecture=OneLayer(n_units=32))
    """

    # The steps that max_iter="auto" makes about, and the fewest epochs; less if steps are costly.
    _budget: ClassVar[tuple[int, int]] = (4000, 20)

    @abstractmethod
    def build(
        self, n_inputs: int, n_code: int, n_components: int, n_outputs: int
    ) -> tuple[nn.Module, nn.Module]:
        """Build an encoder and a decoder.

        Parameters
        ----------
        n_inputs : int
            Number of inputs of the encoder.
        n_code : int
            Number of outputs of the encoder.
        n_components : int
            Number of inputs of the decoder.
        n_outputs : int
            Number of outputs of the decoder.

        Returns
        -------
        encoder, decoder : torch.nn.Module
            Networks that map arrays of shape (n, n_inputs) to (n, n_code), and of shape
            (n, n_components) to (n, n_outputs).
        """

    def zero_init_parameters(self, encoder: nn.Module, decoder: nn.Module) -> list[nn.Parameter]:
        """Return the parameters that must be zero for both networks to output zero.

        A start at PCA sets them to zero. By default, they are those of the last layer of each
        network, which must be an `nn.Sequential` that ends in a layer with weights.

        Parameters
        ----------
        encoder, decoder : torch.nn.Module
            What `build` returned.

        Returns
        -------
        parameters : list of torch.nn.Parameter
            The parameters that are set to zero.

        Raises
        ------
        ValueError
            If there are no such parameters.
        """
        return [*last_layer_parameters(encoder), *last_layer_parameters(decoder)]

    def pretraining_stages(
        self, encoder: nn.Module, decoder: nn.Module, n_features: int
    ) -> list[PretrainingStage]:
        """Return the parts of the networks that are pretrained, by default none.

        Each is trained to reconstruct the codes of the one before it; the first one the samples.

        Parameters
        ----------
        encoder, decoder : torch.nn.Module
            What `build` returned.
        n_features : int
            Number of columns of the samples.

        Returns
        -------
        stages : list of PretrainingStage
            The stages, the outermost layers first.
        """
        return []

    def _n_layers(self) -> int | None:
        """Return a lower bound on the number of layers with weights; None if it is not known."""
        return None


def last_layer_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of the last layer of an `nn.Sequential`."""
    parameters = list(network[-1].parameters()) if isinstance(network, nn.Sequential) else []
    if not parameters:
        raise ValueError(
            "A start at PCA sets the last layer of both networks to zero, so an architecture must "
            "build two nn.Sequential that end in a layer with weights, such as nn.Linear; got "
            f"{type(network).__name__}. Change it, or use init='random'."
        )
    return parameters


def hidden_sizes(architecture: Architecture, name: str) -> list[int]:
    """Return the value of a hyperparameter that holds one positive integer per hidden layer."""
    sizes: Any = getattr(architecture, name)
    one = isinstance(sizes, Integral) or getattr(sizes, "ndim", 1) == 0
    widths = [sizes] if one else list(sizes)
    if not all(isinstance(w, Integral) and int(w) > 0 for w in widths):
        raise ValueError(
            f"The '{name}' parameter must hold positive integers, one per hidden "
            f"layer. Got {sizes!r} instead."
        )
    return [int(w) for w in widths]

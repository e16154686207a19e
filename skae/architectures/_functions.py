from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from torch import nn

from skae._schema import check_trusted, persistent
from skae.architectures._base import Architecture
from skae.hyperparameters import hyperparameters, param


@persistent
@hyperparameters
class FunctionArchitecture(Architecture):
    """Encoder and decoder built by user-defined functions.

    Parameters
    ----------
    {parameters}

    See Also
    --------
    MLP : Dense networks.

    Notes
    -----
    A start at PCA requires networks that are an `nn.Sequential` ending in a layer with weights;
    others need ``init="random"``. To pickle a fitted estimator, functions must be importable; for
    `skae.save`, they must be given by name. ``fit`` raises ValueError if a function cannot be
    imported, and TypeError if it does not return a module. A single linear layer is wrapped in an
    `nn.Sequential`.

    Examples
    --------
    >>> from torch import nn
    >>> from sklearn.datasets import load_iris
    >>> from skae import Autoencoder, FunctionArchitecture
    >>> def net(n_in, n_out):
    ...     return nn.Sequential(nn.Linear(n_in, 9), nn.Dropout(0.1), nn.Linear(9, n_out))
    >>> architecture = FunctionArchitecture(encoder=net, decoder=net)
    >>> model = Autoencoder(1, architecture=architecture, max_iter=5, early_stopping=False)
    >>> model.fit_transform(load_iris().data).shape
    (150, 1)
    """

    encoder: Callable[[int, int], nn.Module] | str = param(
        callable,
        str,
        default="torch.nn:Linear",
        doc="""
        Function of the numbers of inputs and outputs that returns a new encoder, or its name for
        import: 'package.module:function'.""",
    )
    decoder: Callable[[int, int], nn.Module] | str = param(
        callable, str, default="torch.nn:Linear", doc="As `encoder`, for the decoder."
    )

    @classmethod
    def _check_state(cls, state: dict[str, Any]) -> None:
        """Raise ValueError if a file names functions that are not trusted."""
        for name in ("encoder", "decoder"):
            if isinstance(state[name], str):
                check_trusted(state[name])

    def build(
        self, n_inputs: int, n_code: int, n_components: int, n_outputs: int
    ) -> tuple[nn.Module, nn.Module]:
        return (
            _call("encoder", self.encoder, n_inputs, n_code),
            _call("decoder", self.decoder, n_components, n_outputs),
        )


def _call(name: str, factory: Any, n_in: int, n_out: int) -> nn.Module:
    if isinstance(factory, str):
        check_trusted(factory)
        module, _, function = factory.partition(":")
        try:
            factory = getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(
                f"The '{name}' parameter of FunctionArchitecture, {factory!r}, cannot be imported "
                f"({error}); pass it as 'package.module:function'."
            ) from error
    network = factory(n_in, n_out)
    if not isinstance(network, nn.Module):
        raise TypeError(
            f"The '{name}' function of FunctionArchitecture must return a torch.nn.Module, but "
            f"returned a {type(network).__name__}."
        )
    return nn.Sequential(network) if isinstance(network, nn.Linear) else network

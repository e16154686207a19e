from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn

from skae._sklearn_types import BaseEstimator


class Architecture(BaseEstimator, ABC):
    """Base of what builds networks."""

    @abstractmethod
    def build(
        self, n_inputs: int, n_code: int, n_components: int, n_outputs: int
    ) -> tuple[nn.Module, nn.Module]:
        """Build an encoder and a decoder.

        Parameters
        ----------
        n_inputs : int
            Width of what the encoder sees.
        n_code : int
            Width of what the encoder answers.
        n_components : int
            Width of what the decoder sees.
        n_outputs : int
            Width of what the decoder answers.

        Returns
        -------
        encoder, decoder : torch.nn.Module
            For a start from principal components, each an `nn.Sequential` that ends in the layer
            with weights that is then set to zero.
        """

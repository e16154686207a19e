from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, cast

from torch import nn

from skae.architectures._base import Architecture
from skae.architectures._images import WithFurtherInputs
from skae.architectures._layout import TokenLayout
from skae.architectures._tokens import TokenDecoder, TokenEncoder, Tokenizer
from skae.architectures._transformer import Transformer
from skae.hyperparameters import POSITIVE_INT, hyperparameters, param


@hyperparameters
class TokenArchitecture(Architecture):
    """Base of the architectures that see a row as a sequence of tokens.

    Parameters
    ----------
    {parameters}
    """

    width: int = param(
        POSITIVE_INT, default=64, doc="Size of a token in the encoder, a multiple of `n_heads`."
    )
    n_layers: int = param(
        POSITIVE_INT, default=4, doc="Number of transformer blocks of the encoder."
    )
    n_heads: int = param(POSITIVE_INT, default=4, doc="Number of attention heads.")
    decoder_width: int = param(
        POSITIVE_INT, default=48, doc="Size of a token in the decoder, a multiple of `n_heads`."
    )
    decoder_n_layers: int = param(
        POSITIVE_INT, default=1, doc="Number of transformer blocks of the decoder."
    )

    _shared: ClassVar[bool]  # whether all tokens have the same weights, and fixed positions
    _budget = (1500, 3)

    @abstractmethod
    def layout(self, n_features: int) -> TokenLayout:
        """Return which columns each token consists of.

        Parameters
        ----------
        n_features : int
            Number of columns.

        Returns
        -------
        layout : TokenLayout
            The columns of each token.

        Raises
        ------
        ValueError
            If there are no tokens of the given shape for so many columns.
        """

    def tokenizer(self, layout: TokenLayout) -> Tokenizer:
        """Return a new map of rows to tokens.

        Parameters
        ----------
        layout : TokenLayout
            The columns of each token.

        Returns
        -------
        tokenizer : torch.nn.Module
            The map.
        """
        return Tokenizer(layout, self.width, shared=self._shared)

    def transformer(self, *, decoder: bool = False) -> Transformer:
        """Return the new transformer blocks of the encoder or of the decoder.

        Parameters
        ----------
        decoder : bool, default=False
            Whether they are those of the decoder.

        Returns
        -------
        transformer : torch.nn.Module
            The blocks.

        Raises
        ------
        ValueError
            If the width is not a multiple of the number of heads.
        """
        width, n_layers = self.width, self.n_layers
        if decoder:
            width, n_layers = self.decoder_width, self.decoder_n_layers
        if width % self.n_heads:
            name = "decoder_width" if decoder else "width"
            raise ValueError(
                f"{name}={width} of {type(self).__name__} is not a multiple of "
                f"n_heads={self.n_heads}; change one of them."
            )
        return Transformer(width, self.n_heads, n_layers)

    def build(
        self, n_inputs: int, n_code: int, n_components: int, n_outputs: int
    ) -> tuple[nn.Module, nn.Module]:
        layout = self.layout(n_outputs)
        first = WithFurtherInputs(self.tokenizer(layout), n_outputs, n_inputs, self.width, axis=2)
        encoder = TokenEncoder(first, self.transformer(), n_code, layout.n_tokens, self.width)
        decoder = TokenDecoder(
            layout,
            self.transformer(decoder=True),
            n_components,
            self.decoder_width,
            shared=self._shared,
        )
        return encoder, decoder

    def zero_init_parameters(self, encoder: nn.Module, decoder: nn.Module) -> list[nn.Parameter]:
        return [
            *cast(TokenEncoder, encoder).out.parameters(),
            *cast(TokenDecoder, decoder).out.parameters(),
        ]

    def _n_layers(self) -> int:
        return self.n_layers + self.decoder_n_layers

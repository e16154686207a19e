from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

from skae._schema import persistent
from skae.architectures._token_architecture import TokenArchitecture
from skae.architectures._tokens import TokenLayout
from skae.hyperparameters import POSITIVE_INT, hyperparameters, param

MAX_TOKENS = 64  # of a row, if groups is None
MAX_PADDED, MAX_PADDING = 2**20, 64  # cells of all tokens, and cells per column beyond that


@persistent
@hyperparameters
class FTTransformer(TokenArchitecture):
    r"""Feature tokenizer and transformer: columns of a table, or groups of columns, are tokens.

    Column :math:`j` of a row becomes the token

    .. math:: t_j = x_j w_j + b_j + e_j

    with weights of its own. The encoder is a transformer with pre-norm blocks, followed by a linear
    map of all its tokens to the code. The decoder is a linear map of the code to tokens, a
    transformer, and a linear map of each token to its cells. ``max_iter="auto"`` makes about 1,500
    gradient steps, and at least 3 epochs.

    Parameters
    ----------
    {parameters}

    See Also
    --------
    ViT : Patches of images as tokens.
    MaskedAutoencoder : Learns to predict columns from others.

    References
    ----------
    Gorishniy, Y., Rubachev, I., Khrulkov, V. and Babenko, A. (2021). "Revisiting deep learning
    models for tabular data". Advances in Neural Information Processing Systems 34.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skae import Autoencoder, FTTransformer
    >>> X = load_iris().data
    >>> architecture = FTTransformer(width=16, n_layers=2)
    >>> model = Autoencoder(2, architecture=architecture, max_iter=2, early_stopping=False)
    >>> model.fit(X).transform(X).shape
    (150, 2)
    """

    groups: int | Sequence[Sequence[int]] | None = param(
        POSITIVE_INT,
        "array-like",
        None,
        default=None,
        doc="""
        Columns that are one token: a list of lists of column numbers, where columns that are in
        none are tokens of their own; or the number of consecutive columns per token, such as the
        length of a one-hot encoding in a window of text. If None, each column is a token, or as
        many consecutive ones as make at most 64 tokens.""",
    )

    _shared = False

    def layout(self, n_features: int) -> TokenLayout:
        groups = self._groups(n_features)
        largest = max(map(len, groups))
        # All tokens take as much memory as the largest one.
        if len(groups) * largest > max(MAX_PADDED, MAX_PADDING * n_features):
            raise ValueError(
                f"The 'groups' of FTTransformer make {len(groups)} tokens of up to {largest} "
                "columns; choose groups of more similar sizes."
            )
        cells = np.full((len(groups), largest), n_features)
        for row, group in zip(cells, groups, strict=True):
            row[: len(group)] = group
        return TokenLayout(cells, (1, len(groups)), n_features)

    def _groups(self, n_features: int) -> list[list[int]]:
        groups: Any = self.groups
        if groups is None:
            groups = -(-n_features // MAX_TOKENS)
        if isinstance(groups, Integral):
            size = int(groups)
            return [
                list(range(start, min(start + size, n_features)))
                for start in range(0, n_features, size)
            ]
        given = [[group] if isinstance(group, Integral) else list(group) for group in groups]
        columns = [column for group in given for column in group]
        if (
            not all(isinstance(c, Integral) and 0 <= int(c) < n_features for c in columns)
            or len(set(columns)) < len(columns)
            or not all(given)
        ):
            raise ValueError(
                "The 'groups' parameter of FTTransformer must hold lists of different column "
                f"numbers from 0 to {n_features - 1}, none empty; got {groups!r}."
            )
        named, taken = [[int(column) for column in group] for group in given], set(columns)
        return named + [[column] for column in range(n_features) if column not in taken]

"""The cells of each token of a row."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import NDArray


@dataclass(frozen=True)
class TokenLayout:
    """The cells of each token.

    Attributes
    ----------
    cells : ndarray of int of shape (n_tokens, n_cells)
        Columns of X in each token; `n_features` where a token has fewer cells than others.
    grid : (int, int)
        Rows and columns of tokens, whose product is `n_tokens`.
    n_features : int
    """

    cells: NDArray
    grid: tuple[int, int]
    n_features: int

    @property
    def n_tokens(self) -> int:
        """Number of tokens."""
        return len(self.cells)

    @property
    def n_cells(self) -> int:
        """Number of cells of the largest token."""
        return self.cells.shape[1]

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skae._schema import persistent
from skae.architectures._images import resolve_image_shape
from skae.architectures._token_architecture import TokenArchitecture
from skae.architectures._tokens import TokenLayout
from skae.hyperparameters import POSITIVE_INT, hyperparameters, param

MAX_TOKENS = 64  # of a row, if patch_size is None


@persistent
@hyperparameters
class ViT(TokenArchitecture):
    r"""Vision transformer: patches of images are tokens.

    The patches :math:`p_1, \dots, p_T` of an image become tokens

    .. math:: t_j = W p_j + b + e_j,

    with fixed sine-cosine positions :math:`e_j`. The encoder is a transformer with pre-norm blocks,
    followed by a linear map of all its tokens to the code. The decoder is a linear map of the code
    to tokens, a transformer, and a linear map of each token to the pixels of its patch. A signal is
    an image of one row. ``max_iter="auto"`` makes about 1,500 gradient steps, and at least 3
    epochs.

    Parameters
    ----------
    {parameters}

    See Also
    --------
    FTTransformer : Columns of a table as tokens.
    MaskedAutoencoder : Learns to predict patches from others.

    References
    ----------
    Dosovitskiy, A. et al. (2021). "An image is worth 16x16 words: transformers for image
    recognition at scale". International Conference on Learning Representations.

    Xiong, R. et al. (2020). "On layer normalization in the transformer architecture".
    International Conference on Machine Learning.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import Autoencoder, ViT
    >>> X = load_digits().data
    >>> architecture = ViT(image_shape=(8, 8), patch_size=2, width=16, n_layers=2)
    >>> model = Autoencoder(8, architecture=architecture, max_iter=2, early_stopping=False)
    >>> model.fit(X).transform(X).shape
    (1797, 8)
    """

    image_shape: Sequence[int] | None = param(
        "array-like",
        None,
        default=None,
        kw_only=False,
        doc="""
        Shape of the images, (height, width) or (height, width, channels). The columns of X are the
        pixels row by row, with the channels of a pixel next to each other. If None, a square
        greyscale image if the number of columns is a square, else a signal, (1, n_features).""",
    )
    patch_size: int | Sequence[int] | None = param(
        POSITIVE_INT,
        "array-like",
        None,
        default=None,
        doc="""
        Size of the patches, one number or (height, width), which must divide that of the images. If
        None, the smallest that makes at most 64 patches, of at least two pixels in each direction
        in images of four and more; patches at the lower and right border may be smaller.""",
    )

    _shared = True

    def layout(self, n_features: int) -> TokenLayout:
        height, width, channels = resolve_image_shape(self.image_shape, n_features)
        p, q = self._patch_size(height, width)
        grid = (-(-height // p), -(-width // q))
        index = np.arange(n_features).reshape(height, width, channels)
        border = ((0, grid[0] * p - height), (0, grid[1] * q - width), (0, 0))
        padded = np.pad(index, border, constant_values=n_features)
        patches = padded.reshape(grid[0], p, grid[1], q, channels).transpose(0, 2, 1, 3, 4)
        return TokenLayout(patches.reshape(grid[0] * grid[1], -1), grid, n_features)

    def _patch_size(self, height: int, width: int) -> tuple[int, int]:
        if self.patch_size is None:
            if height == 1 or width == 1:
                return -(-height // MAX_TOKENS), -(-width // MAX_TOKENS)
            per_side = round(MAX_TOKENS**0.5)
            p, q = (max(-(-size // per_side), min(2, size // 2)) for size in (height, width))
            return p, q
        given: Any = np.asarray(self.patch_size)
        sizes = np.broadcast_to(given, 2) if given.shape in ((), (1,), (2,)) else given
        if height == 1 and given.ndim == 0:
            sizes = np.array([1, int(given)])  # of a signal
        valid = sizes.shape == (2,) and sizes.dtype.kind in "iu" and (sizes > 0).all()
        if not valid or height % sizes[0] or width % sizes[1]:
            raise ValueError(
                f"patch_size={self.patch_size!r} does not divide images of {height} x {width} "
                "pixels; pass one number or (height, width) that do, or None."
            )
        return int(sizes[0]), int(sizes[1])

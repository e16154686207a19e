from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skae._numeric_input import as_numeric
from skae._schema import persistent
from skae._sklearn import Interval
from skae._training_parameters import N_COMPONENTS, N_COMPONENTS_DOC
from skae._validation import check_array
from skae.autoencoders._autoencoder import Autoencoder
from skae.autoencoders._binary_code import MAX_ROWS, least_squares_decoder, rotation_to_signs
from skae.autoencoders._corruption import hide_cells
from skae.data import Batch, NeighborTargets, RowDataset
from skae.hyperparameters import (
    POSITIVE_INT,
    IntegerInterval,
    hyperparameters,
    one_of,
    param,
)
from skae.training import AutoencoderModule

GAIN = 1.0  # standard deviation of the encoder's output at the start: tanh is not saturated
MAX_LEVELS = 2**16


@persistent
@hyperparameters
class QuantizedAutoencoder(Autoencoder):
    r"""Autoencoder whose codes are on a finite grid, for compression and search.

    With :math:`x` centred and divided by the root of the mean variance of the columns, f the
    encoder and L the number of levels (finite scalar quantisation),

    .. math:: i = \Bigl\lfloor \tfrac{L}{2} (1 + \tanh f(x)) \Bigr\rfloor, \qquad
              z = \frac{2 i}{L - 1} - 1, \qquad
              \min \sum_i w_i \frac{1}{d_i} \sum_j \ell(\hat x_{ij}, x_{ij}),

    so that each component has one of L values between -1 and 1. With two levels, the code is the
    signs of f(x): semantic hashing. In training, the gradient passes the rounding unchanged
    (``quantization="straight_through"``), or rounding is replaced by uniform noise of its width.

    For search, samples that belong together should have similar codes. With ``n_neighbors``, the
    target of a sample is not x but the end of a random walk that starts there, of ``walk_length``
    steps, on the graph of the nearest neighbors (in at most 32 principal components): a
    generalised autoencoder, whose codes keep what is common in a neighborhood. It is drawn anew for
    each gradient step.

    Training starts at the best linear code that is known: the principal components, for two levels
    rotated so that their signs lose least (iterative quantisation), and a linear decoder by least
    squares. A later epoch is kept only if it is significantly better on validation samples.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}

    Warns
    -----
    AutoencoderWarning
        If no epoch was better than the linear code; if the fit was interrupted.

    See Also
    --------
    Autoencoder : Codes that are not quantised.
    KSparseAutoencoder : Codes of few active components.

    References
    ----------
    Mentzer, F., Minnen, D., Agustsson, E. and Tschannen, M. (2024). "Finite scalar quantization:
    VQ-VAE made simple". International Conference on Learning Representations.

    Salakhutdinov, R. and Hinton, G. E. (2009). "Semantic hashing". International Journal of
    Approximate Reasoning 50(7), 969-978.

    Gong, Y. and Lazebnik, S. (2011). "Iterative quantization: a procrustean approach to learning
    binary codes". Conference on Computer Vision and Pattern Recognition.

    Wang, W., Huang, Y., Wang, Y. and Wang, L. (2014). "Generalized autoencoder: a neural network
    framework for dimensionality reduction". Conference on Computer Vision and Pattern Recognition
    Workshops.

    Coifman, R. R. and Lafon, S. (2006). "Diffusion maps". Applied and Computational Harmonic
    Analysis 21(1), 5-30.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skae import QuantizedAutoencoder
    >>> X = load_digits().data
    >>> model = QuantizedAutoencoder(16, max_iter=30, random_state=0).fit(X[:1300])
    >>> Z = model.transform(X[1300:])  # 16 bits for each image
    >>> np.unique(Z).tolist(), np.unique(model.codes_to_indices(Z)).tolist()
    ([-1.0, 1.0], [0, 1])
    >>> np.packbits(model.codes_to_indices(Z), axis=1).shape  # two bytes for each
    (497, 2)
    >>> model.inverse_transform(Z).shape
    (497, 64)
    """

    n_components: Any = param(*N_COMPONENTS, default=32, kw_only=False, doc=N_COMPONENTS_DOC)
    levels: int = param(
        IntegerInterval(Integral, 2, MAX_LEVELS, closed="both"),
        default=2,
        doc="Number of values of each component; 2 are bits.",
    )
    quantization: str = param(
        one_of("straight_through", "noise"),
        default="straight_through",
        doc="""
        How rounding is trained: 'straight_through' rounds, with the gradient of the identity;
        'noise' adds uniform noise of the width of a level instead, which suits many levels.""",
    )
    mask_ratio: float = param(
        Interval(Real, 0, 1, closed="left"),
        default=0.0,
        doc="""
        Fraction of the cells that are replaced by the mean of their column in the input of the
        encoder in training. Similar samples then have similar codes, which helps search, at the
        cost of the reconstruction.""",
    )
    n_neighbors: int | None = param(
        POSITIVE_INT,
        None,
        default=None,
        doc="""
        Number of nearest neighbors of each training sample, itself included, in the graph of
        neighbors: the decoder then has to reconstruct the end of a random walk on that graph that
        starts at the sample, not the sample itself, so that the code holds what a sample has in
        common with its neighborhood. If None, it reconstructs the sample.""",
    )
    walk_length: int = param(
        POSITIVE_INT,
        default=3,
        doc="Number of steps of the random walk, if ``n_neighbors`` is set.",
    )

    _frozen_params = ("levels",)

    @property
    def _init_name(self) -> str:  # type: ignore[override]
        return "iterative quantisation" if self.levels == 2 else "quantised PCA"

    def codes_to_indices(self, Z: ArrayLike) -> NDArray:
        """Return the numbers of the levels of codes.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_components)
            Codes, as from ``transform``.

        Returns
        -------
        indices : ndarray of shape (n_samples, n_components)
            From 0 to ``levels - 1``, uint8 or uint16.

        Raises
        ------
        ValueError
            If a value of Z is not on the grid.
        """
        check_is_fitted(self)
        codes = check_array(as_numeric(Z, "Z"), dtype=np.float64, input_name="Z", estimator=self)
        steps = self._fit_params["levels"] - 1
        exact = (codes + 1) * (steps / 2)
        indices = np.rint(exact)
        if (np.abs(exact - indices) > 1e-2).any() or indices.min() < 0 or indices.max() > steps:
            raise ValueError(
                "Z has values that are not on the grid of the codes; pass what transform returns."
            )
        return indices.astype(np.uint8 if steps < 2**8 else np.uint16)

    def indices_to_codes(self, indices: ArrayLike) -> NDArray:
        """Return the codes of numbers of levels, which ``inverse_transform`` decodes.

        Parameters
        ----------
        indices : array-like of int of shape (n_samples, n_components)
            From 0 to ``levels - 1``.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            Codes, in the dtype of ``mean_``.

        Raises
        ------
        ValueError
            If a number is not an integer of that range.
        """
        check_is_fitted(self)
        numbers = check_array(as_numeric(indices, "indices"), dtype=None, input_name="indices")
        steps = self._fit_params["levels"] - 1
        if numbers.dtype.kind not in "iu" or numbers.min() < 0 or numbers.max() > steps:
            raise ValueError(
                f"indices must be integers from 0 to {steps}, the numbers of the levels; got "
                f"{numbers.dtype} from {numbers.min()} to {numbers.max()}."
            )
        return (2 * numbers / steps - 1).astype(self.mean_.dtype)

    def _training_data(
        self, rows: RowDataset, held_out: NDArray, random_state: np.random.RandomState
    ) -> RowDataset:
        if self.n_neighbors is None:
            return rows
        if len(rows) < rows.n_samples:
            raise ValueError(
                "n_neighbors needs all samples in each process, but they are divided among "
                "several; set n_neighbors=None, or fit in one process."
            )
        kept = np.setdiff1d(np.arange(len(rows)), held_out)
        return NeighborTargets.search(rows, kept, self.n_neighbors, self.walk_length, random_state)

    def _corrupt(self, module: AutoencoderModule, batch: Batch) -> Batch:
        return hide_cells(batch, self.mask_ratio)

    def _code(self, module: AutoencoderModule, h: Tensor) -> Tensor:
        index = (self.levels / 2 * (1 + h.tanh())).floor().clamp(0, self.levels - 1)
        return 2 * index / (self.levels - 1) - 1

    def _sample(self, module: AutoencoderModule, batch: Batch, h: Tensor) -> Tensor:
        # The centres of the levels, of equal widths, are spread over the same range.
        soft = h.tanh() * self.levels / (self.levels - 1)
        if self.quantization == "noise" and module.training:
            return soft + (2 * batch.random.uniform(*h.shape) - 1) / (self.levels - 1)
        return soft + (self._code(module, h) - soft).detach()

    def _before_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        if not self._starts_from_pca():
            return
        h, weight = self._start_codes(module, rows)
        k = min(h.shape[1], int((h.square().mean(0) > 0).sum()))
        with torch.no_grad():
            axes = module.input_axes
            if self.levels == 2:
                axes[:k] = rotation_to_signs(h[:, :k], weight).T.to(axes) @ axes[:k]
                h, weight = self._start_codes(module, rows)
            std = ((weight @ h.square()) / weight.sum()).sqrt()
            axes.mul_((GAIN / std.clamp(min=math.sqrt(torch.finfo(std.dtype).tiny)))[:, None])
            decoder, bias = least_squares_decoder(self, module, rows)
            module.output_axes.copy_(decoder)
            module.output_bias.copy_(bias)

    def _start_codes(self, module: AutoencoderModule, rows: RowDataset) -> tuple[Tensor, Tensor]:
        """Return the encoder's outputs for at most `MAX_ROWS` samples, and their weights."""
        some = rows.subsample(MAX_ROWS)
        batches = (some[chunk] for chunk in some.gen_chunks())
        parts = [(module.encode(self._inputs(batch)), batch.weight) for batch in batches]
        h = torch.cat([part for part, _ in parts])
        return h, torch.cat([weight for _, weight in parts]).to(h)

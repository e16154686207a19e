from __future__ import annotations

import os
from numbers import Real
from typing import Any, Self

import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from skae._inference import check_codes, gen_results
from skae._sklearn import Interval
from skae._training_parameters import FITTED, N_COMPONENTS, N_COMPONENTS_DOC
from skae._validation import check_finite_result
from skae.architectures import MLP, UnitLinear
from skae.autoencoders._autoencoder import Autoencoder
from skae.autoencoders._code_statistics import STATISTICS, code_statistics
from skae.autoencoders._corruption import hide_cells
from skae.autoencoders._saelens import write_saelens
from skae.autoencoders._sparse_codes import csr_of, decode_csr
from skae.data import Batch, RowDataset, gen_chunks
from skae.hyperparameters import hyperparameters, one_of, param
from skae.training import AutoencoderModule


def layers_of(network: Any) -> list[Any]:
    """Return the layers of a network, or the network itself if it has none."""
    return list(network.children()) or [network]


@hyperparameters
class DictionaryAutoencoder(Autoencoder):
    """Base of the autoencoders with a wide, sparse code.

    Parameters
    ----------
    {parameters}
    """

    _doc_parts = {"attributes": f"{STATISTICS}\n{FITTED}"}  # noqa: RUF012

    n_components: Any = param(
        *N_COMPONENTS,
        one_of("auto"),
        default="auto",
        kw_only=False,
        doc=f"{N_COMPONENTS_DOC}\n'auto' is twice the number of features.",
    )
    architecture: Any = param(
        *Autoencoder._parameter_constraints["architecture"],
        default=None,
        doc="""
        Builds encoder and decoder. If None, ``MLP(hidden_layer_sizes, activation,
        decoder_hidden_layer_sizes=(), unit_norm="l2")``: a decoder of one layer whose columns have
        norm 1. Set either an architecture or these parameters.""",
    )
    hidden_layer_sizes: Any = param(
        *Autoencoder._parameter_constraints["hidden_layer_sizes"],
        default=None,
        doc="""
        Number of units of each hidden layer of the encoder; the decoder has none. If None, the
        default of the architecture, which is () here: encoder and decoder have one layer each.""",
    )
    linear_shortcut: bool = param(
        "boolean",
        default=False,
        doc="Whether linear maps are added to the encoder and to the decoder.",
    )

    mask_ratio: float = param(
        Interval(Real, 0, 1, closed="left"),
        default=0.0,
        doc="""
        Fraction of the cells that are replaced by the mean of their column in the input of the
        encoder in training, as by masking noise. Units then respond to patterns that are visible in
        part only. This improves the features and increases the reconstruction error a little.""",
    )

    sparse_output: bool = param(
        "boolean",
        default=False,
        doc="""
        Whether ``transform`` returns a sparse matrix in CSR format, which stores the entries that
        are not zero, instead of a dense array.""",
    )

    _linear_code = False

    def _default_architecture(self, **flat: Any) -> Any:
        flat = {"hidden_layer_sizes": (), "unit_norm": "l2"} | flat
        return MLP(decoder_hidden_layer_sizes=(), **flat)

    def _auto_n_components(self, n_features: int) -> int:
        return 2 * n_features

    def _corrupt(self, module: AutoencoderModule, batch: Batch) -> Batch:
        return hide_cells(batch, self.mask_ratio)

    def _before_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        """Initialise a single layer of the encoder by the transposed weights of the decoder."""
        layers = layers_of(module.encoder), layers_of(module.decoder)
        if any(len(network) > 1 for network in layers):
            return
        (encoder,), (decoder,) = layers
        unit = isinstance(decoder, UnitLinear) and decoder.length == 1
        if isinstance(encoder, nn.Linear) and unit:
            with torch.no_grad():
                encoder.weight.copy_(decoder.columns.T)
                encoder.bias.zero_()
                decoder.bias.zero_()

    def _after_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        self.__dict__.update(code_statistics(self, module, rows))

    def _active(self, z: Tensor) -> Tensor:
        """Return which entries of a code are of active units."""
        return z != 0

    def transform(self, X: ArrayLike) -> Any:
        """Encode samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Input samples. NaN marks a missing value; the network sees the column's mean there.

        Returns
        -------
        Z : {ndarray, CSR matrix} of shape (n_samples, n_components)
            Codes, in X's dtype; a sparse matrix if the fit had ``sparse_output=True``. They are
            invariant to shifts of X and to its multiplication by one positive number.
        """
        source = self._fitted_source(X)
        function = type(self)._encode
        if not self._fit_params["sparse_output"]:
            return self._apply(function, source)
        chunks = gen_chunks(len(source), max(self.n_features_in_, self.n_components_))
        results = gen_results(self, function, source, chunks)
        return check_finite_result(csr_of(results, self.n_components_, source.dtype), "X")

    def inverse_transform(self, Z: ArrayLike) -> NDArray:
        """Decode codes.

        Parameters
        ----------
        Z : {array-like, sparse matrix} of shape (n_samples, n_components)
            Codes. Those in a sparse matrix are decoded from its stored entries alone if the decoder
            has a single linear layer, as by default.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Reconstructions, in the units of the training samples and Z's dtype.
        """
        if not sparse.issparse(Z):
            return super().inverse_transform(Z)
        check_is_fitted(self)
        codes = check_codes(self, Z, accept_sparse="csr")
        x_hat = decode_csr(self, self._module_in(codes.dtype), codes)
        return check_finite_result(self._in_units(x_hat), "Z")

    def to_saelens(self, path: str | os.PathLike[str]) -> Self:
        """Write the fitted autoencoder as a folder that SAELens reads.

        The folder has the files ``cfg.json`` and ``sae_weights.safetensors``; the conditioning by
        ``mean_`` and ``scale_`` becomes part of the weights, which are written in float32. SAELens
        computes the same codes and reconstructions of samples without missing values.

        Parameters
        ----------
        path : str or path-like
            The folder, which is created if it does not exist; the two files are replaced.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If SAELens has no such autoencoder. It has those whose encoder and decoder have one
            linear layer each, for the squared or the absolute error; not with ``penalty="kl"``, nor
            with ``selection="batch"`` unless ``positive_code=True``. Codes with negative
            entries need a version of SAELens that has the architecture 'abstopk'.

        Examples
        --------
        >>> import os, tempfile
        >>> from sklearn.datasets import load_digits
        >>> from skae import SparseAutoencoder
        >>> model = SparseAutoencoder(max_iter=5, random_state=0).fit(load_digits().data)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model = model.to_saelens(folder)
        ...     sorted(os.listdir(folder))
        ['cfg.json', 'sae_weights.safetensors']

        There, ``sae_lens.SAE.load_from_disk(folder)`` reads it.
        """
        check_is_fitted(self)
        activation = self._with_fit_params()._saelens_activation()
        write_saelens(path, self.module_, type(self).__name__, activation)
        return self

    def _saelens_activation(self) -> dict[str, Any]:
        """Return what the activation is in SAELens; raise ValueError where it has none."""
        raise NotImplementedError

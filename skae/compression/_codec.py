"""What a fitted compressor does: from samples to integers and bytes, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from skae._sklearn_types import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from skae._validation import check_sample_weight, weighted_mean
from skae._warnings import warn
from skae.autoencoders import QuantizedAutoencoder
from skae.compression._columns import ArrayColumns, FrameColumns
from skae.compression._grouped_tables import GroupedTables
from skae.compression._rate_distortion import RateDistortionAutoencoder
from skae.compression._stream import read_row, read_stream, write_row, write_stream
from skae.compression._tolerance import Tolerance
from skae.data import concatenate_chunks, gen_chunks


class CodecMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Methods of a compressor that has an autoencoder, columns and tables."""

    n_features_in_: int
    estimator_: RateDistortionAutoencoder | QuantizedAutoencoder
    _columns: ArrayColumns | FrameColumns
    _tolerance: Tolerance | None
    _tables: GroupedTables
    _rate_weight: float
    _digest: str

    def compress(self, X: ArrayLike, *, per_row: bool = False) -> Any:
        """Compress samples.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Samples. Missing values are filled by the reconstruction, with a warning.
        per_row : bool, default=False
            Whether to compress each sample by itself, so that it can be decompressed without the
            others. It takes about 6 bytes more per sample.

        Returns
        -------
        data : bytes or list of bytes
            A stream of all samples, or one for each. It holds neither the model nor the index of a
            DataFrame.

        Raises
        ------
        ImportError
            If constriction is not installed.
        ValueError
            If X has other features than in ``fit``, infinity, or another dtype than integers where
            ``fit`` was given these; if a value is too far from the training samples.
        """
        symbols, n_missing = self._read_symbols(X)
        if n_missing:
            warn(
                f"X has {n_missing} missing values, in place of which decompress returns the "
                "reconstruction; store where they are if you need to know."
            )
        digest = self._digest.encode()
        if per_row:
            return [write_row([code], digest) for code in self._tables.encode_rows(symbols)]
        return write_stream(self._tables.encode(symbols), len(symbols), digest)

    def decompress(self, data: bytes | Sequence[bytes]) -> Any:
        """Restore compressed samples.

        Parameters
        ----------
        data : bytes or list of bytes
            A stream, or a list of any rows that were compressed by themselves.

        Returns
        -------
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            The reconstructions of the samples, in the dtypes of ``fit``, equal to what
            ``reconstruct`` returns.

        Raises
        ------
        ImportError
            If constriction is not installed.
        ValueError
            If the data are no stream, are truncated or altered, or were compressed by another
            model.
        """
        check_is_fitted(self)
        digest = self._digest.encode()
        if isinstance(data, (list, tuple)):
            rows = [self._tables.decode_row(read_row(row, digest)[0]) for row in data]
            empty = np.empty((0, self._tables.n_columns_), np.int64)
            return self._restored(np.concatenate([empty, *rows]))
        stream = read_stream(data, digest)
        return self._restored(self._tables.decode(stream.sections, stream.n_rows))

    def reconstruct(self, X: ArrayLike) -> Any:
        """Return what ``decompress(compress(X))`` returns, without the entropy coder.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Samples. NaN marks a missing value, which is filled.

        Returns
        -------
        X_hat : {ndarray, DataFrame} of shape (n_samples, n_features)
            Reconstructions, in the dtypes of ``fit``.
        """
        return self._restored(self._read_symbols(X)[0])

    def rate(self, X: ArrayLike) -> NDArray:
        """Return the number of bits that samples take.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Samples. NaN marks a missing value.

        Returns
        -------
        bits : ndarray of shape (n_samples,)
            Minus the binary logarithm of the probability of each sample's code and corrections.
            The length of a stream is their sum, but for about 50 bytes and 12 for each group of
            samples that has probabilities of its own.
        """
        symbols, _ = self._read_symbols(X)
        return self._tables.bits(symbols)

    def transform(self, X: ArrayLike) -> NDArray:
        """Encode samples.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Samples. NaN marks a missing value.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            The codes that are compressed.
        """
        check_is_fitted(self)
        return self._codes(self._columns.read(X, self)[0])

    def inverse_transform(self, Z: ArrayLike) -> Any:
        """Decode codes.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_components)
            Codes, as from ``transform``.

        Returns
        -------
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            Reconstructions, in the dtypes of ``fit``, without corrections.
        """
        check_is_fitted(self)
        return self._columns.table(self._decoded(np.asarray(Z, dtype=np.float64)))

    def score_samples(self, X: ArrayLike) -> NDArray:
        r"""Score each sample by its distortion and rate; higher is better.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Samples. NaN marks a missing value, which has no distortion.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Minus the sum of the mean loss over the observed cells, before corrections, and the
            number of bits per feature times ``rate_weight``, in X's units (squared units for the
            squared error; standardised for a DataFrame).
        """
        check_is_fitted(self)
        Z, numbers = self._columns.read(X, self)
        model = self.estimator_
        bits = self._tables.bits(self._symbols(Z, numbers)) / Z.shape[1]
        unit = model.scale_**model.module_.loss.power
        return model.score_samples(Z) - self._rate_weight * unit * bits

    def score(self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None) -> float:
        """Return the mean of ``score_samples``; higher is better.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Samples. NaN marks a missing value.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Per-sample weights. If None, all samples are weighted equally.

        Returns
        -------
        score : float
            Weighted mean over the samples.
        """
        scores = self.score_samples(X)
        return float(weighted_mean(scores, check_sample_weight(sample_weight, len(scores))))

    # -------------------------------------------------------------------------- composed of

    def _read_symbols(self, X: ArrayLike) -> tuple[NDArray, int]:
        """Return the integers that stand for samples, and the number of missing values."""
        check_is_fitted(self)
        Z, numbers = self._columns.read(X, self)
        if self._tolerance is not None:
            self._columns.check_restorable(X)
        return self._symbols(Z, numbers), int(np.isnan(numbers).sum())

    def _symbols(self, Z: NDArray, numbers: NDArray) -> NDArray:
        """Return codes and corrections as integers, (n, n_components + n_features)."""
        model = self.estimator_
        codes = model.codes_to_indices(self._codes(Z)).astype(np.int64)
        if self._tolerance is None:
            return codes
        restored = self._decoded(model.indices_to_codes(codes))
        corrections = self._tolerance.corrections(numbers, restored)
        corrected = restored + corrections * self._tolerance.step
        self._tolerance.check(numbers, self._columns.as_stored(corrected))
        return np.hstack([codes, corrections])

    def _codes(self, Z: NDArray) -> NDArray:
        """Return codes as an array, whatever output is configured for all transformers."""
        return np.asarray(self.estimator_.transform(Z))

    def _decoded(self, codes: NDArray) -> NDArray:
        """Return the numbers that codes stand for, (n, n_features).

        They are computed in float64, where rounding is small beside the room that `Tolerance`
        leaves for it.
        """
        chunks = gen_chunks(len(codes), self.estimator_.n_features_in_)
        parts = (
            self._columns.restore(
                self.estimator_.inverse_transform(codes[chunk].astype(np.float64))
            )
            for chunk in chunks
        )
        return concatenate_chunks(len(codes), parts)

    def _restored(self, symbols: NDArray) -> Any:
        """Return the samples that integers stand for."""
        model = self.estimator_
        k = model.n_components_
        if not len(symbols):
            return self._columns.table(np.empty((0, self.n_features_in_)))
        numbers = self._decoded(model.indices_to_codes(symbols[:, :k]))
        if self._tolerance is not None:
            numbers = numbers + symbols[:, k:] * self._tolerance.step
        return self._columns.table(numbers)

    @property
    def _n_features_out(self) -> int:
        return self.estimator_.n_components_

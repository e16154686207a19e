"""Entropy coding of integer matrices with exact integer probabilities."""

from __future__ import annotations

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skae.compression._tables import PRECISION, Bins, CodeTables, check_codes

MAX_BITS = 16  # of the position within a bin that are coded at once
MAX_SHORTENED = 4096  # values of a matrix whose code is made as short as possible


class ColumnModel(NamedTuple):
    """The bins of a column, their frequencies, and these as a model of the entropy coder."""

    bins: Bins
    frequency: NDArray
    categorical: Any


def encode(indices: ArrayLike, tables: CodeTables) -> bytes:
    """Return the code of an integer matrix, or of a single row, (1, k).

    A range coder encodes the bins of all values, column by column, and then the positions within
    bins of several values. The code is a number in an interval whose length is the product of all
    probabilities, big-endian and without zero bytes at the end. That of a small matrix is the
    shortest number in the interval, which the coder itself rounds to words of 32 bits.

    Parameters
    ----------
    indices : array-like of shape (n, k), integers
        Values below 2**61 in absolute value.
    tables : CodeTables
        Fitted on k columns.

    Returns
    -------
    data : bytes
        ``tables.bits(indices).sum() / 8`` bytes, up to rounding and 8 bytes; of up to
        `MAX_SHORTENED` values at most 1 byte more than that.

    Raises
    ------
    ImportError
        If constriction is not installed.
    ValueError
        If `indices` is no such matrix.
    """
    stream = _import_constriction().stream
    values = check_codes(indices, tables.n_columns_)
    models = _models_of(tables)
    symbols = [m.bins.symbols(column) for m, column in zip(models, values.T, strict=True)]
    n_bits = _of_symbols([m.bins.n_bits for m in models], symbols)
    coder = stream.queue.RangeEncoder()
    for model, s in zip(models, symbols, strict=True):
        coder.encode(s.astype(np.int32), model.categorical)
    if n_bits.any():
        positions = values.T.ravel() - _of_symbols([m.bins.start for m in models], symbols)
        for shift, width, i in _pieces(n_bits):
            piece = positions[i] >> shift & (2**width - 1)
            coder.encode(piece.astype(np.int32), stream.model.Uniform(2**width))
    data = coder.get_compressed().astype(">u4").tobytes()
    if values.size <= MAX_SHORTENED:
        frequency = _of_symbols([m.frequency for m in models], symbols)
        cost = (PRECISION - np.log2(frequency) + n_bits).sum()
        data = _shortened(data, int(cost / 8), values, tables)
    return data.rstrip(b"\0")


def decode(data: bytes, n: int, tables: CodeTables) -> NDArray:
    """Return the integer matrix of a code.

    The result depends on integers alone: it is the same on every machine.

    Parameters
    ----------
    data : bytes
        The code.
    n : int
        Number of rows.
    tables : CodeTables
        Those of `encode`.

    Returns
    -------
    indices : ndarray of shape (n, k), int64
        Any integers if `data` is another code; the stream has a checksum.

    Raises
    ------
    ImportError
        If constriction is not installed.
    ValueError
        If `data` is found not to be a code of n rows by these tables.
    """
    stream = _import_constriction().stream
    words = np.frombuffer(data + bytes(-len(data) % 4), ">u4").astype(np.uint32)
    coder, models = stream.queue.RangeDecoder(words), _models_of(tables)
    try:
        symbols = [coder.decode(model.categorical, n) for model in models]
        n_bits = _of_symbols([m.bins.n_bits for m in models], symbols)
        values = _of_symbols([m.bins.start for m in models], symbols)
        for shift, width, i in _pieces(n_bits):
            piece = coder.decode(stream.model.Uniform(2**width), len(i))
            values[i] += piece.astype(np.int64) << shift
    except AssertionError:  # how constriction refuses a number outside of every interval
        raise ValueError(
            f"The data are not the code of {n} rows by these tables; decode them with the tables "
            "that encoded them."
        ) from None
    return np.ascontiguousarray(values.reshape(len(models), n).T)


def _import_constriction() -> Any:
    try:
        import constriction
    except ImportError as error:
        raise ImportError(
            "Entropy coding requires constriction. You can install constriction with "
            "`pip install constriction`"
        ) from error
    return constriction


_models: WeakKeyDictionary[CodeTables, tuple[NDArray, list[ColumnModel]]] = WeakKeyDictionary()


def _models_of(tables: CodeTables) -> list[ColumnModel]:
    """Return the models of all columns, which are built once per fit of the tables.

    constriction gives each of S bins a frequency of 1 and the share p_s / sum(p) of the remaining
    2**24 - S, rounded down on the cumulative scale. With p_s = f_s - 1 that sum is 2**24 - S, so
    that nothing is rounded: all sums are integers below 2**24, which are exact in floating point
    in any order, and the frequencies are the f_s.
    """
    categorical = _import_constriction().stream.model.Categorical
    frequency, models = _models.get(tables, (None, []))
    if frequency is not tables.frequency_:
        models = [
            ColumnModel(bins, f, categorical((f - 1).astype(np.float64), perfect=False))
            for bins, f in tables.columns()
        ]
        _models[tables] = tables.frequency_, models
    return models


def _of_symbols(values: list[NDArray], symbols: list[NDArray]) -> NDArray:
    """Return a value of each symbol of a column, all columns in a row."""
    return np.concatenate([v[s] for v, s in zip(values, symbols, strict=True)])


def _pieces(n_bits: NDArray) -> list[tuple[int, int, NDArray]]:
    """Return the shift and the width in bits of pieces of positions, and which have each."""
    pieces = []
    for shift in range(0, int(n_bits.max(initial=0)), MAX_BITS):
        width = np.clip(n_bits - shift, 0, MAX_BITS)
        pieces += [(shift, w, np.flatnonzero(width == w)) for w in np.unique(width).tolist() if w]
    return pieces


def _shortened(data: bytes, n_bytes: int, values: NDArray, tables: CodeTables) -> bytes:
    """Return a code of at least `n_bytes` that is decoded like `data`, which is the longest."""
    for n in range(n_bytes, len(data)):
        below = int.from_bytes(data[:n], "big")
        for number in (below, below + 1):
            code = (number % 256**n).to_bytes(n, "big")
            try:
                if (decode(code, len(values), tables) == values).all():
                    return code
            except ValueError:
                continue
    return data

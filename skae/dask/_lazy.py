"""Lazy results of a fitted estimator for the rows of a dask collection."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
from dask import delayed
from sklearn.utils.validation import check_is_fitted

from skae._validation import as_dense
from skae.dask._collections import as_rows, n_rows


def transform(estimator: Any, X: Any) -> da.Array:
    """Encode the rows of a dask collection lazily.

    Parameters
    ----------
    estimator : object
        A fitted estimator with ``transform``.
    X : dask array or DataFrame of shape (n_samples, n_features)
        Samples.

    Returns
    -------
    Z : dask array of shape (n_samples, n_components)
        Codes, one block for each block of rows of X.

    Examples
    --------
    >>> import dask.array as da
    >>> from sklearn.datasets import load_iris
    >>> from skae import LinearAutoencoder
    >>> from skae.dask import transform
    >>> X = load_iris().data
    >>> model = LinearAutoencoder(2).fit(X)
    >>> transform(model, da.from_array(X, chunks=(50, 4))).compute().shape
    (150, 2)
    """
    return _lazy(estimator, "transform", X)


def reconstruct(estimator: Any, X: Any) -> da.Array:
    """Reconstruct the rows of a dask collection lazily.

    Parameters
    ----------
    estimator : object
        A fitted estimator with ``reconstruct``.
    X : dask array or DataFrame of shape (n_samples, n_features)
        Samples.

    Returns
    -------
    X_hat : dask array of shape (n_samples, n_features)
        Reconstructions.

    Examples
    --------
    >>> import dask.array as da
    >>> from sklearn.datasets import load_iris
    >>> from skae import LinearAutoencoder
    >>> from skae.dask import reconstruct
    >>> X = load_iris().data
    >>> model = LinearAutoencoder(2).fit(X)
    >>> reconstruct(model, da.from_array(X, chunks=(50, 4))).compute().shape
    (150, 4)
    """
    return _lazy(estimator, "reconstruct", X)


def score_samples(estimator: Any, X: Any) -> da.Array:
    """Score the rows of a dask collection lazily; higher is better.

    Parameters
    ----------
    estimator : object
        A fitted estimator with ``score_samples``.
    X : dask array or DataFrame of shape (n_samples, n_features)
        Samples.

    Returns
    -------
    scores : dask array of shape (n_samples,)
        Scores.

    Examples
    --------
    >>> import dask.array as da
    >>> from sklearn.datasets import load_iris
    >>> from skae import LinearAutoencoder
    >>> from skae.dask import score_samples
    >>> X = load_iris().data
    >>> model = LinearAutoencoder(2).fit(X)
    >>> score_samples(model, da.from_array(X, chunks=(50, 4))).compute().shape
    (150,)
    """
    return _lazy(estimator, "score_samples", X)


def predict(estimator: Any, X: Any) -> da.Array:
    """Predict for the rows of a dask collection lazily.

    Parameters
    ----------
    estimator : object
        A fitted estimator with ``predict``, such as `AutoencoderOutlierDetector`.
    X : dask array or DataFrame of shape (n_samples, n_features)
        Samples.

    Returns
    -------
    y : dask array of shape (n_samples,)
        Predictions.

    Examples
    --------
    >>> import dask.array as da
    >>> from sklearn.datasets import load_iris
    >>> from skae import AutoencoderOutlierDetector
    >>> from skae.dask import predict
    >>> X = load_iris().data
    >>> detector = AutoencoderOutlierDetector(random_state=0).fit(X)
    >>> predict(detector, da.from_array(X, chunks=(50, 4))).compute().shape
    (150,)
    """
    return _lazy(estimator, "predict", X)


def _lazy(estimator: Any, method: str, X: Any) -> da.Array:
    """Return the results of a method for each part of the rows."""
    check_is_fitted(estimator)
    if not hasattr(estimator, method):
        raise TypeError(f"{type(estimator).__name__} has no {method}; pass another estimator.")
    X = as_rows(X)
    if X.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"X has {X.shape[1]} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input."
        )
    model = delayed(estimator, pure=False)  # sent to each worker once
    if not isinstance(X, da.Array):
        example = _called(X._meta_nonempty, estimator, method)
        return X.map_partitions(_called, model, method, example[:0], meta=example[:0])
    example = _called(np.zeros((1, X.shape[1]), X.dtype), estimator, method)
    chunks = (X.chunks[0], *((n,) for n in example.shape[1:]))
    dropped = None if example.ndim == 2 else [1]
    call: Any = _called
    return X.map_blocks(
        call,
        model,
        method,
        example[:0],
        chunks=chunks,
        drop_axis=dropped,
        dtype=example.dtype,
        meta=example[:0],
    )


def _called(rows: Any, estimator: Any, method: Any, empty: Any = None) -> Any:
    """Return the results for rows; `empty`, for none."""
    return as_dense(getattr(estimator, method)(rows)) if n_rows(rows) else empty

"""Saving of estimators to files, without pickle."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any

from skae._file_format import read, write
from skae._schema import TYPES, type_name
from skae._sklearn_types import BaseEstimator
from skae.base import BaseAutoencoder

__all__ = ["load", "save"]


def save(estimator: BaseEstimator, path: str | os.PathLike[str]) -> None:
    """Write an estimator of skae to one file, without pickle.

    An existing file is replaced atomically. The file is synchronised with the disk when `save`
    returns. Several processes may save to the same path; the last one to finish determines its
    content.

    Parameters
    ----------
    estimator : object
        Estimator of skae, fitted or not.
    path : str or path-like
        Path of the file. A symbolic link is followed.

    Raises
    ------
    TypeError
        If the estimator contains an object that is not a number, text, an array or of a type of
        skae, such as a RandomState or a function.
    ValueError
        If a parameter is out of range, or `path` is not a valid file path.
    OSError
        If the directory does not exist, or the file cannot be written.

    See Also
    --------
    load : Read an estimator from a file.
    skops.io.dump : Writes whole pipelines, and other estimators of scikit-learn, without pickle.

    Notes
    -----
    Pipelines and other estimators of scikit-learn are refused, also within an estimator of skae:
    their attributes cannot be checked here before they are built. ``skops.io.dump`` writes them;
    ``skops.io.load`` then asks to trust the types of skae that they contain.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import skae
    >>> X = np.random.default_rng(0).normal(size=(50, 4))
    >>> linear = skae.LinearAutoencoder(2).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "linear.skae")
    ...     skae.save(linear, path)
    ...     again = skae.load(path)
    >>> bool((again.transform(X) == linear.transform(X)).all())
    True
    """
    write(path, "estimator", estimator)


def load(
    path: str | os.PathLike[str], device: str | None = None, trusted: Collection[str] = ()
) -> Any:
    """Read an estimator that `save` wrote.

    A file contains no code. It may name functions, those of `FunctionArchitecture`; only
    ``torch.nn:Linear`` and those in `trusted` are imported and called. Every value is checked
    before anything is built from it, see SECURITY.md.

    Parameters
    ----------
    path : str or path-like
        Path of the file.
    device : str or None, default=None
        Value for the ``device`` parameter of every autoencoder in the file. If None, it is
        unchanged.
    trusted : collection of str, default=()
        Functions that the file may call, and classes outside of skae that it may contain, each as
        'package.module:name'.

    Returns
    -------
    estimator : object
        The estimator; its results are bitwise equal to those of the saved one.

    Raises
    ------
    ValueError
        If the file was not written by `save`, is damaged, or names a function that is not
        trusted; if `path` is a directory, a pipe or a device.
    OSError
        If the file does not exist or cannot be read.

    See Also
    --------
    save : Write an estimator to a file.

    Examples
    --------
    >>> import os, tempfile
    >>> import skae
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.skae")
    ...     skae.save(skae.Autoencoder(3), path)
    ...     skae.load(path)
    Autoencoder(n_components=3)
    """
    estimator = read(path, "estimator", lambda v: TYPES.get(type_name(type(v))) is type(v), trusted)
    if device is not None:
        _set_device(estimator, device)
    return estimator


def _set_device(part: Any, device: str) -> None:
    """Set the device of every autoencoder within an estimator."""
    if isinstance(part, BaseAutoencoder):
        part.set_params(device=device)
    if isinstance(part, (BaseEstimator, Mapping)):
        part = (part if isinstance(part, Mapping) else vars(part)).values()
    elif not isinstance(part, (list, tuple)):
        return
    for inner in part:
        _set_device(inner, device)

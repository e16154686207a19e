"""Checks of the promises that every autoencoder keeps, for classes of one's own."""

from __future__ import annotations

import copy
import os
import pickle
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skae._persistence import load, save
from skae._sklearn_types import clone
from skae._validation import as_dense
from skae.base import BaseAutoencoder
from skae.data import Batch, Random
from skae.exceptions import AutoencoderWarning
from skae.training import total_of

N_SAMPLES, N_FEATURES = 60, 6


def check_autoencoder(estimator: BaseAutoencoder, X: NDArray | None = None) -> None:
    """Check that an autoencoder keeps the promises of skae.

    It complements scikit-learn's ``check_estimator``. The estimator is cloned and fitted several
    times for three epochs.

    Parameters
    ----------
    estimator : autoencoder
        An instance of a subclass of `BaseAutoencoder`; it need not be fitted.
    X : ndarray of shape (n_samples, n_features), default=None
        Samples without missing values. If None, 60 samples of 6 features in [0, 1].

    Raises
    ------
    AssertionError
        If a promise is not kept; the message names the check.
    TypeError
        If the estimator is not an autoencoder of skae.

    See Also
    --------
    sklearn.utils.estimator_checks.check_estimator : Checks of scikit-learn's conventions.

    Notes
    -----
    The checks are: the objective returns terms of shape (n,), whose gradients are finite, also on
    torch's meta device; a penalty of weight ``alpha=0`` is 0; missing values do not influence the
    loss or the results; samples of weight 0 are ignored, and only ratios of weights matter; results
    are in X's dtype and do not depend on the other samples of the call; the same seed gives the
    same bits and leaves global generators unchanged; parameters that are set after ``fit`` wait for
    the next one; pickle, `skae.save` and `skae.load` restore the same bits.

    Examples
    --------
    >>> from skae import SparseAutoencoder
    >>> from skae.extension import check_autoencoder
    >>> check_autoencoder(SparseAutoencoder(4))
    """
    if not isinstance(estimator, BaseAutoencoder):
        raise TypeError(
            f"check_autoencoder checks autoencoders of skae; got a {type(estimator).__name__}."
        )
    if X is None:
        rng = np.random.default_rng(0)
        t = rng.uniform(size=(N_SAMPLES, 2))
        X = np.clip(t @ rng.uniform(size=(2, N_FEATURES)) / 2 + 0.1 * t[:, :1] ** 2, 0, 1)
    model = clone(estimator).set_params(max_iter=3, early_stopping=False, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AutoencoderWarning)
        fitted = clone(model)
        for check in CHECKS:
            try:
                check(model, fitted, X)
            except Exception as error:
                raise AssertionError(
                    f"{type(estimator).__name__} fails {check.__name__}: {error}"
                ) from error


def check_fit(model: Any, fitted: Any, X: NDArray) -> None:
    """Check that `fit` works, and returns the estimator."""
    _require(fitted.fit(X) is fitted, "fit does not return the estimator")


def check_objective(model: Any, fitted: Any, X: NDArray) -> None:
    """Check that the objective returns terms by name, (n,) each, with finite gradients."""
    module, batch = copy.deepcopy(fitted.module_).train(), _batch(fitted, X)
    terms = _terms(fitted, module, batch)
    for name, term in terms.items():
        _require(isinstance(name, str), "names of terms must be strings")
        _require(term.shape == (len(X),), f"the term {name!r} must have shape (n,)")
        _require(bool(term.isfinite().all()), f"the term {name!r} is not finite")
    total_of(terms).sum().backward()
    for name, parameter in module.named_parameters():
        finite = parameter.grad is None or bool(parameter.grad.isfinite().all())
        _require(finite, f"the gradient of {name!r} is not finite")


def check_meta_device(model: Any, fitted: Any, X: NDArray) -> None:
    """Check that hooks run on torch's meta device: no value is read in a step."""
    module = copy.deepcopy(fitted.module_).train().to("meta")
    batch = _batch(fitted, X).to("meta")
    batch = batch._replace(random=Random(0, batch.x))
    total_of(_terms(fitted, module, batch)).sum().backward()


def check_alpha_zero(model: Any, fitted: Any, X: NDArray) -> None:
    """Check that a penalty of weight 0 is 0."""
    if "alpha" not in model.get_params(deep=False):
        return
    plain = clone(model).set_params(alpha=0).fit(X)
    terms = _terms(plain, copy.deepcopy(plain.module_).train(), _batch(plain, X))
    for name, term in terms.items():
        if name != "reconstruction":
            _require(not term.count_nonzero(), f"the term {name!r} is not 0 for alpha=0")


def check_missing_values(model: Any, fitted: Any, X: NDArray) -> None:
    """Check that missing values are accepted, and that an empty sample scores 0."""
    X_missing = np.where(np.random.default_rng(0).uniform(size=X.shape) < 0.2, np.nan, X)
    X_missing[0] = np.nan
    other = clone(model).fit(X_missing)
    for name, result in _results(other, X_missing).items():
        _require(np.isfinite(result).all(), f"{name} is not finite")
    _require(other.score_samples(X_missing)[0] == 0, "an empty sample does not score 0")


def check_sample_weight(model: Any, fitted: Any, X: NDArray) -> None:
    """Check that samples of weight 0 are ignored and only ratios of weights matter."""
    weight = np.random.default_rng(1).integers(0, 3, len(X)).astype(float)
    weighted = clone(model).fit(X, sample_weight=weight)
    kept = weight > 0
    _same(weighted, clone(model).fit(X[kept], sample_weight=weight[kept]), X, "without weight 0")
    _same(weighted, clone(model).fit(X, sample_weight=4 * weight), X, "with weights times 4")


def check_dtype(model: Any, fitted: Any, X: NDArray) -> None:
    """Check that results are in X's dtype."""
    for dtype in (np.float32, np.float64):
        for name, result in _results(fitted, X.astype(dtype)).items():
            _require(result.dtype == dtype, f"{name} returns {result.dtype} for {dtype.__name__}")


def check_samples_are_independent(model: Any, fitted: Any, X: NDArray) -> None:
    """Check that the result of a sample does not depend on the others of the call."""
    alone, together = _results(fitted, X[3:4]), _results(fitted, X)
    for name, result in alone.items():
        close = np.allclose(result[0], together[name][3], rtol=1e-9, atol=1e-9)
        _require(close, f"{name} of a sample depends on the others")


def check_determinism(model: Any, fitted: Any, X: NDArray) -> None:
    """Check that a seed determines all bits, and global generators stay as they are."""
    before = torch.random.get_rng_state(), _numpy_state()
    _same(fitted, clone(model).fit(X), X, "with the same seed")
    _require(torch.equal(before[0], torch.random.get_rng_state()), "torch's generator has changed")
    same = np.array_equal(before[1], _numpy_state())
    _require(same, "numpy's generator has changed")


def check_parameters_after_fit(model: Any, fitted: Any, X: NDArray) -> None:
    """Check that parameters set after ``fit`` do not change results."""
    changed = copy.deepcopy(fitted)
    for name in ("alpha", "learning_rate", "max_iter"):
        if name in changed.get_params(deep=False):
            changed.set_params(**{name: 7})
    _same(fitted, changed, X, "after set_params")


def check_resume(model: Any, fitted: Any, X: NDArray) -> None:
    """Check that ``partial_fit`` and ``warm_start`` continue a fit, also of a copy."""
    first = clone(model).partial_fit(X)
    second = pickle.loads(pickle.dumps(first))
    _same(first.partial_fit(X), second.partial_fit(X), X, "after partial_fit of a copy")
    warm = clone(model).set_params(warm_start=True).fit(X)
    _require(warm.fit(X).n_iter_ > fitted.n_iter_, "warm_start does not continue the fit")


def check_files(model: Any, fitted: Any, X: NDArray) -> None:
    """Check that pickle, save and load restore the same bits."""
    _same(fitted, pickle.loads(pickle.dumps(fitted)), X, "by pickle")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model")
        save(fitted, path)
        _same(fitted, load(path), X, "by skae.load")


CHECKS: tuple[Callable[[Any, Any, NDArray], None], ...] = (
    check_fit,
    check_objective,
    check_meta_device,
    check_alpha_zero,
    check_missing_values,
    check_sample_weight,
    check_dtype,
    check_samples_are_independent,
    check_determinism,
    check_parameters_after_fit,
    check_resume,
    check_files,
)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _numpy_state() -> NDArray:
    state: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    return state["state"]["key"].copy()


def _batch(fitted: Any, X: NDArray) -> Batch:
    """Return samples as a batch of training."""
    like = fitted.module_.output_bias
    x, observed = fitted._conditioning.apply(X, like.dtype)
    weight, progress = torch.ones(len(x), dtype=like.dtype), torch.ones((), dtype=like.dtype)
    return Batch(x, observed, weight, progress, random=Random(0, like.detach()))


def _terms(fitted: Any, module: Any, batch: Batch) -> dict[str, Tensor]:
    module.objective = fitted._with_fit_params()._objective
    terms = module(batch)
    return terms


def _results(fitted: Any, X: NDArray) -> dict[str, NDArray]:
    names = ("transform", "reconstruct", "score_samples")
    return {name: as_dense(getattr(fitted, name)(X)) for name in names if hasattr(fitted, name)}


def _same(ours: Any, theirs: Any, X: NDArray, what: str) -> None:
    """Require that two fitted estimators have the same results, to the bit."""
    others = _results(theirs, X)
    for name, result in _results(ours, X).items():
        _require(np.array_equal(result, others[name]), f"{name} differs {what}")

"""The scikit-learn side of every autoencoder, written once."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from skae import _schema as schema
from skae._callbacks import CallbackBridge
from skae._fitted_state import FITTED_SCHEMA, check_fitted_state
from skae._fitting import Kind, processes_of, train
from skae._hooks import Hooks
from skae._inference import TORCH_DTYPE, Function, check_codes, gen_results
from skae._sklearn import _fit_context
from skae._sklearn_types import (
    BaseEstimator,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    with_callbacks,
)
from skae._validation import (
    check_finite_result,
    check_sample_weight,
    unchanged_on_error,
    weighted_mean,
)
from skae._warnings import warn
from skae.data import (
    HOLDERS,
    DataSource,
    concatenate_chunks,
    drop_empty_rows,
    gen_chunks,
    read_source,
)
from skae.exceptions import DivergenceError
from skae.hyperparameters import hyperparameters
from skae.training import AutoencoderModule, check_precision, device_of, restore, state_of

# Attributes that scikit-learn needs to tear down its callbacks.
CALLBACK_STATE = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")


@hyperparameters
class BaseAutoencoder(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    schema.Persistent,
    Hooks,
    BaseEstimator,
):
    r"""Base of the autoencoders: training, and everything that scikit-learn expects.

    A variant declares its hyperparameters and overrides some hooks; it inherits ``fit``,
    ``transform``, ``inverse_transform``, ``reconstruct``, ``score_samples`` and ``score``.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    See `Hooks`.
    """

    _fitted_schema: ClassVar[dict[str, schema.Check]] = FITTED_SCHEMA

    # -------------------------------------------------------------------------------- fitting

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the autoencoder to the samples of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training samples. NaN marks a missing value. Sparse matrices and memory maps are read
            batch by batch. A list of 2-D arrays or memory maps with the same columns and one dtype
            is one table, whose parts are read in place, here and in all other methods.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Per-sample weights. Samples with weight 0 are ignored. If None, all samples are weighted
            equally.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X contains infinity or text, has fewer than two samples or no column that varies, or
            if its values are so large or small that their squares overflow or vanish; if a
            parameter is out of range; if training diverges. The estimator then stays as it was.
        """
        resume = self.warm_start and hasattr(self, "module_")
        return self._train(X, y, sample_weight, resume=resume)

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train on each sample of X once, continuing from the last call.

        The first call determines the conditioning and the start from its samples. No samples are
        held out, and the learning rate stays at its initial value.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            A chunk of the training samples. NaN marks a missing value.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Per-sample weights, relative to each other within the chunk. Samples with weight 0 are
            ignored. If None, all samples are weighted equally.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._train(X, y, sample_weight, resume=hasattr(self, "module_"), one_pass=True)

    @with_callbacks
    def _fit_start(
        self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Fit without training: the module stays at its start."""
        return self._train(X, y, sample_weight, resume=False, start_only=True)

    def _fit_or_start(self, X: ArrayLike, **params: Any) -> Self:
        """Fit; if training diverges, warn and stay at the start."""
        try:
            return self.fit(X, **params)
        except DivergenceError:
            warn(
                f"The training of the inner {type(self).__name__} diverged, so it stays at its "
                "start. Look for values that are far from all others, or scale the columns."
            )
            return self._fit_start(X, **params)

    def _train(
        self,
        X: ArrayLike,
        y: None,
        sample_weight: ArrayLike | None,
        *,
        resume: bool,
        one_pass: bool = False,
        start_only: bool = False,
    ) -> Self:
        at_least = 1 if resume else 2
        with unchanged_on_error(self, but=CALLBACK_STATE):
            with processes_of(self) as (group, device):
                # A process may hold fewer samples than all together.
                of_process = at_least if HOLDERS.get().size == 1 else 1
                source = read_source(self, X, reset=not resume, at_least=of_process)
                weight = check_sample_weight(sample_weight, len(source))
                metadata = None if sample_weight is None else {"sample_weight": sample_weight}
                bridge = CallbackBridge(self, X=X, y=y, metadata=metadata)
                source, weight = drop_empty_rows(
                    source, weight, at_least=at_least, group=HOLDERS.get()
                )
                kind = Kind(resume, one_pass, start_only, group, device)
                fitted, rows = train(self, source, weight, bridge, kind)
                self.__dict__.update(fitted)
                with torch.no_grad():
                    self._after_fit(self.module_, rows)
            bridge.end()
        return self

    # ------------------------------------------------------------------------ what is learned

    def transform(self, X: ArrayLike) -> NDArray:
        """Encode samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Input samples. NaN marks a missing value; the network sees the column's mean there.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            Codes, in X's dtype. They are invariant to shifts of X and to its multiplication by one
            positive number; except those of `LinearAutoencoder`, which are in X's units.
        """
        return self._apply(lambda fitted, module, batch: fitted._encode(module, batch), X)

    def inverse_transform(self, Z: ArrayLike) -> NDArray:
        """Decode codes.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Reconstructions, in the units of the training samples and Z's dtype.
        """
        check_is_fitted(self)
        codes = check_codes(self, Z)
        module, decode = self._module_in(codes.dtype), self._with_fit_params()._decode
        device = module.output_bias.device

        @torch.no_grad()
        def decoded(chunk: slice) -> NDArray:
            return decode(module, torch.tensor(codes[chunk], device=device)).cpu().numpy()

        chunks = gen_chunks(len(codes), self.n_features_in_)
        x_hat = concatenate_chunks(len(codes), map(decoded, chunks))
        return check_finite_result(self._in_units(x_hat), "Z")

    def reconstruct(self, X: ArrayLike) -> NDArray:
        """Encode samples and decode their codes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Input samples. NaN marks a missing value, which is filled.

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features)
            Reconstructions, in X's units and dtype.
        """
        return self._apply(
            lambda fitted, module, batch: fitted._reconstruct(module, batch), X, in_units=True
        )

    def score_samples(self, X: ArrayLike) -> NDArray:
        """Score each sample by its reconstruction; higher is better.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Minus the mean loss over the observed cells of each sample, in X's units and dtype
            (squared units for the squared error); 0 for a sample without an observed value.
        """
        source = self._fitted_source(X)
        self._check_domain(source)
        return self._apply(lambda fitted, module, batch: fitted._score(module, batch), source)

    def score(self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None) -> float:
        """Return the mean of ``score_samples``; higher is better.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Input samples. NaN marks a missing value.
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

    # -------------------------------------------------------- how a fitted autoencoder is asked

    def _apply(
        self, function: Function, X: ArrayLike | DataSource, *, in_units: bool = False
    ) -> NDArray:
        """Return ``function(fitted, module, batch)`` for all samples of X, checked to be finite.

        Parameters
        ----------
        function : callable
            Takes this estimator with the hyperparameters of its fit, its module and a batch, and
            returns a tensor whose first axis is the samples of the batch.
        X : {array-like, sparse matrix} or DataSource of shape (n_samples, n_features)
        in_units : bool, default=False
            Whether the result is a reconstruction, to be returned in X's units.

        Returns
        -------
        result : ndarray of shape (n_samples, ...)
            In X's dtype.

        Raises
        ------
        ValueError
            If the result of a sample is not finite.
        """
        source = X if isinstance(X, DataSource) else self._fitted_source(X)
        results = gen_results(self, function, source, source.gen_chunks())
        result = concatenate_chunks(len(source), (r.cpu().numpy() for r in results))
        return check_finite_result(self._in_units(result) if in_units else result, "X")

    def _with_fit_params(self) -> Self:
        """Return the estimator with the hyperparameters of its last fit, which hooks read."""
        fitted = object.__new__(type(self))
        fitted.__dict__ = vars(self) | self._fit_params
        return fitted

    def _in_units(self, x_hat: NDArray) -> NDArray:
        return self._conditioning.undo(x_hat) if self.module_.loss.power else x_hat

    def _check_domain(self, source: DataSource) -> None:
        """Raise ValueError where the loss of a value is not defined."""
        if not self.module_.loss.power:
            names = getattr(self, "feature_names_in_", None)
            self.module_.loss.check(*source.ranges(), names, self._loss_parameter)

    def _fitted_source(self, X: ArrayLike) -> DataSource:
        check_is_fitted(self)
        return read_source(self, X, reset=False)

    def _module_in(self, dtype: np.dtype) -> AutoencoderModule:
        """Return the module in a precision, with the shift and scale as exact as it allows."""
        device, wanted = device_of(self.device), TORCH_DTYPE[dtype]
        check_precision(device, wanted, "the samples are")
        module = self.module_
        if module.output_bias.dtype != wanted:
            # First: a device may not support the module's own dtype.
            module = copy.deepcopy(module).convert(wanted, self._conditioning)
        return module.to(device)

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    # ------------------------------------------------------------------------- bookkeeping

    def __getstate__(self) -> dict[str, Any]:
        state = {k: v for k, v in super().__getstate__().items() if k not in CALLBACK_STATE}
        if "module_" in state:
            state["_weights"] = state_of(state.pop("module_"))
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        state = dict(state)
        weights = state.pop("_weights", None)
        super().__setstate__(state)
        if weights is not None:
            fitted = self._with_fit_params()
            added = fitted._added_tensors(self._spec["layer_sizes"])
            builder = fitted._network_builder(self.architecture_)
            self.module_ = restore(builder, self._conditioning, self._spec, weights, added)

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        check_fitted_state(cls, state)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

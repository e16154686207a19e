"""The scikit-learn side of every autoencoder, written once."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skae import _schema as schema
from skae._callbacks import CallbackBridge
from skae._fitting import spec_of, train
from skae._hooks import Hooks
from skae._numeric_input import as_numeric
from skae._sklearn import _fit_context
from skae._sklearn_types import (
    BaseEstimator,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    with_callbacks,
)
from skae._training_parameters import FittedAttributes, TrainingParameters
from skae._validation import (
    check_array,
    check_finite_result,
    check_sample_weight,
    unchanged_on_error,
    weighted_mean,
)
from skae.data import (
    FLOATS,
    Batch,
    Conditioning,
    DataSource,
    concatenate_chunks,
    drop_empty_rows,
    gen_chunks,
    read_source,
)
from skae.exceptions import AutoencoderWarning, DivergenceError
from skae.hyperparameters import hyperparameters
from skae.training import (
    AutoencoderModule,
    check_precision,
    device_of,
    moments_fit,
    restore,
    state_of,
)

# What scikit-learn needs to take leave of its callbacks.
CALLBACK_STATE = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")
TORCH_DTYPE = {np.dtype(np.float64): torch.float64, np.dtype(np.float32): torch.float32}


@hyperparameters
class BaseAutoencoder(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    Hooks,
    FittedAttributes,
    BaseEstimator,
):
    r"""Base of the autoencoders: training, and everything that scikit-learn expects.

    A variant declares its hyperparameters and changes some of the hooks of `skae._hooks.Hooks`;
    ``fit``, ``transform``, ``inverse_transform``, ``reconstruct``, ``score_samples`` and ``score``
    are these, for all.

    Parameters
    ----------
    {parameters}
    """

    _fitted_schema: ClassVar[dict[str, schema.Check]] = {
        "n_features_in_": schema.integer(1),
        "feature_names_in_": schema.optional(schema.names("n_features_in_")),
        "n_components_": schema.integer(1),
        "mean_": schema.array("f", "n_features_in_", finite=True),
        "scale_": schema.positive,
        "architecture_": lambda value, _: value is None or hasattr(value, "build"),
        "n_iter_": schema.integer(),
        "best_epoch_": schema.integer(),
        "loss_curve_": schema.sequence(schema.number, list),
        "validation_loss_curve_": schema.either(
            schema.instance(None), schema.sequence(schema.number, list)
        ),
        "_fit_params": schema.mapping(schema.anything),
        "_spec": schema.record(
            loss=schema.text,
            widths=schema.record(
                n_inputs=schema.integer(1),
                n_code=schema.integer(1),
                n_components=schema.integer(1),
                n_outputs=schema.integer(1),
            ),
            linear_shortcut=schema.boolean,
            tied=schema.boolean,
        ),
        "_weights": schema.record(
            values=schema.mapping(schema.tensor), trainable=schema.sequence(schema.text)
        ),
        "_optimizer": schema.record(
            options=schema.mapping(schema.text),
            moments=schema.mapping(schema.mapping(schema.anything)),
        ),
        "_one_pass": schema.boolean,
        "_mean_loss": schema.number,
        "_n_steps": schema.integer(),
    }

    # -------------------------------------------------------------------------------- fitting

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Train on the rows of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training rows. NaN is a value that is missing. Rows of a sparse matrix or of a memory
            map are read batch by batch.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows; a row of weight 0 is as good as absent. None is 1 for all.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X holds infinity or text, has fewer than two rows or nothing that varies, or is so
            large or small that its squares leave the floating-point range; if a parameter is out
            of range; if the fit diverges. The estimator is then as it was before.
        """
        resume = self.warm_start and hasattr(self, "module_")
        return self._train(X, y, sample_weight, resume=resume)

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train on each row of X once, going on from the last call.

        The first call fixes the conditioning and the start by its rows. No rows are held out, and
        the learning rate stays at its initial value.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            A chunk of the training rows. NaN is a value that is missing.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, relative to each other within the chunk. None is 1 for all.

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
        """Take up the start of `fit`, without any training."""
        return self._train(X, y, sample_weight, resume=False, start_only=True)

    def _fit_or_start(self, X: ArrayLike, **params: Any) -> Self:
        """Fit; where training diverges, warn and stay at the start."""
        try:
            return self.fit(X, **params)
        except DivergenceError:
            warnings.warn(
                "The training of the network within diverged, so it stays at its start. Look for "
                "values that are far from all others, or scale the columns.",
                AutoencoderWarning,
                stacklevel=6,
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
        with unchanged_on_error(self, but=CALLBACK_STATE):
            table = read_source(self, X, reset=not resume, at_least=1 if resume else 2)
            weight = check_sample_weight(sample_weight, len(table))
            metadata = None if sample_weight is None else {"sample_weight": sample_weight}
            monitor = CallbackBridge(self, X=X, y=y, metadata=metadata)
            fitted, rows = train(
                self,
                *drop_empty_rows(table, weight, at_least=1 if resume else 2),
                monitor=monitor,
                resume=resume,
                one_pass=one_pass,
                start_only=start_only,
            )
            self.__dict__.update(fitted)
            with torch.no_grad():
                self._after_fit(self.module_, rows)
            monitor.end()
        return self

    # ------------------------------------------------------------------------ what is learned

    def transform(self, X: ArrayLike) -> NDArray:
        """Encode rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; NaN is a value that is missing, seen by the network as the column's mean.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            Their codes, in X's dtype. They do not change when X is shifted, or multiplied by one
            positive number, before ``fit`` and here; but those of `LinearAutoencoder` are in X's
            units.
        """
        return check_finite_result(
            self._map(self._fitted_table(X), self._with_fit_params()._encode), "X"
        )

    def inverse_transform(self, Z: ArrayLike) -> NDArray:
        """Decode codes.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Their reconstructions, in the units of the training rows and Z's dtype.
        """
        check_is_fitted(self)
        codes = check_array(
            as_numeric(Z, "Z"), dtype=FLOATS, order="C", input_name="Z", estimator=self
        )
        if codes.shape[1] != self.n_components_:
            raise ValueError(
                f"Z has {codes.shape[1]} columns, but this {type(self).__name__} was fitted with "
                f"n_components={self.n_components_}; pass what transform returns."
            )
        module, decode = self._module_in(codes.dtype), self._with_fit_params()._decode
        device = module.output_bias.device

        @torch.no_grad()
        def decoded(chunk: slice) -> NDArray:
            return decode(module, torch.tensor(codes[chunk], device=device)).cpu().numpy()

        x_hat = concatenate_chunks(
            len(codes), map(decoded, gen_chunks(len(codes), self.n_features_in_))
        )
        return check_finite_result(self._in_units(x_hat), "Z")

    def reconstruct(self, X: ArrayLike) -> NDArray:
        """Encode rows and decode their codes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; NaN is a value that is missing, and is filled.

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features)
            Their reconstructions, in X's units and dtype.
        """
        x_hat = self._map(self._fitted_table(X), self._with_fit_params()._reconstruct)
        return check_finite_result(self._in_units(x_hat), "X")

    def score_samples(self, X: ArrayLike) -> NDArray:
        """Score each row by its reconstruction; higher is better.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; NaN is a value that is missing.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Minus the mean loss over the observed cells of each row, in X's units and dtype
            (squared units for the squared error); 0 for a row with nothing observed.
        """
        table = self._fitted_table(X)
        self._check_domain(table)
        return check_finite_result(self._map(table, self._with_fit_params()._score), "X")

    def score(self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None) -> float:
        """Return the mean of ``score_samples``; higher is better.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; NaN is a value that is missing.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. None is 1 for all.

        Returns
        -------
        score : float
            Weighted mean over the rows.
        """
        scores = self.score_samples(X)
        return float(weighted_mean(scores, check_sample_weight(sample_weight, len(scores))))

    def _own_parameters(self) -> dict[str, Any]:
        """Return the hyperparameters that hooks may read: all but those of training."""
        return {name: getattr(self, name) for name in self._own_parameter_names()}

    @classmethod
    def _own_parameter_names(cls) -> list[str]:
        training = {field.name for field in fields(TrainingParameters)} | {"architecture"}
        training -= {"n_components"}
        return [name for name in cls._get_param_names() if name not in training]

    def _with_fit_params(self) -> Self:
        """Return the estimator with the hyperparameters of its last fit, for its hooks to read."""
        fitted = object.__new__(type(self))
        fitted.__dict__ = vars(self) | self._fit_params
        return fitted

    def _in_units(self, x_hat: NDArray) -> NDArray:
        return self._conditioning.undo(x_hat) if self.module_.loss.power else x_hat

    def _check_domain(self, table: DataSource) -> None:
        """Raise ValueError where the loss of a value is not defined."""
        if not self.module_.loss.power:
            names = getattr(self, "feature_names_in_", None)
            self.module_.loss.check(*table.ranges(), names, self._loss_parameter)

    def _fitted_table(self, X: ArrayLike) -> DataSource:
        check_is_fitted(self)
        return read_source(self, X, reset=False)

    def _map(
        self, table: DataSource, function: Callable[[AutoencoderModule, Batch], Tensor]
    ) -> NDArray:
        """Apply a function of module and batch to all rows of a table, in its precision."""
        module = self._module_in(table.dtype)
        dtype, device = module.output_bias.dtype, module.output_bias.device
        done = torch.ones((), dtype=dtype, device=device)

        @torch.no_grad()
        def answer(chunk: slice) -> NDArray:
            x, observed = self._conditioning.apply(table[chunk], dtype)
            observed = None if observed is None else observed.to(device)
            batch = Batch(x.to(device), observed, torch.ones(len(x), device=device), done)
            return function(module, batch).cpu().numpy()

        return concatenate_chunks(len(table), map(answer, table.gen_chunks()))

    def _module_in(self, dtype: np.dtype) -> AutoencoderModule:
        """Return the module in a precision; what it cannot represent, such as the shift, exact."""
        device, wanted = device_of(self.device), TORCH_DTYPE[dtype]
        check_precision(device, wanted, "the rows are")
        module = self.module_
        if module.output_bias.dtype != wanted:
            # First: a device may not know the module's own dtype.
            module = copy.deepcopy(module).convert(wanted, self._conditioning)
        return module.to(device)

    @property
    def _conditioning(self) -> Conditioning:
        return Conditioning(self.mean_, self.scale_)

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
            added = self._with_fit_params()._added_tensors(self._spec["widths"])
            self.module_ = restore(
                self.architecture_, self._conditioning, self._spec, weights, added
            )

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        if "_weights" not in state:
            return
        used = state["_fit_params"]
        if used.keys() != set(cls._own_parameter_names()):
            raise ValueError(f"'_fit_params' does not hold the parameters of {cls.__name__}")
        schema.check_parameters(cls, used)
        fitted = object.__new__(cls)
        fitted.__dict__ = {**state, **used, "n_components": state["n_components_"]}
        n_features = state["n_features_in_"]
        if spec_of(fitted, n_features) != state["_spec"]:
            raise ValueError(f"'_spec' does not follow from the parameters of {cls.__name__}")
        if state["architecture_"] is None and not state["_spec"]["linear_shortcut"]:
            raise ValueError("it has neither networks nor a linear shortcut")
        values = state["_weights"]["values"]
        if lacking := fitted._added_tensors(state["_spec"]["widths"]).keys() - values.keys():
            raise ValueError(f"it lacks the weights {min(lacking)!r}")
        shapes = {name: array.shape for name, array in values.items()}
        if not moments_fit(state["_optimizer"]["moments"], shapes):
            raise ValueError("the moments of its optimiser are not of the shapes of its weights")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

"""The scikit-learn side of every autoencoder, written once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_array
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from skae._params import (
    FRACTION,
    NON_NEGATIVE,
    POSITIVE,
    POSITIVE_INT,
    hyperparameters,
    one_of,
    param,
)
from skae._sklearn import _check_sample_weight, _fit_context
from skae._validation import PIECE, finite, known_rows, slices, what_is_wrong
from skae.losses import LOSSES, Loss
from skae.training import (
    SCHEDULES,
    AutoencoderModule,
    Batch,
    Conditioning,
    Rows,
    or_auto,
    restore,
    state_of,
    train,
)
from skae.training import _budget as budget

FLOATS = [np.float64, np.float32]
TORCH_DTYPE = {np.dtype(np.float64): torch.float64, np.dtype(np.float32): torch.float32}


FITTED = """
module_ : torch.nn.Module
    The trained module, in conditioned units and evaluation mode.
architecture_ : object
    The recipe that built its networks; None without networks.
n_components_ : int
    Width of the code.
mean_ : ndarray of shape (n_features,)
    Weighted mean of the observed training values of each column; 0 where there are none.
scale_ : float
    Square root of the columns' mean variance. Training sees ``(X - mean_) / scale_``.
n_iter_ : int
    Epochs that were run; 1 where the start is the optimum, so that none was.
best_epoch_ : int
    Epoch whose weights were kept; 0 is the start.
loss_curve_ : list of float
    Mean training loss of each epoch. Squared errors are in squared units of ``scale_``, so that
    reconstruction by the mean has 1.
validation_loss_curve_ : list of float or None
    Mean loss of the held-out rows after each epoch; None without.
n_features_in_ : int
    Columns seen by ``fit``.
feature_names_in_ : ndarray of shape (n_features_in_,)
    Their names; only if X had names that are all strings.
""".strip()


@hyperparameters
class BaseAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Base of the autoencoders: training, and everything that scikit-learn expects.

    A variant declares its hyperparameters and changes some of the hooks below; ``fit``,
    ``transform``, ``inverse_transform``, ``reconstruct``, ``score_samples`` and ``score`` are
    these, for all. Hooks take and return tensors in conditioned units, a batch of rows at a time,
    without reducing over rows; they draw randomness from torch's generator only, read numbers
    from ``self``, and have no side effects.

    Parameters
    ----------
    {parameters}
    """

    _doc_parts = {"attributes": FITTED}  # noqa: RUF012

    n_components: int = param(
        2,
        POSITIVE_INT,
        positional=True,
        doc="Width of the code: the number of columns that ``transform`` returns.",
    )
    max_iter: int | str = param(
        "auto",
        POSITIVE_INT,
        one_of("auto"),
        doc="""
        Epochs: passes over the training rows, at most. 'auto' takes as many as make about 4,000
        gradient steps, and at least 20.""",
    )
    batch_size: int | str = param(
        "auto",
        POSITIVE_INT,
        one_of("auto"),
        doc="""
        Rows per gradient step. 'auto' is a sixteenth of the training rows, at least 16 and at
        most 128.""",
    )
    learning_rate: float = param(3e-3, POSITIVE, doc="Step size of the optimiser (Adam).")
    schedule: str = param(
        "cosine",
        one_of(*SCHEDULES),
        doc="""
        Course of the learning rate over ``max_iter`` epochs: 'cosine' falls to zero along half a
        cosine, 'constant' stays.""",
    )
    early_stopping: bool | str = param(
        "auto",
        "boolean",
        one_of("auto"),
        doc="""
        Whether to hold out rows, keep the epoch whose loss on them is lowest, and stop when it no
        longer falls. After a start at PCA, an epoch is kept only if its gain is more than three
        standard errors, row by row. 'auto' does so from 8 rows on. Without, all epochs are
        run and the last is kept.""",
    )
    validation_fraction: float = param(
        0.1,
        FRACTION,
        doc="""
        Share of the rows to hold out; 64 rows if that is more, but at most a quarter of them.""",
    )
    n_iter_no_change: int | str = param(
        "auto",
        POSITIVE_INT,
        one_of("auto"),
        doc="""
        Epochs in a row without improvement on the held-out rows after which to stop. 'auto' is
        30 % of ``max_iter``.""",
    )
    tol: float = param(
        1e-4,
        NON_NEGATIVE,
        doc="""
        Share of the lowest held-out loss by which a loss must be lower to count as improvement
        for ``n_iter_no_change``.""",
    )
    random_state: Any = param(
        None,
        "random_state",
        doc="""
        Determines the initial weights, the rows held out, their order and any noise. Pass an int
        for the same result, to the bit, at each call on one machine with one number of threads.
        None is different at each call, and leaves numpy's global generator alone.""",
    )
    verbose: int = param(0, "verbose", doc="1 prints a line per epoch.")
    net_params: Mapping[str, Any] | None = param(
        None,
        Mapping,
        None,
        doc="""
        Further arguments of ``skorch.NeuralNet``, such as ``callbacks``, ``optimizer`` or
        ``optimizer__weight_decay``; they win over skae's own.""",
    )

    # ---------------------------------------------------------------------------------- hooks

    def _n_code(self) -> int:
        """Return the width of the encoder's output."""
        return self.n_components

    def _architecture(self) -> Any:
        """Return the recipe of the networks, or None for linear shortcuts alone."""
        return None

    def _loss(self) -> Loss:
        """Return the reconstruction loss."""
        return LOSSES["squared_error"]

    def _starts_from_pca(self) -> bool:
        """Tell whether training starts from the principal components."""
        return True

    def _linear_shortcut(self) -> bool:
        """Tell whether there is a linear path beside the networks."""
        return True

    def _setup(self, module: AutoencoderModule, rows: Rows) -> None:
        """Add parameters and buffers to the module, once before training."""

    def _corrupt(self, module: AutoencoderModule, batch: Batch) -> Batch:
        """Return what the encoder is given in training."""
        return batch

    def _inputs(self, batch: Batch) -> Tensor:
        """Return the encoder's input, (n, n_inputs)."""
        return batch.x

    def _code(self, module: AutoencoderModule, h: Tensor) -> Tensor:
        """Return the deterministic code, (n, n_components), for the encoder's output."""
        return h

    def _sample(self, module: AutoencoderModule, h: Tensor) -> Tensor:
        """Return the code that training decodes, possibly stochastic."""
        return self._code(module, h)

    def _penalty(
        self, module: AutoencoderModule, batch: Batch, h: Tensor, output: Tensor
    ) -> Tensor | float:
        """Return what is added to the loss of each row, (n,)."""
        return 0.0

    def _objective(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        """Return what training minimises, for each row, (n,)."""
        h = module.encode(self._inputs(self._corrupt(module, batch)))
        output = module.decode(self._sample(module, h))
        return module.reconstruction_loss(output, batch) + self._penalty(module, batch, h, output)

    def _finish(self, module: AutoencoderModule, rows: Rows) -> None:
        """Set further fitted attributes, once after training; may change the module."""

    # -------------------------------------------------------------------------------- fitting

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Train on the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows. NaN is a value that is missing.
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
        with self._unchanged_on_error():
            X = self._validate(X, reset=True, ensure_min_samples=2)
            weight = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
            fitted, rows = train(self, *known_rows(X, weight))
            self.__dict__.update(fitted)
            with torch.no_grad():
                self._finish(self.module_, rows)
        return self

    def _n_epochs(self, rows: Rows, steps_per_epoch: int) -> int:
        """Return how many epochs to train for, at most."""
        return or_auto(self.max_iter, budget.max_iter(steps_per_epoch))

    # ------------------------------------------------------------------------ what is learned

    def transform(self, X: ArrayLike) -> NDArray:
        """Encode rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN is a value that is missing, seen by the network as the column's mean.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            Their codes, in X's dtype. They do not change when X is shifted, or multiplied by one
            positive number, before ``fit`` and here.
        """
        return finite(self._map(self._table(X), self._encode), "X")

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
        codes = check_array(Z, dtype=FLOATS, order="C", input_name="Z", estimator=self)
        if codes.shape[1] != self.n_components_:
            raise ValueError(
                f"Z has {codes.shape[1]} columns, but this {type(self).__name__} was fitted with "
                f"n_components={self.n_components_}; pass what transform returns."
            )
        module = self._module_in(codes.dtype)
        results = []
        for piece in slices(len(codes), PIECE):
            with torch.no_grad():
                z = torch.tensor(codes[piece], device=module.output_bias.device)
                results.append(self._decode(module, z).cpu().numpy())
        return finite(self._in_units(np.concatenate(results)), "Z")

    def reconstruct(self, X: ArrayLike) -> NDArray:
        """Encode rows and decode their codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN is a value that is missing, and is filled.

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features)
            Their reconstructions, in X's units and dtype.
        """

        def through(module: AutoencoderModule, batch: Batch) -> Tensor:
            return self._decode(module, self._encode(module, batch))

        return finite(self._in_units(self._map(self._table(X), through)), "X")

    def score_samples(self, X: ArrayLike) -> NDArray:
        """Score each row by its reconstruction; higher is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN is a value that is missing.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Minus the mean loss over the observed cells of each row, in X's units and dtype
            (squared units for the squared error); 0 for a row with nothing observed.
        """

        def loss(module: AutoencoderModule, batch: Batch) -> Tensor:
            output = module.decode(self._encode(module, batch))
            return module.reconstruction_loss(output, batch)

        table = self._table(X)
        names = getattr(self, "feature_names_in_", None)
        self.module_.loss.check(np.fmin.reduce(table), np.fmax.reduce(table), names)
        losses = self._map(table, loss)
        with np.errstate(over="ignore", under="ignore"):
            return finite(-losses * losses.dtype.type(self.scale_**self.module_.loss.power), "X")

    def score(self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None) -> float:
        """Return the mean of ``score_samples``; higher is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
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
        weight = _check_sample_weight(sample_weight, scores, ensure_non_negative=True)
        return float(np.average(scores, weights=weight))

    def _encode(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        return self._code(module, module.encode(self._inputs(batch)))

    def _decode(self, module: AutoencoderModule, z: Tensor) -> Tensor:
        return module.loss.link(module.decode(z))

    def _in_units(self, x_hat: NDArray) -> NDArray:
        return self._conditioning.undo(x_hat) if self.module_.loss.power else x_hat

    def _table(self, X: ArrayLike) -> NDArray:
        check_is_fitted(self)
        return self._validate(X, reset=False)

    def _map(self, X: NDArray, function: Callable[[AutoencoderModule, Batch], Tensor]) -> NDArray:
        """Apply a function of module and batch to all rows of X, in X's precision."""
        module = self._module_in(X.dtype)
        dtype, device = module.output_bias.dtype, module.output_bias.device
        done = torch.ones((), dtype=dtype, device=device)
        results = []
        for piece in slices(len(X), PIECE):
            x = X[piece]
            rows = Rows.of(x, np.ones(len(x)), self._conditioning, dtype).to(device)
            with torch.no_grad():
                results.append(function(module, rows.batch(slice(None), done)).cpu().numpy())
        return np.concatenate(results)

    def _module_in(self, dtype: np.dtype) -> AutoencoderModule:
        """Return the module in a precision; what it cannot represent, such as the shift, exact."""
        wanted = TORCH_DTYPE[dtype]
        if self.module_.output_bias.dtype == wanted:
            return self.module_
        module = copy.deepcopy(self.module_).to(wanted)
        module.shift.copy_(torch.tensor(self.mean_))
        module.scale.fill_(self.scale_)
        return module

    @property
    def _conditioning(self) -> Conditioning:
        return Conditioning(self.mean_, self.scale_)

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    # ------------------------------------------------------------------------- bookkeeping

    def _validate(self, X: ArrayLike, *, reset: bool, ensure_min_samples: int = 1) -> NDArray:
        try:
            return validate_data(
                self,
                X,
                reset=reset,
                dtype=FLOATS,
                order="C",
                ensure_all_finite="allow-nan",
                ensure_min_samples=ensure_min_samples,
            )
        except ValueError as error:
            if sentence := what_is_wrong(X):
                raise ValueError(sentence) from error
            raise

    @contextmanager
    def _unchanged_on_error(self) -> Iterator[None]:
        before = vars(self).copy()
        try:
            yield
        except BaseException:
            self.__dict__ = before
            raise

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "module_" in state:
            state["_weights"] = state_of(state.pop("module_"))
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        state = dict(state)
        weights = state.pop("_weights", None)
        super().__setstate__(state)
        if weights is not None:
            self.module_ = restore(self.architecture_, self._conditioning, self._spec, weights)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.metaestimators import available_if
from torch import Tensor

from skae._schema import persistent
from skae._sklearn_types import clone
from skae._training_parameters import N_COMPONENTS, N_COMPONENTS_DOC
from skae.architectures import Architecture, FTTransformer, TokenArchitecture, TokenLayout, ViT
from skae.autoencoders._masked_code import least_squares, max_rows, principal_code
from skae.autoencoders._masked_networks import (
    MaskedDecoder,
    MaskedEncoder,
    MaskedNetworks,
    Visible,
)
from skae.autoencoders._masking import Masks, complementary, resolve_masks
from skae.base import BaseAutoencoder
from skae.data import Batch, DataSource, RowDataset
from skae.hyperparameters import FRACTION, NON_NEGATIVE, POSITIVE, hyperparameters, one_of, param
from skae.training import SCHEDULES, AutoencoderModule, budget

BUDGET = (4000, 12)  # steps, and the smallest number of epochs
ROWS_PER_COMPONENT = 10  # least number that determines a new code in partial_fit
MASK_RATIO, MASK_RATIO_OF_TABLES = 0.75, 0.5


@persistent
@hyperparameters
class MaskedAutoencoder(BaseAutoencoder):
    r"""Autoencoder that predicts hidden parts of a row from visible ones.

    The architecture divides a row into tokens: patches of an image, columns of a table. At each
    step, a random set :math:`H_i` of the tokens of each row is hidden. The encoder :math:`f` is
    given the others only; the decoder :math:`g` is given its output, with the same learned vector
    in place of each hidden token, and positions:

    .. math:: \min \sum_i w_i \frac{1}{|H_i|} \sum_{j \in H_i}
              \lVert g(f(x_{i, \bar H_i}))_j - x_{ij} \rVert^2

    where the norm is a mean over the observed cells of the token. After training, the code of a row
    is a linear map of all its encoded tokens, none of them hidden: their leading principal
    components in the training samples (at most 10,000 of them). ``inverse_transform`` is the best
    linear map of this code to the row.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}

    Warns
    -----
    AutoencoderWarning
        If the fit was interrupted.

    See Also
    --------
    DenoisingAutoencoder : Hides cells from a network that reconstructs the whole row.
    ViT : Patches as tokens.
    FTTransformer : Columns as tokens.

    Notes
    -----
    Missing values are hidden: a token without an observed cell is used neither by the encoder nor
    by the loss, and in other tokens the network sees the mean. The encoder costs less the more is
    hidden. ``partial_fit`` determines the code by the samples of the call, but keeps the former one
    if there are less than ten times as many of them as components.

    References
    ----------
    He, K., Chen, X., Xie, S., Li, Y., Dollár, P. and Girshick, R. (2022). "Masked autoencoders are
    scalable vision learners". Conference on Computer Vision and Pattern Recognition.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import MaskedAutoencoder, ViT
    >>> X = load_digits().data
    >>> architecture = ViT(image_shape=(8, 8), patch_size=2, width=16, n_layers=2)
    >>> model = MaskedAutoencoder(architecture=architecture, max_iter=3, random_state=0)
    >>> model.fit(X).transform(X).shape
    (1797, 32)
    """

    n_components: Any = param(
        *N_COMPONENTS,
        one_of("auto"),
        default="auto",
        kw_only=False,
        doc=f"{N_COMPONENTS_DOC}\n'auto' is twice the width of the architecture.",
    )
    architecture: Any = param(
        TokenArchitecture,
        None,
        default=None,
        doc="`ViT` for images and signals, or `FTTransformer` for tables. If None, the latter.",
    )
    mask_ratio: float | str = param(
        FRACTION,
        one_of("auto"),
        default="auto",
        doc="""
        Fraction of the tokens that are hidden. 'auto' is 0.75 for a `ViT` and 0.5 for other
        architectures, but at least one token is hidden and one visible.""",
    )
    masking: Any = param(
        one_of("random", "block"),
        "array-like",
        default="random",
        doc="""
        Which tokens are hidden: 'random' ones; a 'block' of adjacent ones; or those that have a
        hidden cell in a given mask of shape (n_features,), or in one of (n_masks, n_features),
        which are drawn with equal probability. True in a mask is hidden.""",
    )
    normalize_targets: bool = param(
        "boolean",
        default=False,
        doc="""
        Whether the cells of each token are predicted minus their mean and divided by their standard
        deviation within the token, which can improve codes of images. `reconstruct` is then not
        available.""",
    )
    learning_rate: float = param(POSITIVE, default=3e-3, doc="Initial learning rate (Adam).")
    schedule: str = param(
        one_of(*SCHEDULES),
        default="warm_up_cosine",
        doc="Learning rate schedule, as in `Autoencoder`.",
    )
    weight_decay: float = param(
        NON_NEGATIVE, default=0.05, doc="Decoupled weight decay coefficient (AdamW)."
    )

    _frozen_params = ("normalize_targets",)

    # ------------------------------------------------------------------------ before training

    def _architecture(self) -> TokenArchitecture:
        architecture = FTTransformer() if self.architecture is None else clone(self.architecture)
        architecture._validate_params()
        return architecture

    def _network_builder(self, architecture: Architecture | None) -> MaskedNetworks:
        of_tokens = cast(TokenArchitecture, architecture)
        return MaskedNetworks(of_tokens, partial(self._masks, of_tokens))

    def _starts_from_pca(self) -> bool:
        return False

    def _linear_shortcut(self) -> bool:
        return False

    def _auto_n_components(self, n_features: int) -> int:
        architecture = self._architecture()
        return min(2, architecture.layout(n_features).n_tokens) * architecture.width

    def _before_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        if self.normalize_targets and _layout(module).n_cells == 1:
            raise ValueError(
                "normalize_targets=True needs tokens of several cells, but each has one; set "
                "normalize_targets=False, or choose larger patches or groups."
            )

    def _masks(self, architecture: TokenArchitecture, layout: TokenLayout) -> Masks:
        auto = self.mask_ratio == "auto"
        of_kind = MASK_RATIO if isinstance(architecture, ViT) else MASK_RATIO_OF_TABLES
        ratio = of_kind if auto else float(self.mask_ratio)
        return resolve_masks(self.masking, ratio, layout, auto)

    def _n_epochs(self, rows: RowDataset, steps_per_epoch: int, starts_at_pca: bool) -> int:
        return budget.resolve_auto(self.max_iter, budget.max_iter(steps_per_epoch, *BUDGET))

    # ------------------------------------------------------------------------------ training

    def _objective(self, module: AutoencoderModule, batch: Batch) -> dict[str, Tensor]:
        masks = _encoder(module).masks
        order, hidden = masks(batch)
        missing = _missing_tokens(module, batch)
        visible, which = order[:, : masks.n_visible], order[:, -masks.n_hidden :]
        ignored = None
        if hidden is not None or missing is not None:
            ignored = _either(hidden, missing).gather(1, visible)
        predicted = self._predicted(module, batch, which, Visible(visible, ignored))
        counted = None if hidden is None else hidden.gather(1, which)
        return {"reconstruction": self._loss_of(module, batch, which, predicted, counted)}

    def _predicted(
        self, module: AutoencoderModule, batch: Batch, which: Tensor, visible: Visible
    ) -> Tensor:
        """Return the predicted cells of tokens with the numbers `which`, (n, t, n_cells)."""
        encoded = _encoder(module).visible(batch.x, visible)
        return _decoder(module).predict(which, encoded, visible)

    def _loss_of(
        self,
        module: AutoencoderModule,
        batch: Batch,
        which: Tensor,
        predicted: Tensor,
        counted: Tensor | None = None,
    ) -> Tensor:
        """Return the mean loss over the observed cells of tokens, or of those that count, (n,)."""
        cells = _encoder(module).tokenizer.cells
        index = which[:, :, None].expand(-1, -1, predicted.shape[2])
        target = cells(batch.x).gather(1, index)
        observed = cells.is_cell if batch.observed is None else cells(batch.observed)
        observed = observed.expand(batch.x.shape[0], -1, -1).gather(1, index)
        if self.normalize_targets:
            target = _normalized(target, observed)
        if counted is not None:
            observed = observed * counted[:, :, None]
        squared = (observed * (predicted - target).square()).sum((1, 2))
        return squared / observed.sum((1, 2)).clamp_min(1)

    # ------------------------------------------------------------------------ after training

    def _after_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        encoder, decoder = _encoder(module), _decoder(module)
        k = len(encoder.out.bias)
        if self._one_pass and len(rows) < ROWS_PER_COMPONENT * k and encoder.center.any():
            return
        some = rows.subsample(max_rows(encoder.center.numel()))
        batch = some[slice(None)]
        missing = _missing_tokens(module, batch)
        tokens = encoder.tokens(batch.x, missing)
        code = principal_code(tokens, missing, batch.weight, k)
        of = encoder.center, encoder.out.weight, encoder.out.bias
        for parameter, value in zip(of, code, strict=True):
            parameter.copy_(value)
        weight, bias = least_squares(self._codes(module, rows), rows.sum)
        decoder.out.weight.copy_(weight)
        module.output_bias.copy_(bias)

    def _codes(
        self, module: AutoencoderModule, rows: RowDataset
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield codes, rows without missing values and weights, for chunks of rows."""
        for chunk in rows.gen_chunks():
            batch = rows[chunk]
            x = batch.x
            if batch.observed is not None and not self.normalize_targets:
                x = torch.where(batch.observed > 0, x, self._filled(module, batch))
            yield self._encode(module, batch), x, batch.weight

    def _before_resume(self, module: AutoencoderModule, rows: RowDataset) -> None:
        architecture = cast(TokenArchitecture, self.architecture_)
        _encoder(module).masks = self._masks(architecture, _layout(module))

    def _encode(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        return _encoder(module).code(batch.x, _missing_tokens(module, batch))

    def _encode_to_learn(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        """Return codes of random halves of the tokens, which regularises and takes half the time.

        As in dropout, what the others would add is made up for on average.
        """
        if not module.training:
            return self._encode(module, batch)
        encoder, n_tokens = _encoder(module), _layout(module).n_tokens
        which = batch.random.uniform(len(batch.x), n_tokens).argsort(1)[:, : -(-n_tokens // 2)]
        missing = _missing_tokens(module, batch)
        ignored = None if missing is None else missing.gather(1, which)
        return encoder.partial_code(batch.x, Visible(which, ignored))

    def _filled(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        """Return rows, (n, n_features), predicted from all observed tokens."""
        every = _every_token(module, batch)
        visible = Visible(every, _missing_tokens(module, batch))
        predicted = self._predicted(module, batch, every, visible)
        return _encoder(module).tokenizer.cells.rows(predicted)

    def _complementary(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        """Return the cells of all tokens, (n, n_tokens, n_cells), each predicted while hidden."""
        every, missing = _every_token(module, batch), _missing_tokens(module, batch)
        n_tokens = every.shape[1]
        sets = complementary(n_tokens, _encoder(module).masks.n_hidden / n_tokens)
        parts = []
        for hidden in sets:
            rest = np.setdiff1d(np.arange(n_tokens), hidden)
            ignored = None if missing is None else missing[:, rest]
            visible = Visible(every[:, rest], ignored)
            parts.append(self._predicted(module, batch, every[:, hidden], visible))
        return torch.cat(parts, dim=1)[:, np.argsort(np.concatenate(sets))]

    def _score(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        predicted = self._complementary(module, batch)
        units = 1.0 if self.normalize_targets else module.scale**2
        return -self._loss_of(module, batch, _every_token(module, batch), predicted) * units

    def _has_units(self) -> bool:
        """Whether the network predicts values in X's units."""
        if getattr(self, "_fit_params", vars(self))["normalize_targets"]:
            raise AttributeError(
                "reconstruct needs predictions in X's units, but normalize_targets=True; set it to "
                "False and fit again, or use inverse_transform."
            )
        return True

    def _reconstruct(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        self._has_units()
        rows = _encoder(module).tokenizer.cells.rows(self._complementary(module, batch))
        if batch.observed is None:
            return rows
        return torch.where(batch.observed > 0, rows, self._filled(module, batch))

    @available_if(_has_units)
    def reconstruct(self, X: ArrayLike, mask: ArrayLike | None = None) -> NDArray:
        """Predict cells from other cells.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Input samples. NaN marks a missing value, which is predicted from all observed ones.
        mask : array-like of bool of shape (n_features,) or (n_samples, n_features), default=None
            Cells to hide, which are predicted from the others; these are returned unchanged. If
            None, each cell is predicted once, while its token and a fixed random set of others are
            hidden.

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features)
            Predictions, in X's units and dtype.

        Raises
        ------
        ValueError
            If the mask has another shape or is not boolean.
        AttributeError
            If the estimator was fitted with ``normalize_targets=True``.
        """
        if mask is None:
            return super().reconstruct(X)
        source = self._fitted_source(X)
        hidden = np.asarray(mask)
        shapes = (source.shape[1:], source.shape)
        if hidden.dtype != bool or hidden.shape not in shapes:
            raise ValueError(
                f"mask must be boolean, of shape {shapes[0]} or {shapes[1]}; got {hidden.dtype} of "
                f"shape {hidden.shape}."
            )
        x = source[slice(None)].copy()
        x[np.broadcast_to(hidden, x.shape)] = np.nan

        def predict(fitted: Self, module: AutoencoderModule, batch: Batch) -> Tensor:
            if batch.observed is None:
                return batch.x
            return torch.where(batch.observed > 0, batch.x, fitted._filled(module, batch))

        predicted = self._apply(predict, DataSource(x), in_units=True)
        return np.where(np.isnan(x), predicted, x)


def _encoder(module: AutoencoderModule) -> MaskedEncoder:
    return cast(MaskedEncoder, module.encoder)


def _decoder(module: AutoencoderModule) -> MaskedDecoder:
    return cast(MaskedDecoder, module.decoder)


def _layout(module: AutoencoderModule) -> TokenLayout:
    return _encoder(module).tokenizer.cells.layout


def _every_token(module: AutoencoderModule, batch: Batch) -> Tensor:
    """Return the numbers of all tokens for each row, (n, n_tokens)."""
    every = torch.arange(_layout(module).n_tokens, device=batch.x.device)
    return every.expand(batch.x.shape[0], -1)


def _missing_tokens(module: AutoencoderModule, batch: Batch) -> Tensor | None:
    """Return 1 for each token without an observed cell, (n, n_tokens); None if all are observed."""
    if batch.observed is None:
        return None
    cells = _encoder(module).tokenizer.cells
    return 1 - cells(batch.observed).amax(2)


def _either(hidden: Tensor | None, missing: Tensor | None) -> Tensor:
    if hidden is None or missing is None:
        return cast(Tensor, missing if hidden is None else hidden)
    return torch.maximum(hidden, missing)


def _normalized(cells: Tensor, observed: Tensor) -> Tensor:
    """Return the cells of each token minus their mean, divided by their standard deviation."""
    n = observed.sum(-1, keepdim=True).clamp_min(1)
    centred = (cells - (cells * observed).sum(-1, keepdim=True) / n) * observed
    variance = centred.square().sum(-1, keepdim=True) / n
    return centred * (variance + 1e-6).rsqrt()

"""What a variant may change: the hooks of training, and what is composed of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skae._fitting import resolve_auto
from skae._training_parameters import TrainingParameters
from skae.data import Batch, RowDataset
from skae.losses import LOSSES, Loss
from skae.training import AutoencoderModule, LayerSizes
from skae.training import _budget as budget


class Hooks(TrainingParameters):
    """Hooks with their defaults: an autoencoder that starts at PCA and minimises its loss.

    They take and return tensors in conditioned units, a batch of rows at a time, without reducing
    over rows; they draw randomness from ``batch.random`` only, read numbers from ``self``, and have
    no side effects.
    """

    n_components_: int  # set before all hooks but `_check`

    _init_name = "PCA"  # what training starts from, as users are told
    _loss_parameter = "loss"  # by which users choose it
    _frozen_params: tuple[str, ...] = ()  # hyperparameters that a fit that goes on cannot change

    def _check(self) -> None:
        """Raise ValueError where hyperparameters contradict each other."""

    def _auto_n_components(self, n_features: int) -> int:
        """Return the number of components that 'auto' stands for."""
        raise NotImplementedError

    def _training_dtype(self, dtype: np.dtype) -> torch.dtype:
        """Return the dtype to train in, for rows of a dtype."""
        return torch.get_default_dtype()

    def _layer_sizes(self, n_features: int) -> LayerSizes:
        """Return the widths of what the networks see and answer; `n_components_` is resolved."""
        k = self.n_components_
        return LayerSizes(n_inputs=n_features, n_code=k, n_components=k, n_outputs=n_features)

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

    def _tied(self) -> bool:
        """Tell whether the decoder's linear path is the encoder's, transposed."""
        return False

    def _warm_up(self) -> float:
        """Return the share of the training before which no epoch counts as the best."""
        return 0.0

    def _before_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        """Add parameters and buffers to the module, once before training."""

    def _added_tensors(self, widths: LayerSizes) -> dict[str, Tensor]:
        """Return what fitting adds to the module, on torch's meta device, by name.

        A file that lacks one of these parameters and buffers is refused.
        """
        return {}

    def _corrupt(self, module: AutoencoderModule, batch: Batch) -> Batch:
        """Return what the encoder is given in training."""
        return batch

    def _inputs(self, batch: Batch) -> Tensor:
        """Return the encoder's input, (n, n_inputs)."""
        return batch.x

    def _code(self, module: AutoencoderModule, h: Tensor) -> Tensor:
        """Return the deterministic code, (n, n_components), for the encoder's output."""
        return h

    def _sample(self, module: AutoencoderModule, batch: Batch, h: Tensor) -> Tensor:
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
        output = module.decode(self._sample(module, batch, h))
        return module.reconstruction_loss(output, batch) + self._penalty(module, batch, h, output)

    def _score(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        """Return the score of each row in X's units, (n,)."""
        output = module.decode(self._encode(module, batch))
        return -module.reconstruction_loss(output, batch) * module.scale**module.loss.power

    def _after_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        """Set further fitted attributes, once after training; may change the module."""

    def _before_resume(self, module: AutoencoderModule) -> None:
        """Undo what `_after_fit` changed in the module, before training goes on."""

    def _n_epochs(self, rows: RowDataset, steps_per_epoch: int, starts_at_pca: bool) -> int:
        """Return how many epochs to train for, at most."""
        return resolve_auto(self.max_iter, budget.max_iter(steps_per_epoch))

    # What estimators, and functions of fitted ones, are composed of.

    def _encoded(
        self, module: AutoencoderModule, rows: RowDataset
    ) -> Iterator[tuple[slice, Tensor]]:
        """Give the encoder's output for pieces of the training rows, with which rows they are."""
        for chunk in rows.gen_chunks():
            yield chunk, module.encode(self._inputs(rows[chunk]))

    def _encode(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        """Return the code of each row."""
        return self._code(module, module.encode(self._inputs(batch)))

    def _decode(self, module: AutoencoderModule, z: Tensor) -> Tensor:
        """Return what a code stands for, in conditioned units or, for counts and chances, X's."""
        return module.loss.link(module.decode(z))

    def _reconstruct(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        """Return the reconstruction of each row."""
        return self._decode(module, self._encode(module, batch))

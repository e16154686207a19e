"""What a variant may change: the hooks of training, and what is composed of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from inspect import signature
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skae._training_parameters import TrainingParameters
from skae.architectures import Architecture
from skae.data import Batch, Conditioning, RowDataset
from skae.losses import LOSSES, Loss
from skae.training import AutoencoderModule, LayerSizes, budget


class Hooks(TrainingParameters):
    """Hooks with their defaults: an autoencoder that starts at PCA and minimises its loss.

    This is the contract of those who write a variant. Hooks take and return tensors in conditioned
    units, one batch of samples at a time, without reducing over samples. They draw random numbers
    from ``batch.random`` only, read numbers from ``self`` (in hooks that run after ``fit``, those
    of the fit) and have no side effects, no code for a device, and no branch that depends on the
    values of a tensor, so that they run unchanged under ``torch.compile``, ``torch.func.vmap`` and
    in several processes. Hooks that need statistics of a batch, or of all samples, compute them by
    the methods of `Batch` and `RowDataset`, as these may be divided among processes. All
    autoencoders inherit from this class.

    Examples
    --------
    >>> import numpy as np
    >>> from skae.extension import Autoencoder
    >>> class SmallCode(Autoencoder):
    ...     def _penalty(self, module, batch, h, output):
    ...         return 0.1 * h.square().mean(1)
    >>> X = np.random.default_rng(0).normal(size=(50, 4))
    >>> SmallCode(2, max_iter=1, early_stopping=False, random_state=0).fit_transform(X).shape
    (50, 2)
    """

    n_components_: int  # set before all hooks except `_check`
    architecture_: Architecture | None
    best_epoch_: int
    feature_names_in_: NDArray
    initial_validation_loss_: float | None
    loss_curve_: list[float]
    loss_terms_: dict[str, list[float]]
    mean_: NDArray
    module_: AutoencoderModule
    n_features_in_: int
    n_iter_: int
    scale_: float
    validation_loss_curve_: list[float] | None

    _fit_params: dict[str, Any]  # hyperparameters of the fit that hooks may read
    _mean_loss: float
    _n_steps: int
    _one_pass: bool
    _optimizer: dict[str, Any]
    _spec: dict[str, Any]

    get_params: Callable[..., dict[str, Any]]
    _init_callback_context: Callable[..., Any]

    _init_name = "PCA"  # what training starts from, in messages
    _loss_parameter = "loss"  # name of the hyperparameter that chooses the loss
    _frozen_params: tuple[str, ...] = ()  # hyperparameters that must not change when a fit resumes
    _before_training: tuple[str, ...] = ()  # attributes that hooks of training do not read

    # ----------------------------------------------------------------------- before training

    def _check(self) -> None:
        """Raise ValueError where hyperparameters contradict each other."""

    def _auto_n_components(self, n_features: int) -> int:
        """Return the number of components that ``n_components='auto'`` stands for."""
        raise NotImplementedError

    def _training_dtype(self, dtype: np.dtype) -> torch.dtype:
        """Return the dtype to train in, for samples of a dtype."""
        return torch.get_default_dtype()

    def _layer_sizes(self, n_features: int) -> LayerSizes:
        """Return the numbers of inputs and outputs of the networks."""
        k = self.n_components_
        return LayerSizes(n_inputs=n_features, n_code=k, n_components=k, n_outputs=n_features)

    def _architecture(self) -> Architecture | None:
        """Return the architecture of the networks; None for linear shortcuts alone."""
        return None

    def _network_builder(self, architecture: Architecture | None) -> Any:
        """Return an object whose ``build`` returns the networks, by default the architecture."""
        return architecture

    def _loss(self) -> Loss:
        """Return the reconstruction loss."""
        return LOSSES["squared_error"]

    def _starts_from_pca(self) -> bool:
        """Return whether training starts from the principal components."""
        return True

    def _linear_shortcut(self) -> bool:
        """Return whether there is a linear path in parallel to each network."""
        return True

    def _tied(self) -> bool:
        """Return whether the decoder's linear path is the transpose of the encoder's."""
        return False

    def _warm_up(self) -> float:
        """Return the fraction of the training before which no epoch is a candidate for the best."""
        return 0.0

    def _n_epochs(self, rows: RowDataset, steps_per_epoch: int, starts_at_pca: bool) -> int:
        """Return the maximum number of epochs."""
        architecture = self._architecture()
        of = Architecture if architecture is None else architecture
        return budget.resolve_auto(self.max_iter, budget.max_iter(steps_per_epoch, *of._budget))

    def _held_out(self, n_samples: int, random_state: np.random.RandomState) -> NDArray:
        """Return the indices of the validation samples, by which the best epoch is chosen."""
        n_held_out = budget.n_held_out(n_samples, self.validation_fraction)
        if self.early_stopping == "auto":
            if n_samples < budget.MIN_EARLY_STOPPING_SAMPLES:
                n_held_out = 0
        elif not self.early_stopping:
            n_held_out = 0
        elif n_samples < 4:
            raise ValueError(
                f"early_stopping=True needs at least 4 samples, to hold out 2; got {n_samples}. "
                "Set early_stopping='auto' or False."
            )
        return random_state.permutation(n_samples)[:n_held_out]

    def _before_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        """Register parameters and buffers on the module, check the data; once before training."""

    def _training_data(
        self, rows: RowDataset, held_out: NDArray, random_state: np.random.RandomState
    ) -> RowDataset:
        """Return the dataset of the training, by default the samples.

        It has the same samples, and may have other targets; ``held_out`` are the indices of the
        validation samples.
        """
        return rows

    def _before_resume(self, module: AutoencoderModule, rows: RowDataset) -> None:
        """Prepare a fitted module for more training: undo what `_after_fit` changed in it."""

    def _added_tensors(self, layer_sizes: LayerSizes) -> dict[str, Tensor]:
        """Return the parameters and buffers that fitting adds to the module, by name.

        They are on torch's meta device. A file that lacks one of them is refused.
        """
        return {}

    # ----------------------------------------------------------------------------- training

    def _corrupt(self, module: AutoencoderModule, batch: Batch) -> Batch:
        """Return the batch that the encoder is given in training."""
        return batch

    def _inputs(self, batch: Batch) -> Tensor:
        """Return the inputs of the encoder, (n, n_inputs)."""
        return batch.x

    def _code(self, module: AutoencoderModule, h: Tensor) -> Tensor:
        """Return the deterministic code, (n, n_components), for the encoder's output h."""
        return h

    def _sample(self, module: AutoencoderModule, batch: Batch, h: Tensor) -> Tensor:
        """Return the code that is decoded in training, possibly stochastic."""
        return self._code(module, h)

    def _penalty(
        self, module: AutoencoderModule, batch: Batch, h: Tensor, output: Tensor
    ) -> Tensor | None:
        """Return the penalty of each sample, (n,), which is added to its loss; None is none."""
        return None

    def _objective(self, module: AutoencoderModule, batch: Batch) -> dict[str, Tensor]:
        """Return the terms whose sum training minimises, by name, each of shape (n,).

        The first one is the reconstruction loss.
        """
        h = module.encode(self._inputs(self._corrupt(module, batch)))
        output = module.decode(self._sample(module, batch, h))
        terms = {"reconstruction": module.reconstruction_loss(output, batch.as_target())}
        penalty = self._penalty(module, batch, h, output)
        return terms if penalty is None else terms | {"penalty": penalty}

    # ------------------------------------------------------------------------ after training

    def _after_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        """Set further fitted attributes, once after training; may change the module."""

    def _score(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        """Return the score of each sample in X's units, (n,); higher is better."""
        output = module.decode(self._encode(module, batch))
        return -module.reconstruction_loss(output, batch) * module.scale**module.loss.power

    # ------------------------------------- composed of hooks, for estimators and for functions

    def _encoded(
        self, module: AutoencoderModule, rows: RowDataset
    ) -> Iterator[tuple[slice, Tensor]]:
        """Yield (slice, encoder output) for successive chunks of the training samples."""
        for chunk in rows.gen_chunks():
            yield chunk, module.encode(self._inputs(rows[chunk]))

    def _encode(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        """Return the code of each sample, (n, n_components)."""
        return self._code(module, module.encode(self._inputs(batch)))

    def _encode_to_learn(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        """Return the code of each sample while labels are learned from, possibly stochastic."""
        return self._encode(module, batch)

    def _decode(self, module: AutoencoderModule, z: Tensor) -> Tensor:
        """Return the reconstruction of codes, (n, n_features).

        It is in conditioned units; in X's units if the loss has its own domain (``power`` 0).
        """
        return module.loss.link(module.decode(z))

    def _reconstruct(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        """Return the reconstruction of each sample, (n, n_features)."""
        return self._decode(module, self._encode(module, batch))

    @property
    def _conditioning(self) -> Conditioning:
        return Conditioning(self.mean_, self.scale_)

    def _own_parameters(self) -> dict[str, Any]:
        """Return the hyperparameters that hooks may read: all except those of training."""
        return {name: getattr(self, name) for name in self._own_parameter_names()}

    @classmethod
    def _own_parameter_names(cls) -> list[str]:
        training = {field.name for field in fields(TrainingParameters)} | {"architecture"}
        names = signature(cls).parameters
        return [name for name in sorted(names) if name not in training - {"n_components"}]

"""The samples and the random numbers that an objective is given."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from skae.data._random import Random

NO_RANDOM = cast(Random, None)  # outside of training, where nothing is drawn


class Batch(NamedTuple):
    """A batch of samples, in conditioned units.

    Parameters
    ----------
    x : Tensor of shape (n, d)
        The samples, 0 (the mean) where a value is missing.
    observed : Tensor of shape (n, d) or None
        1 where a value is observed, 0 where it is missing; None if all are observed.
    weight : Tensor of shape (n,)
        Weights of the samples.
    progress : Tensor of shape ()
        Completed fraction of the training.
    context : Tensor of shape (n, c) or None, default=None
        Further inputs of the encoder, set by the hook ``_corrupt``.
    random : Random, default=None
        Random numbers for objectives; None outside of training.
    target : Tensor of shape (n, d) or None, default=None
        What the reconstruction is compared with, if that is not ``x``.
    target_observed : Tensor of shape (n, d) or None, default=None
        1 where a value of the target is observed, 0 where it is missing.

    Examples
    --------
    >>> import torch
    >>> from skae.extension import Batch
    >>> batch = Batch(torch.zeros(5, 3), None, torch.ones(5), torch.tensor(0.0))
    >>> batch._replace(x=batch.x + 1).x.mean()  # as a hook that corrupts samples does
    tensor(1.)
    """

    x: Tensor
    observed: Tensor | None
    weight: Tensor
    progress: Tensor
    context: Tensor | None = None
    random: Random = NO_RANDOM
    target: Tensor | None = None
    target_observed: Tensor | None = None

    def as_target(self) -> Batch:
        """Return the batch that a reconstruction is compared with.

        Returns
        -------
        batch : Batch
            The targets of the samples if there are any, otherwise the samples.
        """
        if self.target is None:
            return self
        return self._replace(x=self.target, observed=self.target_observed)

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on a device; the copy is asynchronous from pinned memory.

        Parameters
        ----------
        device : torch.device or str
            The device.

        Returns
        -------
        batch : Batch
            The batch there.
        """
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=True)
            for name, value in self._asdict().items()
            if isinstance(value, Tensor)
        }
        return self._replace(**moved)

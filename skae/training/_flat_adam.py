"""AdamW for all weights of a network at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

OPTIONS = ("amsgrad", "maximize", "capturable", "differentiable")  # that are not supported
MOMENTS = ("exp_avg", "exp_avg_sq")
GROUP_OPTIONS = ("lr", "weight_decay", "betas", "eps")


def update(
    weights: Tensor,
    means: Tensor,
    squares: Tensor,
    count: Tensor,
    gradient: Tensor,
    *,
    lr: float,
    weight_decay: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> None:
    """Take a step of torch's fused AdamW: change weights, moments and the number of steps."""
    count += 1
    torch._fused_adamw_(  # without the checks of torch.optim, which take longer than the step
        [weights],
        [gradient],
        [means],
        [squares],
        [],
        [count],
        lr=lr,
        beta1=betas[0],
        beta2=betas[1],
        weight_decay=weight_decay,
        eps=eps,
        amsgrad=False,
        maximize=False,
    )


class FlatAdamW:
    """Steps of an optimiser that has taken one, with the weights of each group as one vector.

    Weights and moments become parts of these vectors until `end`, so that a step is a few
    operations whatever the number of layers.

    Parameters
    ----------
    optimizer : torch.optim.AdamW
    """

    def __init__(self, optimizer: torch.optim.AdamW):
        self.optimizer = optimizer
        # Weights that the objective does not depend on have no moments, and stay as they are.
        used = [
            (g, [w for w in g["params"] if w in optimizer.state]) for g in optimizer.param_groups
        ]
        self.groups = [group for group, weights in used if weights]
        self.weights = [weights for _, weights in used if weights]
        self.vectors = [[_joined(own) for own in self._tensors(ws)] for ws in self.weights]
        self.counts = [optimizer.state[own[0]]["step"].clone() for own in self.weights]

    @staticmethod
    def supports(optimizer: torch.optim.Optimizer) -> bool:
        """Whether steps are those of the optimiser."""
        return type(optimizer) is torch.optim.AdamW and all(
            group["fused"] and not any(group[option] for option in OPTIONS)
            for group in optimizer.param_groups
        )

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Take a step, given the gradient of the weights of each group as one vector."""
        for group, vectors, count, gradient in zip(
            self.groups, self.vectors, self.counts, gradients, strict=True
        ):
            weights, means, squares = vectors
            options = {name: group[name] for name in GROUP_OPTIONS}
            update(weights, means, squares, count, gradient, **options)

    def write_counts(self) -> None:
        """Write the number of steps into the optimiser."""
        for weights, count in zip(self.weights, self.counts, strict=True):
            for weight in weights:
                self.optimizer.state[weight]["step"].copy_(count)

    def end(self) -> None:
        """Give weights and moments memory of their own."""
        self.write_counts()
        for weights in self.weights:
            for tensor in (t for own in self._tensors(weights) for t in own):
                tensor.data = tensor.data.clone()

    def _tensors(self, weights: list[Tensor]) -> list[list[Tensor]]:
        """Return the weights, and each of their moments."""
        return [weights, *([self.optimizer.state[w][m] for w in weights] for m in MOMENTS)]


def _joined(tensors: list[Tensor]) -> Tensor:
    """Return a vector of all values, of which the tensors become parts."""
    vector = torch.cat([tensor.detach().flatten() for tensor in tensors])
    parts = vector.split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.data = part.view_as(tensor)
    return vector

"""The criteria by name."""

from __future__ import annotations

from collections.abc import Sequence

from skae.outlier._code_criteria import MahalanobisDistance, NegativeLogLikelihood, NeighborDistance
from skae.outlier._criterion import Criterion
from skae.outlier._loss_criteria import DenoisingLoss, ReconstructionLoss, StandardizedLoss
from skae.outlier._tail_criterion import TailProbability

CRITERIA: dict[str, type[Criterion]] = {
    criterion.name: criterion
    for criterion in (
        ReconstructionLoss,
        StandardizedLoss,
        DenoisingLoss,
        TailProbability,
        MahalanobisDistance,
        NeighborDistance,
        NegativeLogLikelihood,
    )
}
AUTO = ("denoising", "tails", "neighbors")


def resolve_method(method: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of the criteria that a detector's ``method`` stands for.

    Raises
    ------
    ValueError
        If they are not the names of different criteria, or do not combine.
    """
    if isinstance(method, str) and method == "auto":
        return AUTO
    names = (method,) if isinstance(method, str) else tuple(method)
    if not names or len(set(names)) < len(names) or any(name not in CRITERIA for name in names):
        raise ValueError(
            f"method must be 'auto', one of {sorted(CRITERIA)}, or several different of these; "
            f"got {method!r}."
        )
    if "likelihood" in names and len(names) > 1:
        raise ValueError(
            "method='likelihood' is a logarithm, which does not combine with other criteria; "
            f"use it alone; got {method!r}."
        )
    return names


def make_criterion(name: str, n_neighbors: int = 5) -> Criterion:
    """Return a criterion, unfitted."""
    return NeighborDistance(n_neighbors) if name == "neighbors" else CRITERIA[name]()

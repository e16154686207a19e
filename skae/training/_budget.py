"""How long to train, in what batches, with how many rows held out: one rule for all data.

Gradient steps, not epochs, are what a fit needs and what it costs, so the rule counts steps:

=================  ============================================================================
batch size         a sixteenth of the training rows, at least 16 and at most 128
epochs             as many as make 4,000 steps, and at least 20
held-out rows      ``validation_fraction`` of the rows, or 64 if that is more, but never more
                   than a quarter of them
early stopping     from 8 rows on
patience           30 % of the epochs
=================  ============================================================================
"""

from __future__ import annotations

from typing import Any

STEPS = 4000
EPOCHS = 20
BATCH = (16, 128)
HELD_OUT = 64
ENOUGH_ROWS = 8
PATIENCE = 0.3


def batch_size(n_rows: int) -> int:
    """Return the batch size for so many training rows."""
    low, high = BATCH
    return min(max(n_rows // 16, low), high)


def max_iter(steps_per_epoch: int) -> int:
    """Return the epochs, each of so many steps."""
    return max(round(STEPS / steps_per_epoch), EPOCHS)


def n_held_out(n_rows: int, fraction: float) -> int:
    """Return how many of so many rows to hold out."""
    return max(2, min(max(round(fraction * n_rows), HELD_OUT), n_rows // 4))


def patience(max_iter: int) -> int:
    """Return the epochs without improvement after which to stop."""
    return max(1, round(PATIENCE * max_iter))


def resolve_auto(value: Any, auto: int) -> int:
    """Return the value of a hyperparameter, or what 'auto' stands for."""
    return auto if value == "auto" else int(value)  # torch refuses numpy's integers

"""The rule for the batch size, the number of epochs and the validation samples.

Both the quality and the cost of a fit depend on the number of gradient steps, so the rule counts
steps rather than epochs:

==================  ===========================================================================
batch size          a sixteenth of the training samples, at least 16 and at most 128
epochs              the number that makes 4,000 steps, and at least 20; fewer with some
                    architectures
validation samples  ``validation_fraction`` of the samples, at least 64, but at most a quarter of
                    them
early stopping      from 8 samples on
patience            30 % of the epochs; half of it, but at least 600 steps, while no epoch is
                    better than the start and the last one is worse
==================  ===========================================================================
"""

from __future__ import annotations

from typing import Any

BATCH_SIZE_RANGE = (16, 128)
MIN_VALIDATION_SAMPLES = 64
MIN_EARLY_STOPPING_SAMPLES = 8
PATIENCE_FRACTION = 0.3
MIN_START_PATIENCE_STEPS = 600


def batch_size(n_rows: int) -> int:
    """Return the batch size for a number of training samples."""
    low, high = BATCH_SIZE_RANGE
    return min(max(n_rows // 16, low), high)


def max_iter(steps_per_epoch: int, n_steps: int, min_epochs: int) -> int:
    """Return the maximum number of epochs for a number of steps per epoch."""
    return max(round(n_steps / steps_per_epoch), min_epochs)


def n_held_out(n_rows: int, fraction: float) -> int:
    """Return the number of validation samples for a number of samples."""
    return max(2, min(max(round(fraction * n_rows), MIN_VALIDATION_SAMPLES), n_rows // 4))


def patience(max_iter: int) -> int:
    """Return the number of epochs without improvement after which training stops."""
    return max(1, round(PATIENCE_FRACTION * max_iter))


def start_patience(max_iter: int, steps_per_epoch: int) -> int:
    """Return the same while no epoch is better than the start, and the last one is worse."""
    usual = patience(max_iter)
    return min(usual, max(-(-usual // 2), -(-MIN_START_PATIENCE_STEPS // steps_per_epoch)))


def resolve_auto(value: Any, auto: int) -> int:
    """Return the value of a hyperparameter; `auto` if it is 'auto'."""
    return auto if value == "auto" else int(value)  # torch refuses numpy's integers

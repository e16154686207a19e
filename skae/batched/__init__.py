"""Training of several models as one program."""

from skae.batched._gathering import call_together, outcomes_together
from skae.batched._together import train_together

__all__ = ["call_together", "outcomes_together", "train_together"]

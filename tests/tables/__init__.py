"""Tests of tables, and tables that tests share."""

import numpy as np


def curve(rng, n=400, d=6, noise=0.02):
    """Rows near a curved sheet of two dimensions, which no plane of two fits."""
    t = rng.uniform(-1, 1, size=(n, 2))
    lifted = np.column_stack([t, t**2, t[:, :1] * t[:, 1:], np.sin(2 * t)])[:, :d]
    return lifted + noise * rng.normal(size=lifted.shape)

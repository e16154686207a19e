"""How much computation fitting an imputer may take."""

from __future__ import annotations

from typing import NamedTuple

from skae.impute._conditional_gaussian import RIDGES


class ImputationBudget(NamedTuple):
    """Limits on the computation of `AutoencoderImputer.fit`."""

    min_network_rows: int = 32  # fewer rows are left to the Gaussian
    n_network_steps: int = 2500  # gradient steps of the network, about
    ridges: tuple[float, ...] = RIDGES  # candidates, in decreasing order
    n_folds: int = 4  # for choosing the ridge where no rows are held out
    n_metric_steps: int = 100  # gradient steps of the metrics of the nearest rows
    max_repeats: int = 50  # times that held-out rows are masked for the residual quantiles

"""How much computation fitting an imputer may take."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skae.impute._conditional_gaussian import MAX_EM_ITER, RIDGES
from skae.training import budget as training_budget

BATCH_SIZE = 128  # of the network
MIN_PASSES = 4


class ImputationBudget(NamedTuple):
    """Limits on the computation of `AutoencoderImputer.fit`."""

    min_network_rows: int = 32  # fewer rows are left to the Gaussian
    n_network_steps: int = 3000  # gradient steps of the network, about
    max_passes: int = 500  # of the network, through all rows
    ridges: tuple[float, ...] = RIDGES  # candidates, in decreasing order
    max_em_iter: int = MAX_EM_ITER  # for a ridge
    n_folds: int = 4  # for choosing the ridge where no rows are held out
    n_metric_steps: int = 100  # gradient steps of the metrics of the nearest rows
    max_repeats: int = 50  # times that held-out rows are masked for the residual quantiles

    def limited(self, max_iter: int | str) -> ImputationBudget:
        """Return the budget with at most so many iterations of each part."""
        if isinstance(max_iter, str):
            return self
        names = ("max_em_iter", "n_metric_steps")
        return self._replace(**{name: min(getattr(self, name), max_iter) for name in names})

    def one_of_several(self) -> ImputationBudget:
        """Return the budget of one of several imputers whose draws are pooled.

        Their draws differ by much more than what further training would improve.
        """
        limits = {
            "n_network_steps": 600,
            "max_passes": 100,
            "n_metric_steps": 30,
            "max_repeats": 25,
        }
        return self._replace(**{name: min(getattr(self, name), limits[name]) for name in limits})

    def n_passes(self, n_rows: int, max_iter: int | str) -> int:
        """Return how often the network is given each row."""
        steps = self.n_network_steps / -(-n_rows // BATCH_SIZE)
        auto = int(np.clip(round(steps), MIN_PASSES, self.max_passes))
        return training_budget.resolve_auto(max_iter, auto)

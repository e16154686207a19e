"""Correction of filled values by weighted means of the nearest training rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skae._schema import Check, array, persistent
from skae._sklearn_types import BaseEstimator
from skae.data import MAX_CHUNK_SIZE, gen_slices, subsample_evenly
from skae.tables import ColumnGroups, is_grouping

N_METRIC_STEPS = 100
METRIC_LEARNING_RATE = 0.2
N_QUERIES = 64  # rows that are predicted in a step
MAX_STORED_CELLS = 2**17
MAX_STEP_CELLS, MAX_STEP_ROWS = 2**14, 1024  # of the stored rows that a step predicts from
MIN_STORED_ROWS, MAX_STORED_ROWS = 256, 4096
CHUNK_CELLS = 2**17  # of the shares of stored rows, which then fit into the cache of a CPU
N_REFINEMENTS = 2  # each finds the nearest rows of the previously filled ones
N_CALIBRATION_FOLDS = 10  # of the observed values, masked in turn
STEP_SIZES = np.linspace(0, 1, 21)  # towards the neighbour estimate, to choose from
STEP_PRECISION = 64.0  # of the normal prior of the step size, whose mean is a half
MAX_DISTANCE = 1e4  # standard deviations, beyond which values are clipped
MIN_WEIGHT = 1e-30  # of an unknown value
MAX_METRIC_COLUMNS = 32  # the most correlated ones, which distances are measured in


@persistent
class NearestRows(BaseEstimator):
    r"""Shrink filled values towards a weighted mean of the nearest training rows.

    A value of variable j is predicted by the mean of the rows i in which it is known,

    .. math:: s_j(x) = \frac{\sum_i p_i x_{ij}}{\sum_i p_i}, \qquad
              p_i = w_i \Bigl(\epsilon_j + \sum_{c \ne j} m_{jc} (x_c - x_{ic})^2\Bigr)^{-\nu_j}.

    The metric m, the power :math:`\nu` and the offset :math:`\epsilon` minimise the squared error
    of known values, predicted from other rows. Unlike an exponential kernel, a power adapts to the
    density of the rows. With the previous estimate e and its variance v,

    .. math:: \hat x = e + \frac{v}{v + \tau_j} (s_j - e).

    Attributes
    ----------
    metric_ : ndarray of shape (d, d)
        Logarithms of m, in the row of a variable's first column; -inf where it is 0.
    power_, reach_ : ndarray of shape (d,)
        Logarithms of the power and of the offset.
    shrinkage_variance_ : ndarray of shape (d,)
        The variances tau of the neighbour estimates; infinite where these are of no use.
    group_start_ : ndarray of shape (d,)
        First column of the variable that each column belongs to, see `ColumnGroups`.
    filled_, known_ : ndarray of shape (n, d)
        The stored rows, and the mask of their observed values.
    weight_ : ndarray of shape (n,)
        Weights of the stored rows.
    """

    _fitted_schema: ClassVar[dict[str, Check]] = {
        "group_start_": lambda value, _: is_grouping(value, np.size(value)),
        "metric_": array("f", None, None),
        "power_": array("f", None),
        "reach_": array("f", None),
        "shrinkage_variance_": array("f", None),
        "filled_": array("f", None, None),
        "known_": array("b", None, None),
        "weight_": array("f", None),
    }

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        if "group_start_" in state:
            d, n = len(state["group_start_"]), len(state["weight_"])
            shapes = {
                "metric_": (d, d),
                "power_": (d,),
                "reach_": (d,),
                "shrinkage_variance_": (d,),
            }
            for name, shape in {**shapes, "filled_": (n, d), "known_": (n, d)}.items():
                if state[name].shape != shape:
                    raise ValueError(f"{name!r} of NearestRows is not of the shape of the others")

    @property
    def groups(self) -> ColumnGroups:
        """Groups of the columns."""
        return ColumnGroups(self.group_start_)

    def fit(
        self,
        filled: NDArray,
        known: NDArray,
        weight: NDArray,
        variance: NDArray,
        groups: ColumnGroups,
        rng: np.random.RandomState,
        *,
        n_steps: int = N_METRIC_STEPS,
        max_chunk_size: int = MAX_CHUNK_SIZE,
        tick: Callable[[str], None] = lambda name: None,
    ) -> Self:
        """Learn the metrics from standardised, filled rows, and store these."""
        d = filled.shape[1]
        self.group_start_ = groups.group_start
        self.metric_ = np.zeros((d, d), np.float32)
        self.power_, self.reach_ = np.zeros((2, d), np.float32)
        self.shrinkage_variance_ = np.full(d, 0.5)
        generator = torch.Generator().manual_seed(rng.randint(np.iinfo(np.int32).max))
        self.store(filled, known, weight)
        self._fit_metrics(generator, n_steps, max_chunk_size, tick)
        return self.store(self.correct(filled, ~known, variance), known, weight)

    def store(self, filled: NDArray, known: NDArray, weight: NDArray) -> Self:
        """Set the rows among which the nearest ones are searched."""
        some = subsample_evenly(np.arange(len(filled)), n_stored_rows(filled.shape[1]))
        self.filled_, self.weight_ = (a[some].astype(np.float32) for a in (filled, weight))
        self.known_ = known[some]
        return self

    def correct(
        self,
        estimate: NDArray,
        missing: NDArray,
        variance: NDArray,
        n_refinements: int = N_REFINEMENTS,
    ) -> NDArray:
        """Return filled rows with their missing values shrunk, given the previous estimate."""
        v = self.groups.mean(variance)  # so that probabilities still add up to 1
        weight = np.where(missing, v / (v + self.shrinkage_variance_), 0)
        filled = estimate
        for _ in range(n_refinements):
            filled = estimate + weight * (self.neighbor_estimate(filled, missing) - estimate)
        return filled

    def neighbor_estimate(self, rows: NDArray, missing: NDArray) -> NDArray:
        """Return filled rows with missing values replaced by means of the nearest rows.

        Rows without an observed value, and variables without a known value in the stored rows,
        stay as they are.
        """
        stored = torch.from_numpy(self.filled_).clamp(-MAX_DISTANCE, MAX_DISTANCE)
        x = torch.from_numpy(rows).float().clamp(-MAX_DISTANCE, MAX_DISTANCE)
        result, known = rows.copy(), self.known_
        has_known = ~missing.all(axis=1)
        for columns in self.groups.slices():
            j = columns.start
            candidates = np.flatnonzero(known[:, j])
            near = np.flatnonzero(np.isfinite(self.metric_[j]))
            index = np.flatnonzero(missing[:, j] & has_known & bool(len(candidates)))
            if not len(index):
                continue
            keys = stored[candidates[:, None], near][None]
            log_weight = torch.from_numpy(self.weight_[candidates]).log()[None]
            learned = [
                torch.tensor(a)
                for a in (self.metric_[[j]][:, near], self.power_[[j]], self.reach_[[j]])
            ]
            for chunk in gen_slices(len(index), max(1, CHUNK_CELLS // len(candidates))):
                some = index[chunk]
                shares = _shares(learned, keys, log_weight, x[some[:, None], near][None])[0]
                result[some, columns] = (shares @ stored[candidates, columns]).numpy()
        return result

    def calibrate(
        self,
        complete: Callable[[NDArray], NDArray],
        variance: Callable[[NDArray], NDArray],
        Z: NDArray,
        rng: np.random.RandomState,
    ) -> Self:
        r"""Choose the shrinkage variances by incomplete rows that were not learned from.

        Each observed value is masked once. Of several values, the most likely :math:`\tau_j` is
        chosen, assuming normal errors of one variance and a normal prior of the step size, with
        mean 1/2 and standard deviation 1/8, for a value of mean variance.

        Parameters
        ----------
        complete, variance : callable
            Return filled rows and conditional variances of missing values, given rows with NaN.
        Z : ndarray of shape (n, d)
            The rows; NaN marks a missing value.
        rng : RandomState
            Source of the masks.
        """
        fold = rng.randint(N_CALIBRATION_FOLDS, size=Z.shape)[:, self.group_start_]
        masked = np.concatenate([~np.isnan(Z) & (fold == i) for i in range(N_CALIBRATION_FOLDS)])
        Z = np.tile(Z, (N_CALIBRATION_FOLDS, 1))
        rows = np.where(masked, np.nan, Z)
        missing, estimate, v = np.isnan(rows), complete(rows), variance(rows)
        neighbors = self.neighbor_estimate(self.correct(estimate, missing, v), missing)
        direction, residual, v = neighbors - estimate, Z - estimate, self.groups.mean(v)
        for columns in self.groups.slices():
            some = masked[:, columns.start]
            self.shrinkage_variance_[columns] = shrinkage_variance(
                direction[some, columns], residual[some, columns], v[some, columns]
            )
        return self

    def _fit_metrics(
        self,
        generator: torch.Generator,
        n_steps: int,
        max_chunk_size: int,
        tick: Callable[[str], None],
    ) -> None:
        """Learn the metrics of all variables, those with equally many columns at once."""
        n, d = self.filled_.shape
        near = self._nearest_columns()
        # As many known values of each variable as if nothing were missing, within limits.
        share = max(0.25, self.known_.mean())
        n_keys = min(int(min(MAX_STEP_CELLS // d + 32, MAX_STEP_ROWS) / share), n // 2)
        n_queries = int(N_QUERIES / share)
        n_at_once = max(1, max_chunk_size // max(1, n_queries * n_keys))
        starts, sizes = self.groups.starts, self.groups.sizes
        self.metric_[:] = -np.inf
        for size in np.unique(sizes):
            same = starts[sizes == size]
            for chunk in gen_slices(len(same), n_at_once):
                n_drawn = (n_keys, n_queries)
                self._fit_metrics_of(same[chunk], int(size), near, n_drawn, n_steps, generator)
                tick("metrics")

    def _nearest_columns(self) -> NDArray:
        """Return the columns most correlated with each variable, in the row of its first."""
        z = self.filled_ - np.average(self.filled_, axis=0, weights=self.weight_)
        z = z * np.sqrt(self.weight_)[:, None]
        z = z / np.maximum(np.linalg.norm(z, axis=0), np.finfo(np.float32).tiny)
        related = np.abs(z.T @ z)
        starts = self.groups.starts
        related[starts] = np.maximum.reduceat(related, starts, axis=0)
        related[self.group_start_[:, None] == self.group_start_] = -1
        n_near = min(MAX_METRIC_COLUMNS, len(related) - int(self.groups.sizes.max()))
        return np.sort(np.argsort(-related, axis=1, kind="stable")[:, :n_near], axis=1)

    def _fit_metrics_of(
        self,
        starts: NDArray,
        size: int,
        near: NDArray,
        n_drawn: tuple[int, int],
        n_steps: int,
        generator: torch.Generator,
    ) -> None:
        """Learn the metrics of some variables by gradient steps, on random rows."""
        n_keys, n_queries = n_drawn
        stored = torch.from_numpy(self.filled_).clamp(-MAX_DISTANCE, MAX_DISTANCE)
        # (variables, rows, ...)
        x = stored[:, near[starts]].transpose(0, 1)
        target = stored[:, starts[:, None] + np.arange(size)].transpose(0, 1)
        weight = torch.from_numpy((self.weight_[:, None] * self.known_[:, starts]).T.copy())
        initial = np.zeros((len(starts), x.shape[2])), np.full(len(starts), np.log(3.0))
        learned = [
            torch.tensor(value, dtype=x.dtype).requires_grad_()
            for value in (*initial, np.full(len(starts), -2.0))
        ]
        optimizer = torch.optim.Adam(learned)
        for step in range(n_steps if n_keys else 0):
            optimizer.param_groups[0]["lr"] = METRIC_LEARNING_RATE * (1 - step / n_steps)
            order = torch.randperm(len(stored), generator=generator)
            keys, queries = order[:n_keys], order[n_keys : n_keys + n_queries]
            # Unknown values are ignored if there is any known one.
            log_weight = weight[:, keys].clamp_min(MIN_WEIGHT).log()
            shares = _shares(learned, x[:, keys], log_weight, x[:, queries])
            error = (shares @ target[:, keys] - target[:, queries]).square().sum(2)
            w = weight[:, queries]
            loss = ((error * w).sum(1) / w.sum(1).clamp_min(MIN_WEIGHT)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        metric, self.power_[starts], self.reach_[starts] = (a.detach().numpy() for a in learned)
        self.metric_[starts[:, None], near[starts]] = metric


def _shares(learned: Sequence[Tensor], keys: Tensor, log_weight: Tensor, x: Tensor) -> Tensor:
    """Return the normalised weights of stored rows in predicting others, (variables, n, m).

    Rows x, (variables, n, columns), and the stored rows have the columns of the metrics.
    """
    metric, power, reach = learned
    m = metric.exp()[:, None]
    squared = torch.baddbmm((keys**2 * m).sum(2)[:, None], x * m, keys.mT, alpha=-2)
    squared = (squared + (x**2 * m).sum(2)[:, :, None]).clamp_min(0)
    power, reach = power.exp()[:, None, None], reach.exp()[:, None, None]
    return (log_weight[:, None] - power * (reach + squared).log()).softmax(dim=2)


def n_stored_rows(n_features: int) -> int:
    """Return the number of rows that are stored, at most."""
    return int(np.clip(MAX_STORED_CELLS // n_features, MIN_STORED_ROWS, MAX_STORED_ROWS))


def shrinkage_variance(direction: NDArray, residual: NDArray, variance: NDArray) -> float:
    """Return the most likely tau such that v / (v + tau) times the direction is the residual."""
    typical = variance.mean() if variance.size else 1.0
    with np.errstate(divide="ignore"):
        candidates = typical * (1 / STEP_SIZES - 1)
    squares = [
        ((residual - variance / (variance + tau) * direction) ** 2).sum() for tau in candidates
    ]
    nll = len(residual) / 2 * np.log(np.maximum(squares, np.finfo(np.float64).tiny))
    return float(candidates[np.argmin(nll + STEP_PRECISION / 2 * (STEP_SIZES - 0.5) ** 2)])

"""What rows that are alike hold where a row has a hole."""

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
from skae.impute._table_encoder import blocks, is_grouping

STEPS = 100  # that the metric of each variable is learned in
STEP = 0.2  # size of the first, in logarithms
QUERIES = 128  # rows that are foretold in a step
MAX_CELLS = 2**17  # of the rows that are kept; an eighth of it, of those of a step
ROWS = (256, 8192)  # that are kept, at least and at most, if there are so many
ROUNDS = 2  # of filling, with neighbours found by what the former one filled
FOLDS = 10  # in which observed cells are hidden, to learn how far to trust
PARTS = np.linspace(0, 1, 21)  # of the way to rows alike, to choose from
PRECISION = 64.0  # of the expectation that half the way is best
FAR = 1e4  # standard deviations that distances are measured to, against overflow
TINY = 1e-30  # weight of an unknown cell
NEAR = 32  # columns that the distance for a variable is measured in: the most correlated ones


@persistent
class Neighbors(BaseEstimator):
    r"""Fill holes by what rows alike hold, as far as that is to be trusted.

    A cell of variable j is foretold by the mean of the rows i that know it,

    .. math:: s_j(x) = \frac{\sum_i p_i x_{ij}}{\sum_i p_i}, \qquad
              p_i = w_i \Bigl(\epsilon_j + \sum_{c \ne j} m_{jc} (x_c - x_{ic})^2\Bigr)^{-\nu_j},

    with the metric m, the power :math:`\nu` and the reach :math:`\epsilon` such that the squared
    error of known cells, foretold by other rows, is least. Powers of the distance, unlike
    exponentials, weigh near rows alike where rows are dense and where they are not. What was
    foretold otherwise, e, has a variance v, by which the two are weighed:

    .. math:: \hat x = e + \frac{v}{v + \tau_j} (s_j - e).

    Attributes
    ----------
    metric_ : ndarray of shape (d, d)
        Logarithms of m, in the row of a variable's first column; -inf where it is 0.
    power_, reach_ : ndarray of shape (d,)
        Logarithms.
    shrinkage_variance_ : ndarray of shape (d,)
        The variances tau of what rows alike hold; infinite where they tell nothing.
    group_start_ : ndarray of shape (d,)
        For each column the first one of its variable; a variable has one column, or one per
        category.
    filled_, known_ : ndarray of shape (n, d)
        The rows, and which of their cells were observed.
    weight_ : ndarray of shape (n,)
        Theirs.
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
                    raise ValueError(f"{name!r} of Neighbors is not of the shape of the others")

    def fit(
        self,
        filled: NDArray,
        known: NDArray,
        weight: NDArray,
        variance: NDArray,
        group_start: NDArray,
        rng: np.random.RandomState,
        tick: Callable[[str], None] = lambda name: None,
    ) -> Self:
        """Learn from standardised, filled rows which ones are nearest, and keep them."""
        d = filled.shape[1]
        self.group_start_ = group_start
        self.metric_ = np.zeros((d, d), np.float32)
        self.power_, self.reach_ = np.zeros((2, d), np.float32)
        self.shrinkage_variance_ = np.full(d, 0.5)
        generator = torch.Generator().manual_seed(rng.randint(np.iinfo(np.int32).max))
        self.keep(filled, known, weight)
        self._learn(generator, tick)
        return self.keep(self.fill(filled, ~known, variance), known, weight)

    def keep(self, filled: NDArray, known: NDArray, weight: NDArray) -> Self:
        """Set the rows that others are filled by."""
        some = subsample_evenly(np.arange(len(filled)), n_rows(filled.shape[1]))
        self.filled_, self.weight_ = (a[some].astype(np.float32) for a in (filled, weight))
        self.known_ = known[some]
        return self

    def fill(self, answer: NDArray, holes: NDArray, variance: NDArray) -> NDArray:
        """Return rows filled, given the same with what was foretold otherwise in their holes."""
        v = self._by_variable(variance)
        weight = np.where(holes, v / (v + self.shrinkage_variance_), 0)
        filled = answer
        for _ in range(ROUNDS):
            filled = answer + weight * (self.alike(filled, holes) - answer)
        return filled

    def alike(self, rows: NDArray, holes: NDArray) -> NDArray:
        """Return filled rows with what rows alike hold in the holes, if anything is known."""
        held, known = torch.from_numpy(self.filled_).clamp(-FAR, FAR), self.known_
        x, answer = torch.from_numpy(rows).float().clamp(-FAR, FAR), rows.copy()
        is_known = ~holes.all(axis=1)
        for columns in blocks(self.group_start_):
            j = columns.start
            mine = np.flatnonzero(known[:, j])
            near = np.flatnonzero(np.isfinite(self.metric_[j]))
            index = np.flatnonzero(holes[:, j] & is_known & bool(len(mine)))
            if not len(index):
                continue
            keys = held[mine[:, None], near][None]
            log_weight = torch.from_numpy(self.weight_[mine]).log()[None]
            learned = [
                torch.tensor(a)
                for a in (self.metric_[[j]][:, near], self.power_[[j]], self.reach_[[j]])
            ]
            for chunk in gen_slices(len(index), max(1, MAX_CHUNK_SIZE // len(mine))):
                some = index[chunk]
                shares = _shares(learned, keys, log_weight, x[some[:, None], near][None])[0]
                answer[some, columns] = (shares @ held[mine, columns]).numpy()
        return answer

    def compare(
        self,
        foretell: Callable[[NDArray], NDArray],
        variance: Callable[[NDArray], NDArray],
        Z: NDArray,
        rng: np.random.RandomState,
    ) -> Self:
        r"""Learn how far to trust, from rows with holes that were not learned from.

        Each observed cell is hidden once. Of several values, the likeliest one of :math:`\tau_j`
        is chosen, with normal errors of one variance, and with half the way expected to be best
        (with a standard deviation of an eighth) for a cell of mean variance.
        """
        fold = rng.randint(FOLDS, size=Z.shape)[:, self.group_start_]
        hidden = np.concatenate([~np.isnan(Z) & (fold == i) for i in range(FOLDS)])
        Z = np.tile(Z, (FOLDS, 1))
        rows = np.where(hidden, np.nan, Z)
        holes, answer, v = np.isnan(rows), foretell(rows), variance(rows)
        toward, away = self.alike(self.fill(answer, holes, v), holes) - answer, Z - answer
        v = self._by_variable(v)
        for columns in blocks(self.group_start_):
            of = hidden[:, columns.start]
            self.shrinkage_variance_[columns] = doubt(
                toward[of, columns], away[of, columns], v[of, columns]
            )
        return self

    def _learn(self, generator: torch.Generator, tick: Callable[[str], None]) -> None:
        """Learn the metrics of all variables, those of equal width in one program."""
        n, d = self.filled_.shape
        near = self._nearest_columns()
        # As many known cells of each variable as if nothing were missing, within reason.
        share = max(0.25, self.known_.mean())
        n_keys, n_asked = min(int(n_rows(d) / 8 / share), n // 2), int(QUERIES / share)
        firsts, sizes = np.unique(self.group_start_, return_counts=True)
        self.metric_[:] = -np.inf
        for size in np.unique(sizes):
            same = firsts[sizes == size]
            for chunk in gen_slices(len(same), max(1, MAX_CHUNK_SIZE // max(1, n_asked * n_keys))):
                self._learn_together(same[chunk], int(size), near, (n_keys, n_asked), generator)
                tick("metrics")

    def _nearest_columns(self) -> NDArray:
        """Return the columns most correlated with each variable, in the row of its first."""
        z = self.filled_ - np.average(self.filled_, axis=0, weights=self.weight_)
        z = z * np.sqrt(self.weight_)[:, None]
        z = z / np.maximum(np.linalg.norm(z, axis=0), np.finfo(np.float32).tiny)
        related = np.abs(z.T @ z)
        firsts, sizes = np.unique(self.group_start_, return_counts=True)
        related[firsts] = np.maximum.reduceat(related, firsts, axis=0)
        related[self.group_start_[:, None] == self.group_start_] = -1
        n_near = min(NEAR, len(related) - int(sizes.max()))
        return np.sort(np.argsort(-related, axis=1, kind="stable")[:, :n_near], axis=1)

    def _learn_together(
        self,
        firsts: NDArray,
        size: int,
        near: NDArray,
        n_drawn: tuple[int, int],
        generator: torch.Generator,
    ) -> None:
        n_keys, n_asked = n_drawn
        held = torch.from_numpy(self.filled_).clamp(-FAR, FAR)
        # (variables, rows, ...)
        x = held[:, near[firsts]].transpose(0, 1)
        target = held[:, firsts[:, None] + np.arange(size)].transpose(0, 1)
        weight = torch.from_numpy((self.weight_[:, None] * self.known_[:, firsts]).T.copy())
        start = np.zeros((len(firsts), x.shape[2])), np.full(len(firsts), np.log(3.0))
        learned = [
            torch.tensor(value, dtype=x.dtype).requires_grad_()
            for value in (*start, np.full(len(firsts), -2.0))
        ]
        optimizer = torch.optim.Adam(learned)
        for step in range(STEPS if n_keys else 0):
            optimizer.param_groups[0]["lr"] = STEP * (1 - step / STEPS)
            order = torch.randperm(len(held), generator=generator)
            keys, asked = order[:n_keys], order[n_keys : n_keys + n_asked]
            # What is unknown counts for nothing beside anything that is known.
            log_weight = weight[:, keys].clamp_min(TINY).log()
            shares = _shares(learned, x[:, keys], log_weight, x[:, asked])
            away = (shares @ target[:, keys] - target[:, asked]).square().sum(2)
            w = weight[:, asked]
            loss = ((away * w).sum(1) / w.sum(1).clamp_min(TINY)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        metric, self.power_[firsts], self.reach_[firsts] = (a.detach().numpy() for a in learned)
        self.metric_[firsts[:, None], near[firsts]] = metric

    def _by_variable(self, variance: NDArray) -> NDArray:
        """Return means over the columns of each variable, so that chances still add up to 1."""
        firsts, sizes = np.unique(self.group_start_, return_counts=True)
        return np.repeat(np.add.reduceat(variance, firsts, axis=1) / sizes, sizes, axis=1)


def _shares(learned: Sequence[Tensor], keys: Tensor, log_weight: Tensor, x: Tensor) -> Tensor:
    """Return the share of each row kept in predicting variables of others, (variables, n, m).

    Rows x, (variables, n, columns), and rows kept have the columns that distances are measured in.
    """
    metric, power, reach = learned
    m = metric.exp()[:, None]
    squared = (x**2 * m).sum(2)[:, :, None] + (keys**2 * m).sum(2)[:, None]
    squared = (squared - 2 * (x * m) @ keys.mT).clamp_min(0)
    power, reach = power.exp()[:, None, None], reach.exp()[:, None, None]
    return (log_weight[:, None] - power * (reach + squared).log()).softmax(dim=2)


def n_rows(n_features: int) -> int:
    """Return how many rows are kept."""
    return int(np.clip(MAX_CELLS // n_features, *ROWS))


def doubt(toward: NDArray, away: NDArray, variance: NDArray) -> float:
    """Return the variance by which to go toward rows alike, to be the least far away."""
    typical = variance.mean() if variance.size else 1.0
    with np.errstate(divide="ignore"):
        doubts = typical * (1 / PARTS - 1)
    left = [((away - variance / (variance + t) * toward) ** 2).sum() for t in doubts]
    unlikely = len(away) / 2 * np.log(np.maximum(left, np.finfo(np.float64).tiny))
    return float(doubts[np.argmin(unlikely + PRECISION / 2 * (PARTS - 0.5) ** 2)])

"""What rows that are alike hold where a row has a hole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from torch import Tensor

from skae._schema import Check, array, persistent
from skae._validation import slices
from skae.tasks._columns import blocks, is_grouping
from skae.training import CELLS, evenly

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
        Logarithms of m, in the row of a variable's first column.
    power_, reach_ : ndarray of shape (d,)
        Logarithms.
    doubt_ : ndarray of shape (d,)
        The variances tau of what rows alike hold; infinite where they tell nothing.
    leader_ : ndarray of shape (d,)
        For each column the first one of its variable; a variable has one column, or one per
        category.
    filled_, known_ : ndarray of shape (n, d)
        The rows, and which of their cells were observed.
    weight_ : ndarray of shape (n,)
        Theirs.
    """

    _fitted_schema: ClassVar[dict[str, Check]] = {
        "leader_": lambda value, _: is_grouping(value, np.size(value)),
        "metric_": array("f", None, None),
        "power_": array("f", None),
        "reach_": array("f", None),
        "doubt_": array("f", None),
        "filled_": array("f", None, None),
        "known_": array("b", None, None),
        "weight_": array("f", None),
    }

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        if "leader_" in state:
            d, n = len(state["leader_"]), len(state["weight_"])
            shapes = {"metric_": (d, d), "power_": (d,), "reach_": (d,), "doubt_": (d,)}
            for name, shape in {**shapes, "filled_": (n, d), "known_": (n, d)}.items():
                if state[name].shape != shape:
                    raise ValueError(f"{name!r} of Neighbors is not of the shape of the others")

    def fit(
        self,
        filled: NDArray,
        known: NDArray,
        weight: NDArray,
        variance: NDArray,
        leader: NDArray,
        rng: np.random.RandomState,
    ) -> Self:
        """Learn from standardised, filled rows which ones are alike, and keep them."""
        d = filled.shape[1]
        self.leader_ = leader
        self.metric_ = np.zeros((d, d), np.float32)
        self.power_, self.reach_ = np.zeros((2, d), np.float32)
        self.doubt_ = np.full(d, 0.5)
        generator = torch.Generator().manual_seed(rng.randint(np.iinfo(np.int32).max))
        self.keep(filled, known, weight)
        for columns in blocks(leader):
            self._learn(columns, generator)
        return self.keep(self.fill(filled, ~known, variance), known, weight)

    def keep(self, filled: NDArray, known: NDArray, weight: NDArray) -> Self:
        """Set the rows that others are filled by."""
        some = evenly(np.arange(len(filled)), n_rows(filled.shape[1]))
        self.filled_, self.weight_ = (a[some].astype(np.float32) for a in (filled, weight))
        self.known_ = known[some]
        return self

    def fill(self, answer: NDArray, holes: NDArray, variance: NDArray) -> NDArray:
        """Return rows filled, given the same with what was foretold otherwise in their holes."""
        v = self._by_variable(variance)
        weight = np.where(holes, v / (v + self.doubt_), 0)
        filled = answer
        for _ in range(ROUNDS):
            filled = answer + weight * (self.alike(filled, holes) - answer)
        return filled

    def alike(self, rows: NDArray, holes: NDArray) -> NDArray:
        """Return filled rows with what rows alike hold in the holes, if anything is known."""
        held, known = (torch.from_numpy(a) for a in (self.filled_, self.known_))
        x, weight, answer = torch.from_numpy(rows).float(), torch.tensor(self.weight_), rows.copy()
        told = ~holes.all(axis=1)
        for columns in blocks(self.leader_):
            j = columns.start
            mine = known[:, j]
            index = np.flatnonzero(holes[:, j] & told & bool(mine.any()))
            keys = held[mine]
            learned = [torch.tensor(a[j]) for a in (self.metric_, self.power_, self.reach_)]
            for piece in slices(len(index), max(1, CELLS // max(1, len(keys)))):
                some = index[piece]
                shares = _shares(columns, learned, keys, weight[mine], x[some])
                answer[some, columns] = (shares @ keys[:, columns]).numpy()
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
        fold = rng.randint(FOLDS, size=Z.shape)[:, self.leader_]
        hidden = np.concatenate([~np.isnan(Z) & (fold == i) for i in range(FOLDS)])
        Z = np.tile(Z, (FOLDS, 1))
        rows = np.where(hidden, np.nan, Z)
        holes, answer, v = np.isnan(rows), foretell(rows), variance(rows)
        toward, away = self.alike(self.fill(answer, holes, v), holes) - answer, Z - answer
        v = self._by_variable(v)
        for columns in blocks(self.leader_):
            of = hidden[:, columns.start]
            self.doubt_[columns] = doubt(toward[of, columns], away[of, columns], v[of, columns])
        return self

    def _learn(self, columns: slice, generator: torch.Generator) -> None:
        j = columns.start
        known = self.known_[:, j]
        x, weight = (torch.from_numpy(a[known]) for a in (self.filled_, self.weight_))
        start = np.zeros(x.shape[1]), np.log(3.0), -2.0
        learned = [torch.tensor(value, dtype=x.dtype).requires_grad_() for value in start]
        optimizer = torch.optim.Adam(learned)
        n_keys = min(n_rows(x.shape[1]) // 8, len(x) // 2)
        for step in range(STEPS if n_keys else 0):
            optimizer.param_groups[0]["lr"] = STEP * (1 - step / STEPS)
            order = torch.randperm(len(x), generator=generator)
            keys, asked = order[:n_keys], order[n_keys : n_keys + QUERIES]
            shares = _shares(columns, learned, x[keys], weight[keys], x[asked])
            away = shares @ x[keys, columns] - x[asked, columns]
            loss = away.square().sum(1) @ weight[asked] / weight[asked].sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self.metric_[j], self.power_[j], self.reach_[j] = (a.detach().numpy() for a in learned)

    def _by_variable(self, variance: NDArray) -> NDArray:
        """Return means over the columns of each variable, so that chances still add up to 1."""
        firsts, sizes = np.unique(self.leader_, return_counts=True)
        return np.repeat(np.add.reduceat(variance, firsts, axis=1) / sizes, sizes, axis=1)


def _shares(
    columns: slice,
    learned: Sequence[Tensor],
    keys: Tensor,
    weight: Tensor,
    x: Tensor,
) -> Tensor:
    """Return the share of each row kept in foretelling these columns of others, (n, m)."""
    metric, power, reach = learned
    others = torch.ones_like(metric)
    others[columns] = 0
    m = metric.exp() * others
    x, keys = x.clamp(-FAR, FAR), keys.clamp(-FAR, FAR)
    squared = (x**2 @ m)[:, None] + keys**2 @ m - 2 * (x * m) @ keys.T
    logits = weight.log() - power.exp() * (reach.exp() + squared.clamp_min(0)).log()
    return logits.softmax(dim=1)


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

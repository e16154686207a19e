"""What rows that are alike hold where a row has a hole."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skae._validation import slices
from skae.training import CELLS, evenly

STEPS = 50  # that each column's metric is learned in
STEP = 0.1  # size of the first, in logarithms
QUERIES = 128  # rows of a step that are foretold
MAX_CELLS = 2**17  # of the rows that are kept, and an eighth of it of those of a step
ROWS = (256, 8192)  # that are kept, at least and at most, if there are so many
FOLDS = 10  # in which observed cells are hidden, to learn whom to trust
ROUNDS = 2  # of filling rows, with neighbours found by what the former one filled
MOST = 1e4  # standard deviations that distances are measured to, against overflow
LEARNED = ("metric", "power", "reach")

State = dict[str, NDArray]


def learn(rows: NDArray, known: NDArray, weight: NDArray, rng: np.random.RandomState) -> State:
    r"""Learn for each column which rows are alike.

    A cell of column j is foretold by the mean of the rows i that know it,

    .. math:: s_j(x) = \frac{\sum_i p_i x_{ij}}{\sum_i p_i}, \qquad
              p_i = w_i \Bigl(\epsilon_j + \sum_{c \ne j} m_{jc} (x_c - x_{ic})^2\Bigr)^{-\nu_j},

    with the metric m, the power :math:`\nu` and the reach :math:`\epsilon` such that the squared
    error of known cells, each foretold by other rows, is least. Powers of the distance, not
    exponentials, weigh near rows alike where rows are dense and where they are not.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Standardised, filled rows.
    known : ndarray of shape (n, d)
        Which of their cells were observed.
    weight : ndarray of shape (n,)
    rng : RandomState

    Returns
    -------
    state : dict of ndarray
        ``metric`` (d, d), ``power`` and ``reach`` (d,), all in logarithms.
    """
    x, seen = torch.from_numpy(rows).float(), torch.from_numpy(known)
    heavy = torch.from_numpy(weight).float()
    d = x.shape[1]
    generator = torch.Generator().manual_seed(rng.randint(np.iinfo(np.int32).max))
    state: State = {"metric": np.zeros((d, d), np.float32)}
    state |= {name: np.zeros(d, np.float32) for name in ("power", "reach")}
    for j in range(d):
        metric = torch.zeros(d, requires_grad=True)
        power = torch.tensor(np.log(3.0), dtype=torch.float32, requires_grad=True)
        reach = torch.tensor(-2.0, requires_grad=True)
        optimizer = torch.optim.Adam([metric, power, reach])
        mine = torch.nonzero(seen[:, j])[:, 0]
        if len(mine) < 2:
            continue
        n_keys = min(_n_rows(d) // 8, len(mine) // 2)
        for step in range(STEPS):
            optimizer.param_groups[0]["lr"] = STEP * (1 - step / STEPS)
            order = mine[torch.randperm(len(mine), generator=generator)]
            keys, queries = order[:n_keys], order[n_keys : n_keys + QUERIES]
            share = _shares(x[keys], heavy[keys], j, metric, power, reach, x[queries])
            away = share @ x[keys, j] - x[queries, j]
            loss = away.square() @ heavy[queries] / heavy[queries].sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        for name, value in zip(LEARNED, (metric, power, reach), strict=True):
            state[name][j] = value.detach().numpy()
    return state


def keep(state: State, rows: NDArray, known: NDArray, weight: NDArray) -> State:
    """Return a state with the filled rows that others are to be filled by."""
    some = evenly(np.arange(len(rows)), _n_rows(rows.shape[1]))
    return state | {
        "rows": rows[some].astype(np.float32),
        "known": known[some],
        "weight": weight[some].astype(np.float32),
    }


def fill(state: State, answer: NDArray, holes: NDArray) -> NDArray:
    """Return rows whose holes are between what was foretold and what rows alike hold.

    Parameters
    ----------
    state : dict of ndarray
        What `learn` and `keep` return; with ``trust`` (d,), the part of the rows alike.
    answer : ndarray of shape (n, d)
        Rows, with what was foretold in their holes.
    holes : ndarray of shape (n, d)
        Where these are.
    """
    keys, known, weight = (torch.from_numpy(state[name]) for name in ("rows", "known", "weight"))
    columns = np.flatnonzero(holes.any(axis=0) & state["known"].any(axis=0))
    filled = answer
    for _ in range(ROUNDS):
        former, filled = torch.from_numpy(filled).float(), filled.copy()
        for j in columns:
            mine = known[:, j]
            metric, power, reach = (torch.from_numpy(state[name])[j] for name in LEARNED)
            shares = partial(_shares, keys[mine], weight[mine], int(j), metric, power, reach)
            index = np.flatnonzero(holes[:, j])
            for piece in slices(len(index), max(1, CELLS // int(mine.sum()))):
                some = index[piece]
                alike = (shares(former[some]) @ keys[mine, j]).numpy()
                foretold = answer[some, j]
                filled[some, j] = foretold + state["trust"][j] * (alike - foretold)
    return filled


def trust(
    state: State, foretell: Callable[[NDArray], NDArray], Z: NDArray, rng: np.random.RandomState
) -> NDArray:
    r"""Return which part of the way to rows alike is best for each column, (d,).

    Each observed cell x of rows that were not learned from is hidden once; it is foretold as e,
    and rows alike hold s. The part is the most likely a of

    .. math:: x - e = a (s - e) + N(0, \sigma^2), \qquad a \sim N(1/2, 1/16),

    between 0 and 1: about a half where few cells tell, none where e is exact.
    """
    fold = rng.randint(FOLDS, size=Z.shape)
    d = Z.shape[1]
    toward, away, cells = [], [], []
    for i in range(FOLDS):
        hidden = ~np.isnan(Z) & (fold == i)
        rows = np.where(hidden, np.nan, Z)
        answer = foretell(rows)
        halfway = fill(state | {"trust": np.full(d, 0.5)}, answer, np.isnan(rows))
        toward.append(np.where(hidden, 2 * (halfway - answer), 0))
        away.append(np.where(hidden, Z - answer, 0))
        cells.append(hidden)
    s, e, n = np.concatenate(toward), np.concatenate(away), np.concatenate(cells).sum(axis=0)
    together = _part(s.ravel(), e.ravel(), n.sum())
    return np.array([_part(s[:, j], e[:, j], n[j]) if n[j] >= 10 else together for j in range(d)])


def _part(toward: NDArray, away: NDArray, n: int) -> float:
    part, precision = 0.5, 16.0
    if not toward.any():
        return part
    for _ in range(20):
        variance = ((away - part * toward) ** 2).sum() / n
        if variance == 0:
            break
        a, b = toward @ away / variance, toward @ toward / variance
        part = float(np.clip((a + 0.5 * precision) / (b + precision), 0, 1))
    return part


def _shares(
    keys: Tensor, weight: Tensor, j: int, metric: Tensor, power: Tensor, reach: Tensor, x: Tensor
) -> Tensor:
    """Return what share each of the rows kept has in foretelling column j, (n, m)."""
    m = metric.exp() * (torch.arange(len(metric)) != j)
    x, keys = x.clamp(-MOST, MOST), keys.clamp(-MOST, MOST)
    squared = (x**2 @ m)[:, None] + keys**2 @ m - 2 * (x * m) @ keys.T
    logits = weight.log() - power.exp() * (reach.exp() + squared.clamp_min(0)).log()
    return logits.softmax(dim=1)


def _n_rows(n_features: int) -> int:
    return int(np.clip(MAX_CELLS // n_features, *ROWS))

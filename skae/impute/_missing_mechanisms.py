"""The mechanisms by which values are missing: masks of the cells to remove."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit

from skae._dataframes import infer_objects

LOG_ODDS_PER_STD = 1.5  # of a missing value, per standard deviation of what it depends on
TWO_PHASE_LOG_ODDS_PER_STD = 2.0  # this and the constants below: as in MissBench
SELF_MASKING_LOG_ODDS = (-2.0, -1.0, 1.0, 2.0)
COMPLETE_SHARE_OF_TWO_PHASES = 0.4
ROWS_PER_BLOCK = COLUMNS_PER_BLOCK = 3
MIN_POLARIZED_PROBABILITY = 0.05
N_ROW_CLUSTERS, N_COLUMN_CLUSTERS = 5, 4
MAX_LATENT_RANK = 4
N_HIDDEN_UNITS = 32


def _mcar(table: pd.DataFrame, fraction: float, rng: np.random.RandomState) -> NDArray:
    return rng.uniform(size=table.shape) < fraction


def _mcar_latent_factor(
    table: pd.DataFrame, fraction: float, rng: np.random.RandomState
) -> NDArray:
    n, d = table.shape
    rank = rng.randint(1, MAX_LATENT_RANK + 1)
    log_odds = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, d))
    log_odds += rng.normal(size=(n, 1)) + rng.normal(size=d)
    return _drawn_overall(log_odds, fraction, rng)


def _mcar_cluster(table: pd.DataFrame, fraction: float, rng: np.random.RandomState) -> NDArray:
    n, d = table.shape
    of_rows = rng.normal(size=N_ROW_CLUSTERS)[rng.randint(N_ROW_CLUSTERS, size=n)]
    of_columns = rng.normal(size=N_COLUMN_CLUSTERS)[rng.randint(N_COLUMN_CLUSTERS, size=d)]
    log_odds = of_rows[:, None] + of_columns + rng.normal(size=(n, d))
    return _drawn_overall(log_odds, fraction, rng)


def _mcar_panel(table: pd.DataFrame, fraction: float, rng: np.random.RandomState) -> NDArray:
    n, d = table.shape
    if fraction > 0.5:
        raise ValueError(
            "mechanism 'mcar_panel' keeps half of the values of a row on average, so fraction "
            f"must be at most 0.5; got {fraction}."
        )
    ends = rng.uniform(size=n) < 2 * fraction
    first = np.where(ends, rng.randint(1, d, size=n), d)
    return np.arange(d) >= first[:, None]


def _monotone(table: pd.DataFrame, fraction: float, rng: np.random.RandomState) -> NDArray:
    n, d = table.shape
    n_previous = np.arange(d)

    def excess(end: float) -> float:
        return float(np.mean(1 - (1 - end) ** n_previous)) - fraction

    if fraction >= 1 - 1 / d:
        raise ValueError(
            f"mechanism 'monotone' keeps the first of {d} columns, so fraction must be below "
            f"{1 - 1 / d:.3g}; got {fraction}."
        )
    # A smaller probability is within the error of the root.
    first = rng.geometric(max(brentq(excess, 0, 1), np.finfo(float).eps), size=n)
    return n_previous >= first[:, None]


def _mar(table: pd.DataFrame, fraction: float, rng: np.random.RandomState) -> NDArray:
    z = _scores(table)
    complete, others = _complete_and_other_columns(table.shape[1], rng)
    mixed = z[:, complete] @ rng.normal(size=(len(complete), len(others)))
    return _drawn_in(others, LOG_ODDS_PER_STD * _standard(mixed), fraction, z.shape, rng)


def _mar_neural(table: pd.DataFrame, fraction: float, rng: np.random.RandomState) -> NDArray:
    z = _scores(table)
    complete, others = _complete_and_other_columns(table.shape[1], rng)
    log_odds = LOG_ODDS_PER_STD * _random_network(z[:, complete], len(others), rng)
    return _drawn_in(others, log_odds, fraction, z.shape, rng)


def _mar_block(table: pd.DataFrame, fraction: float, rng: np.random.RandomState) -> NDArray:
    z = _scores(table)
    n, d = z.shape
    row_starts = _block_starts(n, max(1, n // ROWS_PER_BLOCK), rng)
    column_starts = _block_starts(d, max(2, d // COLUMNS_PER_BLOCK), rng)
    heights, widths = (np.diff(np.append(s, m)) for s, m in ((row_starts, n), (column_starts, d)))
    sums = np.add.reduceat(np.add.reduceat(z, row_starts, axis=0), column_starts, axis=1)
    means = sums / (heights[:, None] * widths)
    complete, others = _complete_and_other_columns(len(widths), rng)
    rows = np.repeat(np.arange(len(heights)), heights)
    # Repeated, so that the mean probability of the rows is the fraction, not that of the blocks.
    scores = _standard(_random_network(means[:, complete], len(others), rng)[rows])
    probabilities = _probabilities(LOG_ODDS_PER_STD * scores, fraction)
    missing = np.zeros((n, len(widths)), dtype=bool)
    missing[:, others] = rng.uniform(size=(len(heights), len(others)))[rows] < probabilities
    return np.repeat(missing, widths, axis=1)


def _mar_sequential(table: pd.DataFrame, fraction: float, rng: np.random.RandomState) -> NDArray:
    z, known = _scores(table), table.notna().to_numpy(dtype=bool)
    missing = np.empty(z.shape, dtype=bool)
    total, count = np.zeros(len(z)), np.zeros(len(z))
    for j in range(z.shape[1]):
        score = _standard((total / np.maximum(count, 1))[:, None])
        probability = _probabilities(LOG_ODDS_PER_STD * score, fraction)[:, 0]
        missing[:, j] = rng.uniform(size=len(z)) < probability
        observed = known[:, j] & ~missing[:, j]
        total += np.where(observed, z[:, j], 0)
        count += observed
    return missing


def _mar_two_phase(table: pd.DataFrame, fraction: float, rng: np.random.RandomState) -> NDArray:
    z = _scores(table)
    d = z.shape[1]
    order = rng.permutation(d)
    complete, others = np.split(order, [max(1, int(COMPLETE_SHARE_OF_TWO_PHASES * d))])
    score = _standard(z[:, complete] @ rng.normal(size=(len(complete), 1)))
    log_odds = TWO_PHASE_LOG_ODDS_PER_STD * score
    ends = rng.uniform(size=len(z)) < _probabilities(log_odds, fraction)[:, 0]
    missing = np.zeros(z.shape, dtype=bool)
    missing[np.ix_(ends, others)] = True
    return missing


def _mnar(table: pd.DataFrame, fraction: float, rng: np.random.RandomState) -> NDArray:
    log_odds = LOG_ODDS_PER_STD * _scores(table)
    return rng.uniform(size=table.shape) < _probabilities(log_odds, fraction)


def _mnar_self_masking(table: pd.DataFrame, fraction: float, rng: np.random.RandomState) -> NDArray:
    log_odds = _scores(table) * rng.choice(SELF_MASKING_LOG_ODDS, size=table.shape[1])
    return rng.uniform(size=table.shape) < _probabilities(log_odds, fraction)


def _mnar_censoring(table: pd.DataFrame, fraction: float, rng: np.random.RandomState) -> NDArray:
    quantiles = _quantiles(table, rng)
    is_upper = rng.uniform(size=table.shape[1]) < 0.5
    return np.where(is_upper, 1 - quantiles, quantiles) < fraction


def _mnar_polarization(table: pd.DataFrame, fraction: float, rng: np.random.RandomState) -> NDArray:
    return np.abs(2 * _quantiles(table, rng) - 1) < fraction


def _mnar_soft_polarization(
    table: pd.DataFrame, fraction: float, rng: np.random.RandomState
) -> NDArray:
    # The mean of |2 q - 1|^a over quantiles q is 1 / (1 + a), which gives the fraction.
    least = min(MIN_POLARIZED_PROBABILITY, fraction / 2, (1 - fraction) / 2)
    exponent = (1 - 2 * least) / (1 - least - fraction) - 1
    distance = np.abs(2 * _quantiles(table, rng) - 1) ** exponent
    return rng.uniform(size=table.shape) < 1 - least - (1 - 2 * least) * distance


def _complete_and_other_columns(d: int, rng: np.random.RandomState) -> tuple[NDArray, NDArray]:
    """Return a random half of the columns, which stay complete, and the others."""
    order = rng.permutation(d)
    return order[: d // 2], order[d // 2 :]


def _drawn_in(
    columns: NDArray,
    log_odds: NDArray,
    fraction: float,
    shape: tuple[int, ...],
    rng: np.random.RandomState,
) -> NDArray:
    """Return a mask of a table, drawn with mean `fraction` in each of some of its columns."""
    missing = np.zeros(shape, dtype=bool)
    missing[:, columns] = rng.uniform(size=log_odds.shape) < _probabilities(log_odds, fraction)
    return missing


def _drawn_overall(log_odds: NDArray, fraction: float, rng: np.random.RandomState) -> NDArray:
    """Return a mask drawn with mean `fraction` over all cells, not in each column."""
    probabilities = _probabilities(log_odds.reshape(-1, 1), fraction).reshape(log_odds.shape)
    return rng.uniform(size=log_odds.shape) < probabilities


def _random_network(z: NDArray, n_outputs: int, rng: np.random.RandomState) -> NDArray:
    """Return standardised outputs of a network with two hidden layers and random weights.

    It has no biases: the outputs for constant columns are exactly 0.
    """
    for n_units in (N_HIDDEN_UNITS, N_HIDDEN_UNITS):
        z = np.maximum(z @ rng.normal(size=(z.shape[1], n_units)), 0)
    return _standard(z @ rng.normal(size=(z.shape[1], n_outputs)))


def _block_starts(n: int, n_blocks: int, rng: np.random.RandomState) -> NDArray:
    """Return where blocks of random sizes start that n positions are divided into."""
    return np.append(0, np.sort(rng.choice(n - 1, n_blocks - 1, replace=False)) + 1)


def _quantiles(table: pd.DataFrame, rng: np.random.RandomState) -> NDArray:
    """Return which quantile of its column each value is, uniform over its rank; NaN if missing.

    Equal values are in random order, so that any fraction of a column can be cut off.
    """
    z, known = _scores(table), table.notna().to_numpy(dtype=bool)
    order = np.lexsort((rng.uniform(size=z.shape), np.where(known, z, np.inf)), axis=0)
    ranks = np.empty(z.shape)
    np.put_along_axis(ranks, order, np.arange(1.0, len(z) + 1)[:, None], axis=0)
    n_known = np.maximum(known.sum(axis=0), 1)
    return np.where(known, (ranks - rng.uniform(size=z.shape[1])) / n_known, np.nan)


def _scores(table: pd.DataFrame) -> NDArray:
    """Return the ranks of each column, standardised; missing values at the mean."""
    z = np.zeros(table.shape)
    for j in range(table.shape[1]):
        column = table.iloc[:, j]
        known = column.notna().to_numpy(dtype=bool)
        if known.any():
            ranks = _ranks(infer_objects(column[known]))
            z[known, j] = _standard(ranks[:, None])[:, 0]
    return z


def _ranks(column: pd.Series) -> NDArray:
    """Return the ranks of the values of a column without missing ones."""
    if isinstance(column.dtype, pd.CategoricalDtype) and not column.cat.ordered:
        column = column.astype(str)
    try:
        ranks = column.rank()
    except (TypeError, NotImplementedError):  # values without an order
        ranks = column.astype(str).rank()
    return ranks.to_numpy(dtype=np.float64)


def _standard(values: NDArray) -> NDArray:
    std = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(std > 0, std, 1)


def _probabilities(log_odds: NDArray, fraction: float) -> NDArray:
    """Return probabilities of mean `fraction` in each column, with log odds up to a constant."""
    reach = np.abs(log_odds).max() + abs(logit(fraction)) + 1
    probabilities = np.empty_like(log_odds)
    for j, column in enumerate(log_odds.T):

        def excess(shift: float, column: NDArray = column) -> float:
            return float(expit(shift + column).mean()) - fraction

        probabilities[:, j] = expit(brentq(excess, -reach, reach) + column)
    return probabilities


class Mechanism(NamedTuple):
    """A mechanism: how its mask is drawn, and of how many columns or more."""

    mask: Callable[[pd.DataFrame, float, np.random.RandomState], NDArray]
    min_columns: int = 1


MECHANISMS = {
    "mcar": Mechanism(_mcar),
    "mcar_latent_factor": Mechanism(_mcar_latent_factor),
    "mcar_cluster": Mechanism(_mcar_cluster),
    "mcar_panel": Mechanism(_mcar_panel, 2),
    "monotone": Mechanism(_monotone, 2),
    "mar": Mechanism(_mar, 2),
    "mar_neural": Mechanism(_mar_neural, 2),
    "mar_block": Mechanism(_mar_block, 2),
    "mar_sequential": Mechanism(_mar_sequential, 2),
    "mar_two_phase": Mechanism(_mar_two_phase, 2),
    "mnar": Mechanism(_mnar),
    "mnar_self_masking": Mechanism(_mnar_self_masking),
    "mnar_censoring": Mechanism(_mnar_censoring),
    "mnar_polarization": Mechanism(_mnar_polarization),
    "mnar_soft_polarization": Mechanism(_mnar_soft_polarization),
}

"""How unlike the training rows a row is: one class per way to say it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skae._schema import Check, array, check_values, either, number
from skae.autoencoders import DenoisingAutoencoder
from skae.autoencoders._normal import standard_draws
from skae.base import BaseAutoencoder
from skae.training import CELLS, AutoencoderModule, Batch, Table, evenly, joined

LEVELS = (0.1, 1.0)  # least and largest noise, in standard deviations of each column
N_LEVELS = 5
N_DRAWS = 4
N_ROWS = 1024  # that mean losses are taken over, at most
N_KNOTS = 256  # of a column's distribution
N_CODES = 8192  # that neighbours are looked for among, at most
FLOOR = 1e-12  # of a column's error, relative to the mean of all columns
SAME = 1e-5  # distance of codes that are the same, relative to their spread
RIDGE = 1e-6  # of the codes' covariance, relative to their mean variance

State = dict[str, NDArray]


class Measure:
    """Base: a positive number for each row that is larger for rows unlike the training rows.

    What is learned from the training rows is a dictionary of arrays, which every method is given.
    """

    additive = False  # whether rows are sums of cells
    learned: ClassVar[dict[str, Check]] = {}  # the arrays that are learned, for files

    def check(self, state: State, **sizes: int) -> None:
        """Raise ValueError where a state in a file is not one that `fit` returns."""
        check_values(f"a fitted {type(self).__name__}", self.learned, {**sizes, **state})

    def fit(self, model: BaseAutoencoder, table: Table, weight: NDArray, n_neighbors: int) -> State:
        """Return what is learned from the rows that have a weight."""
        return {}

    def rows(self, model: BaseAutoencoder, X: NDArray, state: State) -> NDArray:
        """Return the measure of each row, (n,)."""
        return self.cells(model, X, state).sum(1)

    def cells(self, model: BaseAutoencoder, X: NDArray, state: State) -> NDArray:
        """Return what each cell adds to it, (n, d), 0 for holes; of an additive measure only."""
        raise NotImplementedError


class Reconstruction(Measure):
    """Loss between row and reconstruction, in X's units."""

    additive = True

    def cells(self, model: BaseAutoencoder, X: NDArray, state: State) -> NDArray:
        loss = _losses(model, X, np.zeros(1), np.zeros(X.shape[1]))[:, 0]
        return loss * model.scale_**model.module_.loss.power / _n_observed(X)


class Standardized(Measure):
    """Loss between row and reconstruction, relative to the column's mean loss in training."""

    additive = True
    learned: ClassVar[dict[str, Check]] = {
        "levels": array("f", None, finite=True),
        "std": array("f", "n_features", finite=True),
        "level": array("f", None, 1, finite=True),
        "column": array("f", None, "n_features", finite=True),
    }

    def check(self, state: State, **sizes: int) -> None:
        super().check(state, **sizes)
        if not len(state["levels"]) == len(state["level"]) == len(state["column"]) > 0:
            raise ValueError("its losses are not of as many levels of noise")

    def fit(self, model: BaseAutoencoder, table: Table, weight: NDArray, n_neighbors: int) -> State:
        levels, std = np.zeros(1), np.zeros(table.shape[1])
        return _mean_losses(model, table, weight, levels, std) | {"levels": levels, "std": std}

    def cells(self, model: BaseAutoencoder, X: NDArray, state: State) -> NDArray:
        losses = _losses(model, X, state["levels"], state["std"])
        losses /= state["column"]
        return losses.mean(1) / _n_observed(X)


class Denoising(Standardized):
    """Loss after denoising, at several levels of noise.

    Half relative to the mean over all columns of its level, half to the column's own.
    """

    def fit(self, model: BaseAutoencoder, table: Table, weight: NDArray, n_neighbors: int) -> State:
        levels, std = _noise(model, table, weight)
        return _mean_losses(model, table, weight, levels, std) | {"levels": levels, "std": std}

    def cells(self, model: BaseAutoencoder, X: NDArray, state: State) -> NDArray:
        losses = _losses(model, X, state["levels"], state["std"])
        losses *= 0.5 / state["column"] + 0.5 / state["level"]
        return losses.mean(1) / _n_observed(X)


class Tails(Measure):
    """Minus the log p-value of each value among the training values of its column, two-sided."""

    additive = True
    learned: ClassVar[dict[str, Check]] = {
        name: array("f", "n_features", None) for name in ("knots", "below", "above")
    } | {"least": array("f", "n_features", finite=True)}

    def check(self, state: State, **sizes: int) -> None:
        super().check(state, **sizes)
        if not state["knots"].shape == state["below"].shape == state["above"].shape:
            raise ValueError("its distributions are not of as many values")

    def fit(self, model: BaseAutoencoder, table: Table, weight: NDArray, n_neighbors: int) -> State:
        d = table.shape[1]
        n_knots = min(N_KNOTS, int((weight > 0).sum()))
        knots = np.full((d, n_knots), np.nan)
        below, above, least = np.zeros((d, n_knots)), np.zeros((d, n_knots)), np.ones(d)
        for j, x in _columns(table):
            known = ~np.isnan(x) & (weight > 0)
            if not known.any():
                continue
            order = np.argsort(x[known])
            x, w = x[known][order], weight[known][order]
            upto = np.concatenate([[0], w.cumsum()]) / w.sum()
            least[j] = w.min() / w.sum()
            # All, or as close to each other near both ends as there are values.
            half = np.geomspace(1, len(x), n_knots - n_knots // 2) if len(x) > n_knots else None
            index = np.arange(len(x)) if half is None else half.astype(int) - 1
            if half is not None:
                ends = np.geomspace(1, len(x), n_knots // 2).astype(int)
                index = np.sort(np.concatenate([index, len(x) - ends]))
            k = len(index)
            knots[j, :k] = x[index]
            below[j, :k] = upto[np.searchsorted(x, x[index], side="right")]
            above[j, :k] = 1 - upto[np.searchsorted(x, x[index], side="left")]
        return {"knots": knots, "below": below, "above": above, "least": least}

    def cells(self, model: BaseAutoencoder, X: NDArray, state: State) -> NDArray:
        p = np.ones(X.shape)
        for j, knots in enumerate(state["knots"]):
            knots = knots[~np.isnan(knots)]
            if not len(knots):
                continue
            low = np.searchsorted(knots, X[:, j], side="right") - 1
            high = np.searchsorted(knots, X[:, j], side="left")
            below = np.where(low >= 0, state["below"][j][low], 0)
            inside = np.minimum(high, len(knots) - 1)
            above = np.where(high < len(knots), state["above"][j][inside], 0)
            p[:, j] = np.clip(2 * np.minimum(below, above), state["least"][j], 1)
        return np.where(np.isnan(X), 0, -np.log(p)) / _n_observed(X)


class Mahalanobis(Measure):
    """Squared Mahalanobis distance of the code from the codes of training rows, per component."""

    learned: ClassVar[dict[str, Check]] = {
        "mean": array("f", "n_components", finite=True),
        "precision": array("f", "n_components", "n_components", finite=True),
    }

    def fit(self, model: BaseAutoencoder, table: Table, weight: NDArray, n_neighbors: int) -> State:
        known = weight > 0
        codes = _codes(model, table)[known]
        share = weight[known] / weight.sum()
        mean = share @ codes
        covariance = ((codes - mean).T * share) @ (codes - mean)
        variance = np.trace(covariance) / len(covariance)
        covariance += RIDGE * (variance or 1.0) * np.eye(len(covariance))
        return {"mean": mean, "precision": np.linalg.inv(covariance)}

    def rows(self, model: BaseAutoencoder, X: NDArray, state: State) -> NDArray:
        away = model.transform(X).astype(np.float64) - state["mean"]
        return ((away @ state["precision"]) * away).sum(1) / away.shape[1]


class Neighbors(Measure):
    """Mean distance of the code to the k nearest of the training rows' codes.

    A training row is its own nearest neighbour, which says nothing: one code at the very same
    place does not count.
    """

    learned: ClassVar[dict[str, Check]] = {
        "codes": array("f", None, "n_components", finite=True),
        "same": either(number, array("f")),
    }

    def check(self, state: State, **sizes: int) -> None:
        super().check(state, **sizes)
        k: Any = state.get("k")
        if not (array("i")(k, {}) and 0 <= k < len(state["codes"])):
            raise ValueError("its neighbours are not as many as it asks for")

    def fit(self, model: BaseAutoencoder, table: Table, weight: NDArray, n_neighbors: int) -> State:
        codes = _codes(model, table.take(evenly(np.flatnonzero(weight > 0), N_CODES)))
        same = SAME * np.sqrt(codes.var(axis=0).sum())
        return {"codes": codes, "k": np.array(min(n_neighbors, len(codes) - 1)), "same": same}

    def rows(self, model: BaseAutoencoder, X: NDArray, state: State) -> NDArray:
        from sklearn.neighbors import NearestNeighbors  # slow, and few need it

        k = int(state["k"])
        search = NearestNeighbors(n_neighbors=k + 1).fit(state["codes"])
        distance = search.kneighbors(model.transform(X).astype(np.float64))[0]
        same = distance[:, 0] <= state["same"]
        return np.where(same, distance[:, 1:].mean(1), distance[:, :-1].mean(1))


class Surprise(Measure):
    """Minus the bound on the log likelihood, in nats."""

    def rows(self, model: BaseAutoencoder, X: NDArray, state: State) -> NDArray:
        return -model.score_samples(X).astype(np.float64)


def _losses(model: BaseAutoencoder, X: NDArray, levels: NDArray, std: NDArray) -> NDArray:
    """Return the loss of each cell at each level, (n, L, d), averaged over draws of the noise.

    In conditioned units, and 0 for holes. The draws are the same for every row.
    """
    fitted: Any = model._as_fitted()

    def losses(module: AutoencoderModule, batch: Batch) -> Tensor:
        draws = standard_draws(N_DRAWS, batch.x, paired=True)
        return torch.stack([at(module, batch, draws, level) for level in levels.tolist()], dim=1)

    def at(module: AutoencoderModule, batch: Batch, draws: Tensor, level: float) -> Tensor:
        noise = level * torch.as_tensor(std).to(batch.x) * draws
        if not noise.any():
            noise = noise[:1]
        total = torch.zeros_like(batch.x)
        for epsilon in noise:
            x = batch.x + (epsilon if batch.observed is None else epsilon * batch.observed)
            told = torch.full_like(x[:, :1], level)
            z = fitted._encode(module, batch._replace(x=x, level=told if level else None))
            total += module.cell_loss(module.decode(z), batch)
        return total / len(noise)

    table = Table(X)
    model._check_domain(table)
    return model._map(table, losses).astype(np.float64)


def _noise(model: BaseAutoencoder, table: Table, weight: NDArray) -> tuple[NDArray, NDArray]:
    """Return levels, and the noise of level 1 in each column, in conditioned units.

    Those that a denoiser of gaussian noise was trained with; else between `LEVELS`.
    """
    fitted: Any = model._as_fitted()
    low, high = LEVELS
    if isinstance(model, DenoisingAutoencoder) and fitted.noise == "gaussian":
        low, high = fitted._levels()
        std = model.module_.get_buffer("column_std").double().cpu().numpy()
    else:
        total, known = np.zeros(table.shape[1]), np.zeros(table.shape[1])
        for piece in table.pieces():
            away = (table[piece] - model.mean_) / model.scale_
            total += weight[piece] @ np.nan_to_num(away**2)
            known += weight[piece] @ ~np.isnan(away)
        std = np.sqrt(total / np.maximum(known, 1e-300))
    if low == high:
        return np.array([high]), std
    return np.geomspace(max(low, high / 100), high, N_LEVELS), std


def _mean_losses(
    model: BaseAutoencoder, table: Table, weight: NDArray, levels: NDArray, std: NDArray
) -> State:
    """Return the mean loss of each level, (L, 1), and of each of its columns, (L, d)."""
    total, known = np.zeros((len(levels), table.shape[1])), np.zeros(table.shape[1])
    index = evenly(np.flatnonzero(weight > 0), N_ROWS)
    some = table.take(index)
    for piece in some.pieces():
        X, w = some[piece], weight[index[piece]]
        total += np.tensordot(w, _losses(model, X, levels, std), axes=1)
        known += w @ ~np.isnan(X)
    level = (total.sum(1) / known.sum())[:, None]
    level = np.where(level > 0, level, np.finfo(np.float64).tiny)
    # A column that is foretold without error would count without bounds.
    column = np.maximum(total / np.maximum(known, 1e-300), FLOOR * level)
    return {"level": level, "column": column}


def _n_observed(X: NDArray) -> NDArray:
    """Return how many cells of each row are observed, (n, 1), at least 1."""
    return np.maximum((~np.isnan(X)).sum(1, keepdims=True), 1)


def _codes(model: BaseAutoencoder, table: Table) -> NDArray:
    codes = (model.transform(table[piece]) for piece in table.pieces())
    return joined(len(table), codes).astype(np.float64)


def _columns(table: Table) -> Iterator[tuple[int, NDArray]]:
    """Give the columns of a table, a few at a time in memory."""
    n, d = table.shape
    for start in range(0, d, at_once := max(1, CELLS // n)):
        block = table.columns(slice(start, start + at_once))
        for j in range(block.shape[1]):
            yield start + j, block[:, j]


MEASURES: dict[str, Measure] = {
    "reconstruction": Reconstruction(),
    "standardized": Standardized(),
    "denoising": Denoising(),
    "tails": Tails(),
    "mahalanobis": Mahalanobis(),
    "neighbors": Neighbors(),
    "likelihood": Surprise(),
}

"""How unlike the training rows a row is: one class per way to say it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skae._schema import Check, array, check_values
from skae._validation import check_finite_result
from skae.autoencoders import DenoisingAutoencoder
from skae.autoencoders._gaussian import standard_draws
from skae.base import BaseAutoencoder
from skae.data import MAX_CHUNK_SIZE, Batch, DataSource, concatenate_chunks, subsample_evenly
from skae.training import AutoencoderModule, device_of

LEVELS = (0.1, 1.0)  # least and largest noise, in standard deviations of each column
N_LEVELS = 5
N_DRAWS = 4
N_ROWS = 1024  # that mean losses are taken over, at most
N_KNOTS = 256  # of a column's distribution, but for those of frequent values
FREQUENT = 1 / 64  # share of the rows that have a value
EDGE = 1e-4  # relative distance of another value from that of a constant column
N_CODES = 8192  # that neighbours are looked for among, at most
RESOLUTION = 1e-3  # of values and of codes, relative to their standard deviation
SLIGHT = 1e-2  # a loss relative to the mean loss that is never an outlier's
OWN, ANOTHER = 1e-3, 1e-2  # distances of the nearest code, relative to their spread
RIDGE = 1e-6  # of the codes' covariance, relative to their mean variance
TINY = np.finfo(np.float64).tiny

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

    least = SLIGHT  # measure up to which rows differ by no more than rounding

    def floor(self, model: BaseAutoencoder, state: State) -> float:
        """Return the measure up to which rows differ by no more than rounding."""
        return self.least

    def fit(
        self, model: BaseAutoencoder, table: DataSource, weight: NDArray, n_neighbors: int
    ) -> State:
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

    def floor(self, model: BaseAutoencoder, state: State) -> float:
        return SLIGHT * _least_loss(model) * model.scale_**model.module_.loss.power

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

    def fit(
        self, model: BaseAutoencoder, table: DataSource, weight: NDArray, n_neighbors: int
    ) -> State:
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

    def fit(
        self, model: BaseAutoencoder, table: DataSource, weight: NDArray, n_neighbors: int
    ) -> State:
        levels, std = _noise(model, table, weight)
        return _mean_losses(model, table, weight, levels, std) | {"levels": levels, "std": std}

    def cells(self, model: BaseAutoencoder, X: NDArray, state: State) -> NDArray:
        losses = _losses(model, X, state["levels"], state["std"])
        losses *= 0.5 / state["column"] + 0.5 / state["level"]
        return losses.mean(1) / _n_observed(X)


class Tails(Measure):
    """Minus the log p-value of each value among the training values of its column, two-sided.

    P-values are exact at training values and linear between them. Beyond the extremes they fall
    to the least one over the distance between the extreme value and the next.
    """

    additive = True
    least = 1e-3
    learned: ClassVar[dict[str, Check]] = {
        name: array("f", "n_features", None) for name in ("knots", "below", "above")
    } | {"least": array("f", "n_features", finite=True)}

    def check(self, state: State, **sizes: int) -> None:
        super().check(state, **sizes)
        if not state["knots"].shape == state["below"].shape == state["above"].shape:
            raise ValueError("its distributions are not of as many values")
        if not (state["least"] > 0).all():
            raise ValueError("its least p-values are not above 0")

    def fit(
        self, model: BaseAutoencoder, table: DataSource, weight: NDArray, n_neighbors: int
    ) -> State:
        curves = [np.full((3, 1), np.nan)] * table.shape[1]
        least = np.ones(table.shape[1])
        for j, x in _columns(table):
            known = ~np.isnan(x) & (weight > 0)
            if known.any():
                w = weight[known] / weight[known].sum()
                curves[j], least[j] = _distribution(x[known].astype(np.float64), w), w.min()
        knots, below, above = np.full((3, len(curves), max(c.shape[1] for c in curves)), np.nan)
        for j, curve in enumerate(curves):
            knots[j, : curve.shape[1]], below[j, : curve.shape[1]], above[j, : curve.shape[1]] = (
                curve
            )
        return {"knots": knots, "below": below, "above": above, "least": least}

    def cells(self, model: BaseAutoencoder, X: NDArray, state: State) -> NDArray:
        p = np.ones(X.shape)
        for j, knots in enumerate(state["knots"]):
            if n := int((~np.isnan(knots)).sum()):
                below = np.interp(X[:, j], knots[:n], state["below"][j, :n])
                above = np.interp(X[:, j], knots[:n], state["above"][j, :n])
                p[:, j] = np.clip(2 * np.minimum(below, above), state["least"][j], 1)
        return np.where(np.isnan(X), 0, -np.log(p)) / _n_observed(X)


class Mahalanobis(Measure):
    """Squared Mahalanobis distance of the code from the codes of training rows, per component."""

    learned: ClassVar[dict[str, Check]] = {
        "mean": array("f", "n_components", finite=True),
        "precision": array("f", "n_components", "n_components", finite=True),
    }

    def fit(
        self, model: BaseAutoencoder, table: DataSource, weight: NDArray, n_neighbors: int
    ) -> State:
        known = np.flatnonzero(weight > 0)
        codes = _codes(model, table.take(known))
        share = weight[known] / weight.sum()
        mean = share @ codes
        covariance = ((codes - mean).T * share) @ (codes - mean)
        variance = np.trace(covariance) / len(covariance)
        covariance += RIDGE * (variance or 1.0) * np.eye(len(covariance))
        return {"mean": mean, "precision": np.linalg.inv(covariance)}

    def rows(self, model: BaseAutoencoder, X: NDArray, state: State) -> NDArray:
        away = _encoded(model, X) - state["mean"]
        return ((away @ state["precision"]) * away).sum(1) / away.shape[1]


class Neighbors(Measure):
    """Mean distance of the code to the k nearest of the training rows' codes.

    A training row is its own nearest neighbour, which says nothing: one code at the same place
    does not count. What is the same place fades out between two distances, so that rounding makes
    no difference.
    """

    learned: ClassVar[dict[str, Check]] = {
        "codes": array("f", None, "n_components", finite=True),
        "centre": array("f", "n_components", finite=True),
        "spread": array("f", finite=True),
    }

    def check(self, state: State, **sizes: int) -> None:
        super().check(state, **sizes)
        k: Any = state.get("k")
        if not (array("i")(k, {}) and 1 <= k < len(state["codes"])):
            raise ValueError("its neighbours are not as many as it asks for")

    def fit(
        self, model: BaseAutoencoder, table: DataSource, weight: NDArray, n_neighbors: int
    ) -> State:
        codes = _codes(model, table.take(subsample_evenly(np.flatnonzero(weight > 0), N_CODES)))
        centre = codes.mean(axis=0)  # far from zero, distances would be rounded
        return {
            "codes": codes - centre,
            "centre": centre,
            "k": np.array(min(n_neighbors, len(codes) - 1)),
            "spread": np.array(np.sqrt(codes.var(axis=0).sum()) or 1.0),
        }

    def floor(self, model: BaseAutoencoder, state: State) -> float:
        return RESOLUTION * float(state["spread"])

    def rows(self, model: BaseAutoencoder, X: NDArray, state: State) -> NDArray:
        from sklearn.neighbors import NearestNeighbors  # slow, and few need it

        codes = _encoded(model, X) - state["centre"]
        within = np.isfinite(codes).all(axis=1)
        distance = np.full((len(codes), int(state["k"]) + 1), np.inf)
        if within.any():
            search = NearestNeighbors(n_neighbors=distance.shape[1]).fit(state["codes"])
            distance[within] = search.kneighbors(codes[within])[0]
        nearest = np.clip(distance[:, 0] / state["spread"], OWN, ANOTHER)
        own = np.log(ANOTHER / nearest) / np.log(ANOTHER / OWN)
        others, all_but_last = distance[:, 1:].mean(1), distance[:, :-1].mean(1)
        return np.where(within, own * others + (1 - own) * all_but_last, np.inf)


class NegativeLogLikelihood(Measure):
    """Minus the bound on the log likelihood, in nats."""

    least = -np.inf

    def rows(self, model: BaseAutoencoder, X: NDArray, state: State) -> NDArray:
        return -model.score_samples(_exact(model, X).X).astype(np.float64)


def _losses(model: BaseAutoencoder, X: NDArray, levels: NDArray, std: NDArray) -> NDArray:
    """Return the loss of each cell at each level, (n, L, d), averaged over draws of the noise.

    In conditioned units, and 0 for holes. The draws are the same for every row.
    """
    fitted: Any = model._with_fit_params()

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
            z = fitted._encode(module, batch._replace(x=x, context=told if level else None))
            total += module.cell_loss(module.decode(z), batch)
        return total / len(noise)

    table = _exact(model, X)
    model._check_domain(table)
    return model._apply(lambda fitted, module, batch: losses(module, batch), table).astype(
        np.float64
    )


def _noise(model: BaseAutoencoder, table: DataSource, weight: NDArray) -> tuple[NDArray, NDArray]:
    """Return levels, and the noise of level 1 in each column, in conditioned units.

    Those that a denoiser of gaussian noise was trained with; else between `LEVELS`.
    """
    fitted: Any = model._with_fit_params()
    low, high = LEVELS
    if isinstance(model, DenoisingAutoencoder) and fitted.noise == "gaussian":
        low, high = fitted._levels()
        std = model.module_.get_buffer("column_std").double().cpu().numpy()
    else:
        total, known = np.zeros(table.shape[1]), np.zeros(table.shape[1])
        for chunk in table.gen_chunks():
            away = (table[chunk] - model.mean_) / model.scale_
            total += weight[chunk] @ np.nan_to_num(away**2)
            known += weight[chunk] @ ~np.isnan(away)
        std = np.sqrt(total / np.maximum(known, TINY))
    if low == high:
        return np.array([high]), std
    return np.geomspace(max(low, high / 100), high, N_LEVELS), std


def _mean_losses(
    model: BaseAutoencoder, table: DataSource, weight: NDArray, levels: NDArray, std: NDArray
) -> State:
    """Return the mean loss of each level, (L, 1), and of each of its columns, (L, d)."""
    total, known = np.zeros((len(levels), table.shape[1])), np.zeros(table.shape[1])
    index = subsample_evenly(np.flatnonzero(weight > 0), N_ROWS)
    some = table.take(index)
    for chunk in some.gen_chunks():
        X, w = some[chunk], weight[index[chunk]]
        total += np.tensordot(w, _losses(model, X, levels, std), axes=1)
        known += w @ ~np.isnan(X)
    # A column that is reconstructed without error would count without bounds.
    least = _least_loss(model)
    level = np.maximum((total.sum(1) / known.sum())[:, None], least)
    column = np.maximum(total / np.maximum(known, TINY), least)
    return {"level": level, "column": column}


def _least_loss(model: BaseAutoencoder) -> float:
    """Return the loss of a cell in conditioned units that is no more than rounding."""
    return RESOLUTION ** (model.module_.loss.power or 2)


def _n_observed(X: NDArray) -> NDArray:
    """Return how many cells of each row are observed, (n, 1), at least 1."""
    return np.maximum((~np.isnan(X)).sum(1, keepdims=True), 1)


def _exact(model: BaseAutoencoder, X: NDArray) -> DataSource:
    """Return rows in float64, for those in float32 to score the same, where the device knows it."""
    return DataSource(
        X if device_of(model.device).type == "mps" else X.astype(np.float64, copy=False)
    )


def _encoded(model: BaseAutoencoder, X: NDArray) -> NDArray:
    """Return the codes of rows, whatever overflows."""
    return model._apply(
        lambda fitted, module, batch: fitted._encode(module, batch), _exact(model, X)
    ).astype(np.float64)


def _codes(model: BaseAutoencoder, table: DataSource) -> NDArray:
    """Return the codes of training rows."""
    codes = (_encoded(model, table[chunk]) for chunk in table.gen_chunks())
    return check_finite_result(concatenate_chunks(len(table), codes), "X")


def _distribution(x: NDArray, w: NDArray) -> NDArray:
    """Return values of a column, the share up to each, and the share from each on, (3, k).

    Values that float32 does not tell apart are one; of many, those near both ends, frequent ones
    and their neighbours are enough. The first and the last are beyond the extremes.
    """
    mantissa, exponent = np.frexp(x)
    rounded = np.ldexp(mantissa.astype(np.float32).astype(np.float64), exponent)
    values, inverse = np.unique(rounded, return_inverse=True)
    share = np.bincount(inverse, weights=w)
    n = len(values)
    kept = np.arange(n)
    if n > N_KNOTS:
        ends = np.geomspace(1, n, N_KNOTS // 2).astype(int) - 1
        frequent = np.flatnonzero(share > FREQUENT)
        kept = np.concatenate([ends, n - 1 - ends, frequent - 1, frequent, frequent + 1])
        kept = np.unique(kept.clip(0, n - 1))
    below, above = share.cumsum()[kept], share[::-1].cumsum()[::-1][kept]
    values = values[kept]
    gaps = np.diff(values) if n > 1 else np.maximum(EDGE * np.abs(values), TINY)
    beyond = [values[0] - gaps[0]], [values[-1] + gaps[-1]]
    return np.stack(
        [
            np.concatenate([beyond[0], values, beyond[1]]),
            np.concatenate([[0], below, [1]]),
            np.concatenate([[1], above, [0]]),
        ]
    )


def _columns(table: DataSource) -> Iterator[tuple[int, NDArray]]:
    """Give the columns of a table, a few at a time in memory."""
    n, d = table.shape
    for start in range(0, d, at_once := max(1, MAX_CHUNK_SIZE // n)):
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
    "likelihood": NegativeLogLikelihood(),
}

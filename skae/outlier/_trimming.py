"""Training samples that are probably outliers, found before a network is trained."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from skae.data import DataSource, Moments, concatenate_chunks, drop_empty_rows, gen_slices
from skae.outlier._threshold import RankedScores

SUBSAMPLE_SIZE, N_SUBSAMPLES = 4, 100
FAR_SHARE = 0.2  # of the training data, which may belong to groups of outliers
FAR_OUT = 3.0  # interquartile ranges above the upper quartile of the logarithms (Tukey 1977)
N_NEIGHBORS = 5
MAX_GROUP_SHARE = 0.15  # of the training data, that isolated groups may have together
ISOLATION = 2.25  # distance of an isolated group from other samples, relative to those inside
MAX_LINKED = 1024  # samples among which isolated groups are searched
MAX_REFERENCES, MAX_REFERENCE_CELLS = 4096, 2**22  # samples among which neighbors are searched
MAX_CACHED = 2**18  # distances that are computed at one time
MAX_DISTANCE = 1e100  # of samples without a common feature
MIN_DISTANCE = 1e-3  # relative to the spread of the samples; below, samples are at one place
MIN_SAMPLES = 8  # of which some may be a group


def probable_outliers(source: DataSource, weight: NDArray, trim: float | str) -> NDArray:
    """Return a mask of the training samples that are probably outliers.

    Parameters
    ----------
    source : DataSource of shape (n_samples, n_features)
    weight : ndarray of shape (n_samples,)
        Positive.
    trim : float or 'auto'
        The share of the samples that are most remote from the others. If 'auto', extremely remote
        ones; those of the most remote fifth that have near neighbors: of the ratios of
        remoteness and distance to the nearest samples, theirs are above the median; and isolated
        groups, which may be anywhere (`isolated_groups`).
    """
    distances = Distances(source, weight)
    too_few = len(source) < (MIN_SAMPLES if trim == "auto" else 3)
    if too_few or not 0 < distances.scale < np.inf:
        return np.zeros(len(source), dtype=bool)
    remoteness = distances.remoteness()
    ranked = RankedScores(remoteness, weight)
    if not isinstance(trim, str):
        return remoteness > ranked.separating(ranked.exceeded_by(trim))
    is_far = remoteness > ranked.separating(ranked.exceeded_by(FAR_SHARE))
    candidates, is_reference, nearest = distances.to_neighbors(np.flatnonzero(is_far))
    ratio = remoteness[candidates] / nearest
    median = RankedScores(ratio[is_reference], weight[candidates][is_reference]).quantile(0.5)
    found = remoteness > ranked.separating(ranked.fence(FAR_OUT, logarithmic=True))
    found[candidates] |= is_far[candidates] & (ratio > median)
    return found | isolated_groups(distances)


def can_be_fitted(source: DataSource, weight: NDArray) -> bool:
    """Return whether an autoencoder can be fitted to the samples with a positive weight."""
    try:
        Moments.of(*drop_empty_rows(source, weight)).check_magnitude(source.dtype, None)
    except ValueError:
        return False
    return True


def isolated_groups(distances: Distances) -> NDArray:
    r"""Return a mask of the samples in small groups that are far from all other samples.

    In the single-linkage tree of the mutual reachability distances (Campello et al. 2013)

    .. math:: \max(\lVert x - x' \rVert, c(x), c(x'))

    with c the distance to the fifth nearest sample, a group is isolated if its distance from the
    others is more than 2.25 times that at which its members are linked. If isolated groups have
    more than 15 % of the samples, they are what the data consist of, as if it is discrete, and none
    is returned. Neither are samples at one place, which are values that are frequent.
    """
    from scipy.cluster.hierarchy import linkage  # slow, and few need it
    from scipy.spatial.distance import squareform

    references = distances.draw_references(MAX_LINKED)
    tree = linkage(squareform(distances.reachability(references), checks=False), "single")
    children, heights = tree[:, :2].astype(int), np.r_[np.zeros(len(references)), tree[:, 2]]
    weight = distances.weight[references]
    share = np.r_[weight / weight.sum(), np.zeros(len(tree))]
    above = np.full(len(heights), MAX_DISTANCE)
    nodes = list(enumerate(children, start=len(references)))
    for node, pair in nodes:
        share[node], above[pair] = share[pair].sum(), heights[node]
    isolated = (heights > MIN_DISTANCE) & (ISOLATION * heights < above) & (above < MAX_DISTANCE)
    isolated &= share <= MAX_GROUP_SHARE
    for node, pair in reversed(nodes):
        isolated[pair] |= isolated[node]
    members = isolated[: len(references)]
    if not 0 < weight[members].sum() <= MAX_GROUP_SHARE * weight.sum():
        return np.zeros(len(distances.source), dtype=bool)
    if len(references) == len(distances.source):
        return members
    return members[distances.to_nearest(references)]


class Distances:
    r"""Distances of training samples from each other, of which they themselves are no part.

    Distances are over the features that two samples both have, as if they differed as much in the
    others, and relative to the spread of the samples.

    Parameters
    ----------
    source : DataSource of shape (n_samples, n_features)
    weight : ndarray of shape (n_samples,)
        Samples are drawn with probabilities proportional to it. Draws are the same each time.
    """

    def __init__(self, source: DataSource, weight: NDArray):
        self.source, self.weight = source, weight
        self.random = np.random.RandomState(0)
        moments = Moments.of(source, weight)
        self.location, self.scale = moments.mean, float(np.sqrt(moments.variance.sum()))

    def remoteness(self) -> NDArray:
        r"""Return the distance of each sample from the others in small subsamples, (n_samples,).

        .. math:: r(x) = \operatorname*{median}_t
                  \min_{x' \in S_t \setminus \{x\}} \lVert x - x' \rVert

        over random subsamples :math:`S_t` of four (Sugiyama and Borgwardt 2013, who draw one). Most
        of them have no member of a group of less than 16 % of the samples, since
        :math:`0.84^4 = 0.5`, so it does not matter how close its members are to each other.
        """
        n = len(self.source)
        size, share = min(SUBSAMPLE_SIZE, n // 2), self.weight / self.weight.sum()
        drawn = [self.random.choice(n, size, False, share) for _ in range(N_SUBSAMPLES)]

        def median_of_nearest(squares: NDArray) -> NDArray:
            nearest = squares.reshape(len(squares), N_SUBSAMPLES, size).min(2)
            return np.partition(nearest, N_SUBSAMPLES // 2, axis=1)[:, N_SUBSAMPLES // 2]

        return np.sqrt(self._from_squares(median_of_nearest, np.arange(n), np.concatenate(drawn)))

    def to_neighbors(self, some: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Return the mean distance from the nearest of at most `MAX_REFERENCES` samples, by sample.

        Parameters
        ----------
        some : ndarray of int
            Samples to return it for, beside the references.

        Returns
        -------
        candidates : ndarray of int
        is_reference : ndarray of bool
        distance : ndarray
        """
        references = self.draw_references(MAX_REFERENCES)
        candidates = np.union1d(some, references)
        k = min(N_NEIGHBORS, len(references) - 1)

        def mean_of_neighbors(squares: NDArray) -> NDArray:
            return np.sqrt(np.partition(squares, k - 1, axis=1)[:, :k]).mean(1)

        distance = self._from_squares(mean_of_neighbors, candidates, references)
        return candidates, np.isin(candidates, references), distance

    def draw_references(self, at_most: int) -> NDArray:
        """Return samples with which others are compared; all if they are not too many."""
        references = np.arange(len(self.source))
        at_most = min(at_most, max(MIN_SAMPLES, MAX_REFERENCE_CELLS // self.source.shape[1]))
        if len(references) > at_most:
            references = self.random.choice(references, at_most, replace=False)
        return references

    def reachability(self, samples: NDArray) -> NDArray:
        """Return the mutual reachability distances of some samples, 0 of those from themselves."""
        squares = self._from_squares(lambda squares: squares, samples, samples)
        distance = np.minimum(np.sqrt(squares), MAX_DISTANCE)
        k = min(N_NEIGHBORS, len(samples) - 1)
        core = np.partition(distance, k - 1, axis=1)[:, k - 1]
        distance = np.maximum(distance, np.maximum(core[:, None], core))
        np.fill_diagonal(distance, 0)
        return distance

    def to_nearest(self, references: NDArray) -> NDArray:
        """Return which of the references is nearest to each sample; itself, if it is one."""
        nearest = self._from_squares(
            lambda squares: squares.argmin(1), np.arange(len(self.source)), references
        )
        nearest[references] = np.arange(len(references))
        return nearest

    def _from_squares(
        self, function: Callable[[NDArray], NDArray], queries: NDArray, references: NDArray
    ) -> NDArray:
        """Return a function of the squared distances of each query from all references.

        Those of a sample from itself are infinite.
        """
        y, y_observed = self._read(references)
        y_squares, complete = y**2, y_observed.all()

        def of_chunk(chunk: slice) -> NDArray:
            x, x_observed = self._read(queries[chunk])
            squares = -2 * (x @ y.T)
            if complete and x_observed.all():
                squares += (x**2).sum(1, keepdims=True)
                squares += y_squares.sum(1)
            else:
                squares += (x**2) @ y_observed.T + x_observed @ y_squares.T
                n_common = x_observed @ y_observed.T
                squares *= x.shape[1] / np.maximum(n_common, 1)
                squares[n_common == 0] = np.inf
            np.fmax(squares, MIN_DISTANCE**2, out=squares)
            squares[queries[chunk, None] == references] = np.inf
            return function(squares)

        # Arrays that fit into a processor's cache.
        chunks = gen_slices(len(queries), max(1, MAX_CACHED // len(references)))
        return concatenate_chunks(len(queries), map(of_chunk, chunks))

    def _read(self, rows: NDArray) -> tuple[NDArray, NDArray]:
        """Return conditioned samples, with 0 for missing values, and what is observed."""
        x = (self.source[rows].astype(np.float64) - self.location) / self.scale
        observed = ~np.isnan(x)
        return np.where(observed, x, 0), observed.astype(np.float64)

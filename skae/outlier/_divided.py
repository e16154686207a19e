"""The fit of a detector to samples that are divided among processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from skae._validation import check_sample_weight, random_state_of
from skae.data import (
    HOLDERS,
    DataSource,
    Group,
    check_n_samples,
    subsample_evenly,
    usable_weight,
)
from skae.outlier._scorer import MAX_SCORED
from skae.outlier._trimming import can_be_fitted, probable_outliers
from skae.outlier._variables import encoder_for


@dataclass(frozen=True)
class DividedSamples:
    """The samples of this process, and evenly spaced ones of all processes.

    Attributes
    ----------
    own : DataSource of shape (n_own, d)
    own_weight : ndarray of shape (n_own,)
    some : DataSource of shape (n_some, d)
        All samples, or `MAX_SCORED` evenly spaced ones.
    weight : ndarray of shape (n_some,)
        Theirs.
    places : ndarray of int
        Which of the own samples are among them.
    n_samples, n_used : int
        Number of samples of all processes, and of those with a positive weight.
    start : int
        Number of samples of the processes before this one.
    group : Group
    """

    own: DataSource
    own_weight: NDArray
    some: DataSource
    weight: NDArray
    places: NDArray
    n_samples: int
    n_used: int
    start: int
    group: Group

    @classmethod
    def of(cls, source: DataSource, weight: NDArray, group: Group) -> DividedSamples:
        """Gather evenly spaced samples."""
        group.check_same(
            {"number of features of X": source.shape[1], "dtype of X": source.dtype.name}
        )
        sizes = group.gather(torch.tensor([len(source)])).numpy()
        start, n = int(sizes[: group.rank].sum()), int(sizes.sum())
        n_used = int(group.sum(torch.tensor(int((weight > 0).sum()))))
        check_n_samples(n_used)
        some = subsample_evenly(np.arange(n), MAX_SCORED)
        places = some[(some >= start) & (some < start + len(source))] - start
        x = group.gather(torch.from_numpy(source[places])).numpy()
        w = group.gather(torch.from_numpy(weight[places])).numpy()
        return cls(source, weight, DataSource(x), w, places, n, n_used, start, group)

    def probable_outliers(self, trim: float | str) -> NDArray:
        """Return a mask of the own samples that are probably outliers.

        If there are more samples than each process can hold, it judges its own by themselves.
        """
        if len(self.some) < self.n_samples:
            return _outliers_of(self.own, self.own_weight, trim)
        found = _outliers_of(self.some, self.weight, trim)
        return found[self.start : self.start + len(self.own)]

    def gather(self, values: NDArray) -> NDArray:
        """Return the values of all samples, given those of the own ones."""
        return self.group.gather(torch.from_numpy(values)).numpy()


def _outliers_of(source: DataSource, weight: NDArray, trim: Any) -> NDArray:
    index, found = np.flatnonzero(weight > 0), np.zeros(len(source), dtype=bool)
    found[index] = probable_outliers(source.take(index), weight[index], trim)
    return found


def fit_divided(
    detector: Any, X: ArrayLike, sample_weight: ArrayLike | None, params: dict[str, Any]
) -> Any:
    """Fit a detector to samples of which each process has a part; that of rank 0 has the result.

    All samples train the autoencoder; evenly spaced ones set the criteria and the threshold.
    """
    detector._encoder = encoder_for(X, sample_weight)
    if detector._encoder is not None or detector.calibration_fraction:
        raise ValueError(
            "Samples that are divided among processes need columns of numbers and "
            "calibration_fraction=0; encode the columns by TableEncoder, or fit in one process."
        )
    source = detector._read(X, reset=True, at_least=1)
    weight = usable_weight(source, check_sample_weight(sample_weight, len(source)))
    weight_of_model = check_sample_weight(params.pop("sample_weight", None), len(source))
    samples = DividedSamples.of(source, weight, HOLDERS.get())
    random_state = random_state_of(detector.random_state)
    random_state.permutation(samples.n_used)  # as if samples were held out
    model = detector._seeded(detector._estimator(samples.n_used), random_state)
    kept = weight > 0
    trim = (0.0 if detector.novelty else "auto") if detector.trim == "auto" else detector.trim
    if trim:
        remaining = kept & ~samples.probable_outliers(trim)
        of_model = samples.gather((weight_of_model * remaining)[samples.places])
        if can_be_fitted(samples.some, of_model):
            kept = remaining
    with detector._step("fit", model):
        model._fit_or_start(source.X, sample_weight=weight_of_model * kept, **params)
    detector.support_, some_kept = samples.gather(kept), samples.gather(kept[samples.places])
    if samples.group.rank == 0:
        index = np.flatnonzero(samples.weight > 0)
        detector._learn(model, samples.some.take(index), samples.weight, some_kept, index)
    detector.calibration_scores_ = np.empty(0)
    return detector

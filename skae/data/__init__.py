"""Data sources, conditioning, moments, principal axes, datasets and batches."""

from skae.data._batch import NO_RANDOM, Batch
from skae.data._batches import Batches
from skae.data._chunks import (
    MAX_CHUNK_ROWS,
    MAX_CHUNK_SIZE,
    concatenate_chunks,
    gen_chunks,
    gen_slices,
    subsample_evenly,
)
from skae.data._conditioning import Conditioning
from skae.data._dataset import InMemoryDataset, LazyDataset, RowDataset
from skae.data._divided import DividedRows
from skae.data._draws import Draw, Recorder, Replay
from skae.data._group import ALONE, HOLDERS, Group, Share
from skae.data._moments import Moments, covariance_of, statistics_of
from skae.data._n_components import resolve_n_components
from skae.data._neighbor_targets import NeighborTargets
from skae.data._principal_axes import EXACT_UP_TO, principal_axes
from skae.data._random import Random, SharedRandom
from skae.data._source import (
    FLOATS,
    DataSource,
    check_n_samples,
    drop_empty_rows,
    read_source,
    usable_weight,
)

__all__ = [
    "ALONE",
    "EXACT_UP_TO",
    "FLOATS",
    "HOLDERS",
    "MAX_CHUNK_ROWS",
    "MAX_CHUNK_SIZE",
    "NO_RANDOM",
    "Batch",
    "Batches",
    "Conditioning",
    "DataSource",
    "DividedRows",
    "Draw",
    "Group",
    "InMemoryDataset",
    "LazyDataset",
    "Moments",
    "NeighborTargets",
    "Random",
    "Recorder",
    "Replay",
    "RowDataset",
    "Share",
    "SharedRandom",
    "check_n_samples",
    "concatenate_chunks",
    "covariance_of",
    "drop_empty_rows",
    "gen_chunks",
    "gen_slices",
    "principal_axes",
    "read_source",
    "resolve_n_components",
    "statistics_of",
    "subsample_evenly",
    "usable_weight",
]

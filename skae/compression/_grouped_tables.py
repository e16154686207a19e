"""Frequency tables that depend on the group of a row, and codes by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from skae._schema import Check, instance, persistent, sequence
from skae._sklearn_types import BaseEstimator
from skae.compression._coder import decode, encode
from skae.compression._tables import CodeTables
from skae.data import subsample_evenly

N_GROUPS = (2, 4, 8, 16)  # that are tried, in this order
MIN_GAIN = 0.005  # of the held-out code length that more groups are worth
MIN_GROUP_ROWS = 32
MAX_ROWS = 2**12  # that the number of groups is chosen by
N_ITER = 3
HELD_OUT = 4  # one of so many rows


@persistent
class GroupedTables(BaseEstimator):
    r"""A table of frequencies for each column in each of several groups of rows.

    The columns of integers i, (n, k), are independent within a group g, so that a row costs

    .. math:: \min_g \Bigl[ -\log_2 p(g) - \sum_j \log_2 p_{gj}(i_j) \Bigr]

    bits: its group is coded first. Groups and tables are learned in turn, from groups of rows of
    similar size, and the number of groups is doubled as long as that shortens the code of rows
    that are held out. Patches of an image, for instance, are flat or full of contrast in all
    components at once.

    Attributes
    ----------
    groups_ : CodeTables
        Frequencies of the groups, one column.
    tables_ : tuple of CodeTables
        Those of the columns in each group.
    """

    groups_: CodeTables
    tables_: tuple[CodeTables, ...]

    _fitted_schema: ClassVar[dict[str, Check]] = {
        "groups_": instance(CodeTables),
        "tables_": sequence(instance(CodeTables), tuple),
    }

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        if "tables_" not in state:
            return
        tables = state["tables_"]
        if not all(hasattr(table, "frequency_") for table in (state["groups_"], *tables)):
            raise ValueError("the tables of GroupedTables are not fitted")
        widths = {table.n_columns_ for table in tables}
        if len(widths) != 1 or len(tables) > max(N_GROUPS) or state["groups_"].n_columns_ != 1:
            raise ValueError("the tables of GroupedTables are not of the same columns")

    def fit(self, indices: NDArray, weight: NDArray) -> Self:
        """Learn the groups and their tables from rows, (n, k), of positive weight, (n,)."""
        some = subsample_evenly(np.arange(len(indices)), MAX_ROWS)
        held_out = np.arange(len(some)) % HELD_OUT == 0
        train, test = some[~held_out], some[held_out]
        group = np.zeros(len(indices), int)
        if len(train) and len(test):
            # The tables of all rows have seen the held-out ones.
            alone = self._of(indices[train], np.zeros(len(train), int), weight[train])
            shortest = weight[test] @ alone.bits(indices[test])
            for n_groups in N_GROUPS:
                if len(train) < 2 * MIN_GROUP_ROWS * n_groups:
                    break
                found = self._learned(indices[train], weight[train], n_groups)
                length = weight[test] @ found.bits(indices[test])
                if not length < (1 - MIN_GAIN) * shortest:
                    break
                shortest = length
                group, _ = found.assign(indices)
        best = self._of(indices, group, weight)
        self.groups_, self.tables_ = best.groups_, best.tables_
        return self

    @classmethod
    def _learned(cls, indices: NDArray, weight: NDArray, n_groups: int) -> GroupedTables:
        size = np.abs(indices - np.median(indices, axis=0)).sum(axis=1)
        rank = np.argsort(np.argsort(size, kind="stable"), kind="stable")
        group = rank * n_groups // len(indices)
        for _ in range(N_ITER):
            found = cls._of(indices, group, weight)
            group, _ = found.assign(indices)
        return found

    @classmethod
    def _of(cls, indices: NDArray, group: NDArray, weight: NDArray) -> GroupedTables:
        """Return the tables of given groups; those of few rows are left out."""
        kept = [g for g in np.unique(group) if (group == g).sum() >= MIN_GROUP_ROWS]
        kept = kept or [np.bincount(group).argmax()]
        found = cls()
        of_kept = np.isin(group, kept)
        number = np.searchsorted(kept, group[of_kept])[:, None]
        found.groups_ = CodeTables().fit(number, weight[of_kept])
        parts = [group == g for g in kept]
        found.tables_ = tuple(CodeTables().fit(indices[p], weight[p]) for p in parts)
        return found

    @property
    def n_columns_(self) -> int:
        """Number of columns, k."""
        return self.tables_[0].n_columns_

    def assign(self, indices: NDArray) -> tuple[NDArray, NDArray]:
        """Return the group of each row that takes the fewest bits, (n,), and these bits."""
        of_group = self.groups_.bits(np.arange(len(self.tables_))[:, None])[:, 0]
        parts = [
            table.bits(indices).sum(axis=1) + own
            for table, own in zip(self.tables_, of_group, strict=True)
        ]
        bits = np.stack(parts, axis=1)
        return bits.argmin(axis=1), bits.min(axis=1)

    def bits(self, indices: NDArray) -> NDArray:
        """Return the number of bits of each row, (n,)."""
        return self.assign(indices)[1]

    def encode(self, indices: NDArray) -> list[bytes]:
        """Return the code of the groups, and that of the rows of each group."""
        group, _ = self.assign(indices)
        parts = [encode(indices[group == g], table) for g, table in enumerate(self.tables_)]
        return [encode(group[:, None], self.groups_), *parts]

    def decode(self, sections: Sequence[bytes], n_rows: int) -> NDArray:
        """Return the rows, (n, k), of what `encode` returned.

        Raises ValueError if the sections are found to be none of these tables.
        """
        if len(sections) != len(self.tables_) + 1:
            raise ValueError(NOT_OURS)
        group = decode(sections[0], n_rows, self.groups_)[:, 0]
        if ((group < 0) | (group >= len(self.tables_))).any():
            raise ValueError(NOT_OURS)
        indices = np.empty((n_rows, self.n_columns_), np.int64)
        for g, (section, table) in enumerate(zip(sections[1:], self.tables_, strict=True)):
            own = group == g
            indices[own] = decode(section, int(own.sum()), table)
        return indices

    def encode_rows(self, indices: NDArray) -> list[bytes]:
        """Return the code of each row; if there are several groups, its own comes first."""
        several = len(self.tables_) > 1
        return [
            bytes([g] if several else []) + encode(row[None], self.tables_[g])
            for row, g in zip(indices, self.assign(indices)[0].tolist(), strict=True)
        ]

    def decode_row(self, data: bytes) -> NDArray:
        """Return the row, (1, k), of what `encode_rows` returned; raises ValueError as `decode`."""
        if len(self.tables_) == 1:
            return decode(data, 1, self.tables_[0])
        if not data or data[0] >= len(self.tables_):
            raise ValueError(NOT_OURS)
        return decode(data[1:], 1, self.tables_[data[0]])


NOT_OURS = "The data were not written by AutoencoderCompressor; pass what compress returned."

import numpy as np
import pytest

import skae
from skae.compression import _grouped_tables as module
from skae.compression._grouped_tables import GroupedTables
from skae.compression._tables import CodeTables

ONES = np.ones(2000)


@pytest.fixture(scope="module")
def scaled():
    """Integers whose rows are small or large in all columns at once."""
    rng = np.random.default_rng(0)
    scale = np.where(rng.random((2000, 1)) < 0.5, 1.0, 30.0)
    return np.rint(scale * rng.normal(size=(2000, 6))).astype(int)


@pytest.fixture(scope="module")
def grouped(scaled):
    return GroupedTables().fit(scaled, ONES)


def test_rows_of_different_sizes_have_tables_of_their_own(scaled, grouped):
    """Their entropy is that of the size and of the columns given the size."""
    assert len(grouped.tables_) >= 2
    alone = CodeTables().fit(scaled).bits(scaled).sum(axis=1)
    normal = 0.5 * np.log2(2 * np.pi * np.e)
    expected = 1 + 6 * (normal + 0.5 * np.log2(30))
    assert grouped.bits(scaled).mean() == pytest.approx(expected, rel=0.05)
    assert grouped.bits(scaled).mean() < 0.9 * alone.mean()


def test_independent_columns_have_one_table(scaled):
    rng = np.random.default_rng(0)
    shuffled = np.column_stack([rng.permutation(column) for column in scaled.T])
    one = GroupedTables().fit(shuffled, ONES)
    assert len(one.tables_) == 1
    np.testing.assert_allclose(
        one.bits(shuffled), CodeTables().fit(shuffled).bits(shuffled).sum(axis=1), atol=1e-3
    )


def test_a_row_costs_what_its_group_and_its_columns_cost(scaled, grouped):
    group, bits = grouped.assign(scaled[:50])
    for row, g, n_bits in zip(scaled[:50], group, bits, strict=True):
        costs = [
            grouped.groups_.bits([[k]])[0, 0] + table.bits(row[None]).sum()
            for k, table in enumerate(grouped.tables_)
        ]
        assert n_bits == pytest.approx(min(costs))
        assert costs[g] == min(costs)


def test_codes_are_decoded_to_the_bit_and_as_long_as_they_cost(scaled, grouped):
    sections = grouped.encode(scaled)
    np.testing.assert_array_equal(grouped.decode(sections, len(scaled)), scaled)
    n_bytes = sum(map(len, sections))
    assert 0 <= n_bytes - grouped.bits(scaled).sum() / 8 <= 8 * len(sections)
    for row, code in zip(scaled[:20], grouped.encode_rows(scaled[:20]), strict=True):
        np.testing.assert_array_equal(grouped.decode_row(code)[0], row)
    np.testing.assert_array_equal(grouped.decode(grouped.encode(scaled[:0]), 0), scaled[:0])


def test_weights_count_and_few_rows_have_one_table(scaled):
    few = GroupedTables().fit(scaled[:40], np.ones(40))
    assert len(few.tables_) == 1
    heavy = GroupedTables().fit(scaled, np.where(np.abs(scaled).sum(1) < 20, 10.0, 1.0))
    light = GroupedTables().fit(scaled, ONES)
    small = np.zeros((1, 6), int)
    assert heavy.bits(small)[0] < light.bits(small)[0]


def test_what_other_tables_wrote_is_refused(scaled, grouped):
    with pytest.raises(ValueError, match="were not written by AutoencoderCompressor"):
        grouped.decode([b""], 3)
    with pytest.raises(ValueError, match="were not written by AutoencoderCompressor"):
        grouped.decode_row(b"")
    with pytest.raises(ValueError, match="were not written by AutoencoderCompressor"):
        grouped.decode_row(bytes([200]))


def test_tables_are_saved(scaled, grouped, tmp_path):
    skae.save(grouped, tmp_path / "tables")
    again = skae.load(tmp_path / "tables")
    np.testing.assert_array_equal(again.bits(scaled), grouped.bits(scaled))
    broken = grouped.__class__()
    broken.groups_, broken.tables_ = grouped.groups_, ()
    with pytest.raises(ValueError, match="not of the same columns"):
        skae.save(broken, tmp_path / "tables")


def test_groups_are_chosen_by_some_of_many_rows(scaled, monkeypatch):
    monkeypatch.setattr(module, "MAX_ROWS", 500)
    some = GroupedTables().fit(scaled, ONES)
    assert len(some.tables_) >= 2
    assert some.bits(scaled).mean() == pytest.approx(
        GroupedTables().fit(scaled, ONES).bits(scaled).mean(), rel=0.05
    )

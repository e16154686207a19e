"""Streams: whole and of the right model, or refused with one sentence."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skae.compression._coder import decode, encode
from skae.compression._stream import (
    FREE_ROWS,
    ROWS_PER_BYTE,
    Stream,
    read_row,
    read_stream,
    write_row,
    write_stream,
)
from skae.compression._tables import CodeTables

MODEL, OTHER = b"a model", b"another one"
SECTIONS = [b"codes\0", b"", b'{"dtype": "float32"}']
STREAM = write_stream(SECTIONS, 7, MODEL, kind=3)
ROW = write_row([b"codes", b"corrections"], MODEL)


def flipped(data):
    """Yield the data with each bit changed, one at a time."""
    for i in range(8 * len(data)):
        changed = bytearray(data)
        changed[i // 8] ^= 1 << i % 8
        yield bytes(changed)


def sealed(content):
    """Return a stream with a right checksum."""
    return content + struct.pack("<I", zlib.crc32(content))


@given(st.lists(st.binary(max_size=40), max_size=5), st.integers(0, 60_000), st.integers(0, 255))
@settings(deadline=None)
def test_what_is_written_is_read(sections, n_rows, kind):
    data = write_stream(sections, n_rows, MODEL, kind)
    for form in (data, bytearray(data), memoryview(data)):
        assert read_stream(form, MODEL) == Stream(kind, n_rows, sections)
    if sections:
        row = write_row(sections, MODEL)
        assert read_row(row, MODEL, len(sections)) == sections
        assert len(row) == len(b"".join(sections)) + 2 + 2 * len(sections)


def test_any_changed_bit_and_any_truncation_of_a_stream_is_refused():
    for data in [*flipped(STREAM), *(STREAM[:n] for n in range(len(STREAM))), STREAM + b"\0"]:
        with pytest.raises(ValueError, match="truncated or altered|not a compressed stream"):
            read_stream(data, MODEL)


def test_any_changed_bit_and_any_truncation_of_a_row_is_refused():
    for data in [*flipped(ROW), *(ROW[:n] for n in range(len(ROW))), ROW + b"\0", STREAM]:
        with pytest.raises(ValueError, match="row was truncated or altered, or belongs to another"):
            read_row(data, MODEL, 2)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not a compressed stream of skae"),
        (b"Dear model, please decompress me. " * 3, "not a compressed stream of skae"),
        (bytes(1000), "not a compressed stream of skae"),
        (ROW, "not a compressed stream of skae"),
        (STREAM[:2], "truncated or altered"),
        ("text", "must be bytes; got an object of type str"),
        (None, "must be bytes; got an object of type NoneType"),
        (np.zeros(3), "must be bytes; got an object of type ndarray"),
        (sealed(STREAM[:4] + b"\2" + STREAM[5:-4]), "has version 2 .* reads version 1; install"),
        (write_stream(SECTIONS, 7, OTHER), "compressed by another model; decompress it with"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(data, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        read_stream(data, MODEL)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"must be bytes|row was truncated or altered"):
        read_row(data if data is not ROW else write_row(SECTIONS, OTHER), MODEL)


def field(offset, form, value):
    """Return a stream with a right checksum and one number changed."""
    content = bytearray(STREAM[:-4])
    struct.pack_into(form, content, offset, value)
    return sealed(bytes(content))


FORGED = {
    "rows": field(14, "<Q", 10**12),
    "most rows": field(14, "<Q", 2**64 - 1),
    "sections": field(22, "B", 255),
    "fewer sections": field(22, "B", 2),
    "a long section": field(23, "<Q", 10**12),
    "a section of 64 bits": field(23, "<Q", 2**64 - 1),
    "a longer section": field(23, "<Q", len(SECTIONS[0]) + 1),
}


@pytest.mark.parametrize("name", FORGED)
def test_false_claims_are_refused_without_memory(name):
    tracemalloc.start()
    with pytest.raises(ValueError, match="contradict each other"):
        read_stream(FORGED[name], MODEL)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10**6


@pytest.mark.parametrize("content", [b"", b"\5", b"\5\0four"])
def test_false_lengths_in_a_row_are_refused(content):
    row = write_row([content], MODEL)
    with pytest.raises(ValueError, match="contradict each other"):
        read_row(row, MODEL, 2)


def test_rows_are_bounded_by_the_length_of_a_stream():
    for n_rows in (0, FREE_ROWS, 10**5, 10**6):
        data = write_stream([b""], n_rows, MODEL)
        assert read_stream(data, MODEL).n_rows == n_rows <= FREE_ROWS + ROWS_PER_BYTE * len(data)
        assert len(data) < 36 + max(n_rows - FREE_ROWS, 0) / ROWS_PER_BYTE


def test_a_matrix_of_codes_in_a_stream():
    pytest.importorskip("constriction")
    X = np.random.default_rng(0).integers(-3, 4, (500, 6))
    tables = CodeTables().fit(X)
    data = write_stream([encode(X, tables)], len(X), MODEL)
    stream = read_stream(data, MODEL)
    assert (decode(stream.sections[0], stream.n_rows, tables) == X).all()
    row = write_row([encode(X[:1], tables)], MODEL)
    assert len(row) <= 4 + np.ceil(tables.bits(X[:1]).sum() / 8) + 1
    assert (decode(*read_row(row, MODEL), 1, tables) == X[:1]).all()

"""The bytes around codes: what they are, of which model, and whether they are whole."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

MAGIC = b"SKZ\x9e"  # not text: the last byte is none of ASCII or of the start of a UTF-8 character
VERSION = 1
HEADER = struct.Struct("<4sBB8sQB")  # magic, version, kind, model, rows, number of sections
LENGTH = struct.Struct("<Q")  # of a section
ROW_LENGTH = struct.Struct("<H")  # of a section of a row, but for the last one
CHECKSUM = struct.Struct("<I")
FREE_ROWS = 2**14  # that a stream of any length may claim
ROWS_PER_BYTE = 4  # that it may claim in addition


class Stream(NamedTuple):
    """What a stream contains.

    Attributes
    ----------
    kind : int
        From 0 to 255; what the sections are.
    n_rows : int
        Number of compressed rows.
    sections : list of bytes
        The payload.
    """

    kind: int
    n_rows: int
    sections: list[bytes]


def write_stream(sections: Sequence[bytes], n_rows: int, digest: bytes, kind: int = 0) -> bytes:
    """Return a stream of compressed rows.

    It is a header of 23 bytes, the length of each section in 8 bytes, the sections, zeros if there
    are more than 4 rows per byte beyond the first 2**14, and the CRC-32 of all of these.

    Parameters
    ----------
    sections : sequence of up to 255 bytes
        The payload.
    n_rows : int
        Number of compressed rows.
    digest : bytes
        Identifies the model; 8 bytes of its hash are stored.
    kind : int
        From 0 to 255; what the sections are.

    Returns
    -------
    data : bytes

    Raises
    ------
    struct.error
        If a number does not fit into its field.
    """
    header = HEADER.pack(MAGIC, VERSION, kind, _model_id(digest), n_rows, len(sections))
    lengths = b"".join(LENGTH.pack(len(section)) for section in sections)
    content = b"".join([header, lengths, *sections])
    content += bytes(_n_padding(len(content), n_rows))
    return content + CHECKSUM.pack(zlib.crc32(content))


def read_stream(data: Any, digest: bytes) -> Stream:
    """Return the content of a stream.

    Nothing that it claims is believed before it is checked: the checksum first, then the version,
    the model, the lengths, which must add up to that of the stream, and the number of rows, of
    which there are up to 4 per byte beyond the first 2**14.

    Parameters
    ----------
    data : bytes, bytearray or memoryview
        The stream.
    digest : bytes
        That of the model.

    Returns
    -------
    stream : Stream

    Raises
    ------
    ValueError
        If the data are no stream, were truncated or altered, or belong to another model or to a
        newer version. Any change within 32 successive bits is detected, as is any truncation;
        other changes with a probability of 1 - 2**-32.
    """
    data = _as_bytes(data)
    if not data or data[:4] != MAGIC[: len(data)]:
        raise ValueError(
            "The data are not a compressed stream of skae; pass the bytes of one as they were "
            "written."
        )
    content = data[: -CHECKSUM.size]
    if len(content) < HEADER.size or data != content + CHECKSUM.pack(zlib.crc32(content)):
        raise ValueError(_DAMAGED)
    _, version, kind, model, n_rows, n_sections = HEADER.unpack_from(content)
    if version != VERSION:
        raise ValueError(
            f"The stream has version {version} of the format and this skae reads version "
            f"{VERSION}; install the skae that wrote it, or a newer one."
        )
    if model != _model_id(digest):
        raise ValueError(
            "The stream was compressed by another model; decompress it with the one that "
            "compressed it."
        )
    start = HEADER.size + n_sections * LENGTH.size
    if start > len(content):
        raise ValueError(_INCONSISTENT)
    lengths = [length for (length,) in LENGTH.iter_unpack(content[HEADER.size : start])]
    end = start + sum(lengths)
    if end > len(content) or end + _n_padding(end, n_rows) != len(content):
        raise ValueError(_INCONSISTENT)
    return Stream(kind, n_rows, _split(content[start:end], lengths))


def write_row(sections: Sequence[bytes], digest: bytes) -> bytes:
    """Return the compressed form of a single row, with as few bytes as possible around it.

    It is the CRC-32 of the model and of what follows, the length of each section but the last one
    in 2 bytes, and the sections.

    Parameters
    ----------
    sections : sequence of bytes
        The payload, at least one. All but the last are shorter than 2**16 bytes.
    digest : bytes
        Identifies the model.

    Returns
    -------
    data : bytes
        Its length is 2 + 2 * len(sections) more than that of the sections.

    Raises
    ------
    struct.error
        If a section is too long.
    """
    lengths = b"".join(ROW_LENGTH.pack(len(section)) for section in sections[:-1])
    content = b"".join([lengths, *sections])
    return CHECKSUM.pack(_row_checksum(content, digest)) + content


def read_row(data: Any, digest: bytes, n_sections: int = 1) -> list[bytes]:
    """Return the sections of a single row.

    Parameters
    ----------
    data : bytes, bytearray or memoryview
        The row.
    digest : bytes
        That of the model.
    n_sections : int
        Number of sections that were written.

    Returns
    -------
    sections : list of bytes

    Raises
    ------
    ValueError
        If the data are no such row, were truncated or altered, or belong to another model or to
        another version. Any single changed bit is detected, and anything else with a probability
        of 1 - 2**-32.
    """
    data = _as_bytes(data)
    content = data[CHECKSUM.size :]
    if data[: CHECKSUM.size] != CHECKSUM.pack(_row_checksum(content, digest)):
        raise ValueError(
            "The compressed row was truncated or altered, or belongs to another model or version "
            "of skae; pass its bytes as they were written to the model that compressed it."
        )
    start = (n_sections - 1) * ROW_LENGTH.size
    if start > len(content):
        raise ValueError(_INCONSISTENT)
    lengths = [length for (length,) in ROW_LENGTH.iter_unpack(content[:start])]
    last = len(content) - start - sum(lengths)
    if last < 0:
        raise ValueError(_INCONSISTENT)
    return _split(content[start:], [*lengths, last])


_DAMAGED = "The stream was truncated or altered; pass all of its bytes, as they were written."
_INCONSISTENT = (
    "The lengths and numbers of rows in the compressed data contradict each other: they were not "
    "written by skae; compress the rows again."
)


def _as_bytes(data: Any) -> bytes:
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise ValueError(
            f"Compressed data must be bytes; got an object of type {type(data).__name__}."
        )
    return bytes(data)


def _split(content: bytes, lengths: Sequence[int]) -> list[bytes]:
    """Return successive parts of these lengths."""
    ends = list(accumulate(lengths))
    return [content[end - n : end] for end, n in zip(ends, lengths, strict=True)]


def _model_id(digest: bytes) -> bytes:
    return hashlib.sha256(digest).digest()[:8]


def _row_checksum(content: bytes, digest: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(b"skae row %d" % VERSION + _model_id(digest)))


def _n_padding(n_bytes: int, n_rows: int) -> int:
    """Return how many bytes are added to those before the checksum, for their number of rows."""
    return max(-((FREE_ROWS - n_rows) // ROWS_PER_BYTE) - n_bytes, 0)

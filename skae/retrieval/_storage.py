"""Arrays in memory, or in files that are mapped."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from skae._file_format import check_place
from skae.data import concatenate_chunks, gen_chunks


def gen_parts(array: NDArray) -> Iterator[NDArray]:
    """Yield consecutive chunks of an array."""
    return (array[chunk] for chunk in gen_chunks(*array.shape))


def store(
    folder: str | os.PathLike[str] | None, n_rows: int, **chunks: Iterable[NDArray]
) -> dict[str, NDArray]:
    """Return arrays, each given by name as consecutive chunks of its rows.

    If there is a folder, they are written to files there, which are replaced when all are complete,
    and mapped. A file that is replaced stays readable for those who mapped it before.
    """
    if folder is None:
        return {name: concatenate_chunks(n_rows, parts) for name, parts in chunks.items()}
    if not os.path.isdir(folder):
        raise ValueError(
            f"memmap_dir={os.fspath(folder)!r} is not a directory; create it or choose another one."
        )
    paths = {name: os.path.join(os.fsdecode(folder), f"{name}.npy") for name in chunks}
    for path in paths.values():
        check_place(path, "memmap_dir")
    written: dict[str, str] = {}
    try:
        for name, path in paths.items():
            written[path] = f"{path}.{secrets.token_hex(8)}"
            _write(written[path], n_rows, chunks[name])
        for path, part in written.items():
            os.replace(part, path)
    finally:
        for part in written.values():
            with suppress(FileNotFoundError):
                os.unlink(part)
    return {name: np.load(path, mmap_mode="r") for name, path in paths.items()}


def _write(path: str, n_rows: int, chunks: Iterable[NDArray]) -> None:
    whole, start = np.empty(0), 0
    for chunk in chunks:
        if not start:
            shape = n_rows, *chunk.shape[1:]
            whole = np.lib.format.open_memmap(path, "w+", dtype=chunk.dtype, shape=shape)
        whole[start : start + len(chunk)] = chunk
        start += len(chunk)

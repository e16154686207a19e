"""The file format: arrays as safetensors and everything else as JSON, without code."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from skae._encoding import Decoder, encode
from skae._schema import trusting

FORMAT = "1"
MAX_HEADER = 100_000_000  # bytes; the limit of safetensors
MAX_NESTED_BRACKETS = 200  # more than `encode` returns
MAX_DIGITS = 400  # of an integer, more than `encode` returns
STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)

PATH_ERRORS = (  # errors that another path may avoid
    errno.EACCES, errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT,
    errno.ENOTDIR, errno.EPERM, errno.EROFS,
)  # fmt: skip

Path = str | os.PathLike[str]


# ----------------------------------------------------------------------------------- writing


def check_place(path: Path, what: str) -> None:
    """Raise ValueError if no file can be written to a path."""
    where = _name(path, what)
    folder = os.path.dirname(where) or "."
    if os.path.exists(where) and not os.path.isfile(where):
        raise ValueError(_invalid_path(where, what))
    if not os.access(folder, os.W_OK):
        raise ValueError(
            f"{what}={where!r} cannot be written: the directory {folder!r} does not exist or is "
            "not writable; create it or choose another one."
        )


def write(path: Path, kind: str, value: Any) -> None:
    """Write a value to a file, which is replaced atomically if it exists.

    Raises
    ------
    OSError
        If the file cannot be written.
    TypeError, ValueError
        If the value or the path is not valid.
    """
    where = _name(path, "path")
    arrays: dict[str, NDArray] = {}
    written = encode(value, arrays, type(value).__name__)
    structure = json.dumps(written)
    metadata = {"skae": FORMAT, "kind": kind, "structure": structure}
    metadata["digest"] = _digest(structure, arrays)
    content = save(arrays, metadata) if arrays else _without_arrays(metadata)
    if int.from_bytes(content[:8], "little") > MAX_HEADER:
        raise ValueError(
            f"skae.save writes up to {MAX_HEADER:,} characters in addition to arrays, but this "
            f"{type(value).__name__} has more; convert long lists of numbers to arrays."
        )
    try:
        replace_file(where, content)
    except OSError as error:
        advice = ""
        if error.errno in PATH_ERRORS:
            advice = "; choose a file in an existing, writable directory"
        raise OSError(error.errno, f"{error.strerror}{advice}", where) from None


def _without_arrays(metadata: dict[str, str]) -> bytes:
    """Return the file content without arrays, for which old safetensors write no metadata."""
    header = json.dumps({"__metadata__": metadata}).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header


def replace_file(where: str, content: bytes) -> None:
    """Write a file atomically and synchronise it with the disk; follow a symbolic link."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(where).st_mode):
            code = errno.EISDIR if os.path.isdir(where) else errno.EINVAL
            raise OSError(code, "Not a regular file")
        if not os.access(where, os.W_OK):
            raise OSError(errno.EACCES, "The file is read-only")
    target = os.path.realpath(where)
    folder, name = os.path.split(target)
    if not name:
        raise OSError(errno.ENOENT, "The path has no file name")
    part = os.path.join(folder, f".skae-{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(part, flags, 0o666)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Synchronise a renamed file with the disk, on systems that support it."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network drives
                raise
        finally:
            os.close(descriptor)


# ----------------------------------------------------------------------------------- reading


def read(path: Path, kind: str, check: Callable[[Any], bool], trusted: Collection[str] = ()) -> Any:
    """Read a file that `write` wrote with the same kind, or raise ValueError.

    Values are checked before they are built. Functions that the file names are imported only if
    they are `trusted`. `check` returns whether a value is of this kind.
    """
    where = _name(path, "path")
    structure, arrays = _parts(where, kind)
    try:
        with trusting(trusted):
            value = Decoder(arrays).whole(_parsed(structure))
        if not check(value):
            raise ValueError(f"it contains a {type(value).__name__}")
    except MemoryError:
        raise
    except Exception as error:
        # Other errors are caused by invalid files only; their messages do not help users.
        message = " ".join(str(error).split()).rstrip(".")
        reason = message if type(error) is ValueError else "it is damaged"
        raise ValueError(f"{where} cannot be read as {kind} of skae: {reason}.") from error
    return value


def _name(path: Path, what: str) -> str:
    """Return a path as text, or raise if it is not valid."""
    try:
        where = os.fsdecode(path)
    except TypeError:
        raise TypeError(f"{what} must be a string or a path; got {path!r}.") from None
    try:
        possible = b"\0" not in os.fsencode(where)
    except UnicodeEncodeError:
        possible = False
    if not where or not possible:
        raise ValueError(_invalid_path(where, what))
    return where


def _invalid_path(where: str, what: str) -> str:
    return f"{what}={where!r} is not a valid file path; pass a file name in an existing directory."


def _check_regular(where: str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise ValueError(f"{where} is not a regular file; pass the path of a file that skae wrote.")


def _parts(where: str, kind: str) -> tuple[str, dict[str, NDArray]]:
    """Return the JSON and the arrays of a file, or raise ValueError if it is damaged."""
    # Opening a pipe would block, and opening a device may have side effects.
    _check_regular(where, os.stat(where).st_mode)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(where, flags), "rb") as file:
        about = os.fstat(file.fileno())
        _check_regular(where, about.st_mode)
        try:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or length > min(MAX_HEADER, about.st_size - 8):
                raise ValueError("The file is truncated.")
            start += file.read(length)
            header = _parsed(start[8:].decode())
            metadata = header.pop("__metadata__", {})
            structure, digest = metadata.get("structure", ""), metadata.get("digest")
            is_one = (metadata.get("skae"), metadata.get("kind")) == (FORMAT, kind)
            # Old releases of safetensors refuse files without arrays.
            size = about.st_size - len(start) if is_one else 0
            arrays = load(start + file.read(size)) if header and is_one else {}
            whole = digest == _digest(structure, arrays) and (header or not size)
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(_damaged(where, kind)) from error
    if not is_one:
        raise ValueError(
            f"{where} was not written by skae as {kind}, or by a newer version of skae."
        )
    booleans = (a.view(np.uint8) for a in arrays.values() if a.dtype == bool and a.size)
    if not whole or any(a.max() > 1 for a in booleans):
        raise ValueError(_damaged(where, kind))
    return structure, arrays


def _parsed(text: str) -> Any:
    """Parse JSON without deep recursion, or raise ValueError."""
    bare = np.frombuffer(STRING.sub("", text).encode(errors="surrogatepass"), np.uint8)
    opened, closed = (np.isin(bare, list(brackets)) for brackets in (b"[{", b"]}"))
    depth = (opened.astype(np.int8) - closed.astype(np.int8)).cumsum(dtype=np.int32)
    if depth.max(initial=0) > MAX_NESTED_BRACKETS:
        raise ValueError("it is nested too deeply")
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_int=_integer)
    except json.JSONDecodeError:
        raise ValueError("its structure is not valid JSON") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("it contains a duplicate name")
    return result


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError("it contains a number with too many digits")
    return int(digits)


def _damaged(where: str, kind: str) -> str:
    return f"{where} cannot be read as {kind} of skae: it is damaged."


def _digest(structure: str, arrays: dict[str, NDArray]) -> str:
    """Return a checksum of the content of a file."""
    digest = hashlib.sha256(structure.encode(errors="surrogatepass"))
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()

"""Files of captured rows: how they are called, written whole, listed and removed.

Knows folders and Parquet. Knows nothing of what the columns are, or of who reads them.

    model=fraud/version=3/date=2026-03-01/hour=14/1772373600000-1772373659120-4711-9f3c.parquet

Of rows answered in that hour (UTC): the first, the last, how many, and something by chance. So what
there is can be told from names alone, and any program that knows such folders reads them as one
table. A file is written beside its place and moved there: nobody reads half of one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, unquote

from gateway.errors import InvalidParameter, StoreFailed, Unsupported

if TYPE_CHECKING:
    import pyarrow

FOLDER: Final = "capture"
_HALF: Final = ".half"
_NAME = re.compile(r"([0-9]{1,15})-([0-9]{1,15})-([0-9]{1,12})-[0-9a-f]+\.parquet", re.ASCII)
_VERSION = re.compile(r"version=([0-9]{1,10})", re.ASCII)
# Of a folder's name, with what stands before it.
_MAX_NAME: Final = 200


class File(NamedTuple):
    """One file.

    Attributes:
        path: where it lies.
        model, version: whose rows.
        first_ms, last_ms: when the first and the last were answered.
        rows: in it.
        nbytes: that it takes.
    """

    path: Path
    model: str
    version: int
    first_ms: int
    last_ms: int
    rows: int
    nbytes: int


def check_installed() -> None:
    """Makes sure that files can be written and read.

    Raises:
        Unsupported: pyarrow is not installed.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise Unsupported(
            "captured rows are kept with pyarrow: pip install 'penstock[parquet]'"
        ) from error


def folder_of(folder: Path, model: str) -> Path:
    """Where the files of a model lie. A name that is too long for a folder is known by its hash."""
    name = quote(model, safe=" ")
    if len(name) > _MAX_NAME:
        name = hashlib.sha256(model.encode()).hexdigest()
    return folder / f"model={name}"


def write(
    folder: Path, model: str, version: int, first_ms: int, last_ms: int, table: pyarrow.Table
) -> Path:
    """Writes a table as a file of its own.

    Args:
        folder: of all captured rows.
        model: whose rows.
        version: of it.
        first_ms: when the first was answered.
        last_ms: when the last was.
        table: the rows.

    Raises:
        StoreFailed: the disk does not take it; nothing is left of it.
    """
    hour = time.gmtime(first_ms / 1000.0)
    place = (
        folder_of(folder, model)
        / f"version={version}"
        / time.strftime("date=%Y-%m-%d", hour)
        / time.strftime("hour=%H", hour)
    )
    name = f"{first_ms}-{last_ms}-{table.num_rows}-{secrets.token_hex(4)}.parquet"
    path = place / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreFailed(f"{place}: {error.strerror}") from error
    put(path, table)
    return path


def put(path: Path, table: pyarrow.Table) -> None:
    """Writes a table where it lies from now on, in the place of what lay there.

    Raises:
        StoreFailed: the disk does not take it; what lay there is as it was.
    """
    from pyarrow import ArrowException, parquet

    half = path.with_suffix(_HALF)
    try:
        with open(half, "wb", opener=_private) as file:
            parquet.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        half.rename(path)
    except (OSError, ArrowException) as error:
        with contextlib.suppress(OSError):
            half.unlink()
        reason = error.strerror if isinstance(error, OSError) else error
        raise StoreFailed(f"{path}: {reason or error}") from error


def read(path: Path, columns: list[str] | None = None) -> pyarrow.Table:
    """The table of a file, or some of its columns.

    Raises:
        InvalidParameter: it is no Parquet file, or damaged.
        FileNotFoundError: it was removed.
    """
    from pyarrow import ArrowException, parquet

    try:
        with path.open("rb") as file:
            return parquet.read_table(file, columns=columns)
    except FileNotFoundError:
        raise
    except (OSError, ArrowException, ValueError) as error:
        words = " ".join(str(error).split())[:200]
        raise InvalidParameter(f"{path}: not Parquet, or damaged: {words}") from error


def files_in(folder: Path, model: str | None = None) -> list[File]:
    """What there is, oldest first; of one model, or of all. What is none of ours is left alone."""
    start = folder if model is None else folder_of(folder, model)
    found = [file for path in _walk(start) if (file := file_of(path)) is not None]
    return sorted(found, key=lambda one: (one.last_ms, one.path))


def tidy(folder: Path, there: Sequence[File], max_bytes: int, oldest_ms: int) -> list[File]:
    """Removes what is too old or too much, the oldest first; what is left.

    Args:
        folder: of all captured rows.
        there: as `files_in` has them.
        max_bytes: of all files.
        oldest_ms: what ends before is removed.

    Raises:
        StoreFailed: a file cannot be removed.
    """
    nbytes = sum(one.nbytes for one in there)
    for place, one in enumerate(there):
        if nbytes <= max_bytes and one.last_ms >= oldest_ms:
            return list(there[place:])
        remove(folder, one.path)
        nbytes -= one.nbytes
    return []


def remove(folder: Path, path: Path) -> None:
    """Removes a file, and the folders above it that it leaves empty.

    Raises:
        StoreFailed: it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StoreFailed(f"{path}: {error.strerror}") from error
    for above in path.parents:
        if above == folder:
            return
        try:
            above.rmdir()
        except OSError:  # there is something else
            return


def clear_up(folder: Path) -> None:
    """Removes what a killed process was writing.

    Raises:
        StoreFailed: it cannot be removed.
    """
    for path in _walk(folder, _HALF):
        remove(folder, path)


def file_of(path: Path) -> File | None:
    """What its name tells of a file; None of one that is none of ours, or gone."""
    name = _NAME.fullmatch(path.name)
    parts = path.parts[-5:-1]
    if name is None or len(parts) < 4 or not parts[0].startswith("model="):
        return None
    version = _VERSION.fullmatch(parts[1])
    if version is None:
        return None
    try:
        nbytes = path.stat().st_size
    except OSError:  # removed meanwhile
        return None
    model = unquote(parts[0].removeprefix("model="))
    numbers = (int(name[1]), int(name[2]), int(name[3]))
    return File(path, model, int(version[1]), *numbers, nbytes)


def _walk(start: Path, suffix: str = ".parquet") -> Iterator[Path]:
    for place, folders, names in os.walk(start):
        folders.sort()
        for name in names:
            if name.endswith(suffix):
                yield Path(place, name)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)

"""Takes rows of requests, or of subjects, out of the files of captured rows.

Knows files and two of their columns. Knows nothing of the ledger, or of who asks. Blocking.

A file is written anew in its own place, whole: who is killed in between has erased some files and
not the others, and the same again goes on. What a disk keeps of blocks that it has freed is not in
anybody's hands here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.capture import files
from gateway.capture.files import File
from gateway.errors import InvalidParameter, StoreFailed
from gateway.outcomes.address import Address, parse_id

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be erased.

    Attributes:
        requests: all rows of these.
        subjects: keyed hashes, as files have them, of whom requests were about.
    """

    requests: frozenset[Address] = frozenset()
    subjects: frozenset[str] = frozenset()


@dataclass(slots=True)
class Erased:
    """What there was to erase.

    Attributes:
        rows: in files.
        requests: that they are of.
        versions: that answered them, by model and number.
    """

    rows: int = 0
    requests: set[Address] = field(default_factory=set)
    versions: set[tuple[str, int]] = field(default_factory=set)


def find(folder: Path, wanted: Wanted) -> Erased:
    """What there is to erase; changes nothing.

    Raises:
        StoreFailed: a file cannot be read.
    """
    found = Erased()
    for file, hit in _hits(folder, wanted):
        _note(found, file, hit)
    return found


def erase(folder: Path, wanted: Wanted) -> Erased:
    """Writes every file anew that holds some of it.

    Raises:
        StoreFailed: a file cannot be read or written; files before it are done.
    """
    found = Erased()
    for file, hit in _hits(folder, wanted):
        kept = _read(file.path).filter(hit["kept"])
        _replace(folder, file, kept)
        _note(found, file, hit)
    return found


def without(table: pyarrow.Table, wanted: Wanted) -> pyarrow.Table:
    """The rows of a table that is in no file yet, but for those that are to be erased."""
    import pyarrow.compute as pc

    return table.filter(pc.invert(_meant(table, wanted)))


def _meant(table: pyarrow.Table, wanted: Wanted) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = pa.array([f"{one.stream}-{one.sequence:x}" for one in wanted.requests], pa.string())
    subjects = pa.array(list(wanted.subjects), pa.string())
    return pc.or_(pc.is_in(table["request_id"], ids), pc.is_in(table["subject"], subjects))


def _replace(folder: Path, file: File, kept: pyarrow.Table) -> None:
    if not kept.num_rows:
        files.remove(folder, file.path)
        return
    files.put(file.path, kept)
    # Last: a name that tells of too many rows harms nobody.
    first, last, _, chance = file.path.name.split("-")
    try:
        file.path.rename(file.path.with_name(f"{first}-{last}-{kept.num_rows}-{chance}"))
    except OSError as error:
        raise StoreFailed(f"{file.path}: {error.strerror}") from error


def _hits(folder: Path, wanted: Wanted) -> Iterator[tuple[File, Any]]:
    """Files that hold some of it, with their ids and which rows are meant."""
    there = files.files_in(folder)
    if not there:  # pyarrow may be missing where nothing was ever captured
        return
    import pyarrow.compute as pc

    for file in there:
        try:
            table = _read(file.path, ["request_id", "subject"])
        except FileNotFoundError:  # too old meanwhile
            continue
        hit = _meant(table, wanted)
        if pc.any(hit).as_py():
            yield file, table.append_column("hit", hit).append_column("kept", pc.invert(hit))


def _read(path: Path, columns: list[str] | None = None) -> pyarrow.Table:
    try:
        return files.read(path, columns)
    except InvalidParameter as error:
        raise StoreFailed(f"{error}: what it holds cannot be erased but with the file") from error


def _note(found: Erased, file: File, hit: pyarrow.Table) -> None:
    ids = hit.filter(hit["hit"])["request_id"].to_pylist()
    found.rows += len(ids)
    found.requests |= {one for text in set(ids) if (one := parse_id(text)) is not None}
    found.versions.add((file.model, file.version))

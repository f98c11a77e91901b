"""Outcomes of a file, one after the other, as the API takes them.

Knows CSV, lines of JSON and, by way of `rows.parquet`, Parquet. Knows nothing of servers. No file
is ever in memory as a whole.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Final

import orjson

from gateway.errors import InvalidParameter, InvalidRequest

COLUMNS: Final = ("id", "client_id", "row", "outcome", "reward", "metric", "at")
_NUMBERS: Final = ("outcome", "row", "at", "reward")
# Longer ones are none of ours: a file without an end of line must not fill the memory.
MAX_LINE_BYTES: Final = 1 << 20
_PARQUET_ROWS: Final = 8192
_CSV, _PARQUET = (".csv",), (".parquet", ".pq")

Progress = Callable[[int, int], None]
"""Told of bytes, done and in all."""


def outcomes(path: Path, progress: Progress) -> Iterator[dict[str, Any]]:
    """The outcomes of a file; what kind it is, its name says.

    Args:
        path: of the file: `.csv` with a header, `.parquet`, anything else has an object a line.
        progress: told how far it is read.

    Raises:
        InvalidRequest: it cannot be read as what its name says.
        Unsupported: it is Parquet, and pyarrow is not installed.
    """
    try:
        if path.suffix.lower() in _PARQUET:
            yield from _of_parquet(path, progress)
            return
        with path.open("rb") as file:
            lines = _lines(path, file, progress)
            if path.suffix.lower() in _CSV:
                yield from _of_table(path, (line.decode() for _, line in lines))
                return
            for number, line in lines:
                if line.strip():
                    yield _object(path, number, line)
    except (UnicodeDecodeError, csv.Error, InvalidParameter) as error:
        raise InvalidRequest(f"{path}: {error}") from error
    except OSError as error:
        raise InvalidRequest(f"{path}: {error.strerror}") from error


def _lines(path: Path, file: IO[bytes], progress: Progress) -> Iterator[tuple[int, bytes]]:
    size, number, done = path.stat().st_size, 0, 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise InvalidRequest(f"{path}: line {number}: longer than {MAX_LINE_BYTES} bytes")
        done += len(line)
        yield number, line
        progress(min(done, size), size)


def _object(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"{path}: line {number}: expected JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidRequest(f"{path}: line {number}: expected an object")
    return found


def _of_table(path: Path, lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    reader = csv.DictReader(lines, restkey="more")
    _check(path, reader.fieldnames or ())
    for line in reader:
        given: dict[str, Any] = {name: cell for name, cell in line.items() if cell}
        for name in _NUMBERS:
            if name in given:
                given[name] = _number(given[name])
        yield given


def _of_parquet(path: Path, progress: Progress) -> Iterator[dict[str, Any]]:
    from gateway.rows import parquet

    checked = False
    for line in parquet.lines(str(path), _PARQUET_ROWS, progress):
        if not checked:
            _check(path, line)
            checked = True
        yield _plain(line)


def _check(path: Path, names: Iterable[str]) -> None:
    given = set(names)
    named = bool(given & {"id", "client_id"}) and bool(given & {"outcome", "reward"})
    if not named or not given <= set(COLUMNS):
        raise InvalidRequest(
            f"{path}: expected the columns id or client_id, outcome or reward, and maybe row,"
            f" metric and at, got {', '.join(sorted(map(str, given))) or 'none'}"
        )


def _number(text: str) -> int | float | str:
    """A number where the text is one, else the text."""
    for kind in (int, float):
        try:
            found = kind(text)
        except ValueError:
            continue
        return found if math.isfinite(found) else text
    return text


def _plain(line: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON has it, without empty cells; the server says what it thinks of odd ones."""
    found: dict[str, Any] = {}
    for name, value in line.items():
        if value is None or value != value:
            continue
        if isinstance(value, bytes):
            found[name] = value.decode(errors="replace")
        elif isinstance(value, Decimal):
            found[name] = float(value)
        elif isinstance(value, date):  # and a time of a day
            found[name] = value.isoformat()
        else:
            found[name] = value if isinstance(value, str | int | float) else str(value)
    return found

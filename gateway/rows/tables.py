"""CSV and NDJSON as tables: a header, and chunks of rows.

Knows lines. Knows nothing of inputs. Most CSV is numbers without quotes; NumPy's own parser reads
such lines ten times as fast as they are taken apart here, where something is amiss.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import orjson

from gateway.errors import InvalidParameter
from gateway.rows import cells
from gateway.tensors import Array, TensorSpec


class Chunk(Protocol):
    """Some rows of a table, one after the other."""

    @property
    def rows(self) -> int:
        """How many."""

    def values(self, places: Sequence[int], spec: TensorSpec) -> tuple[Array, Array | None]:
        """Some columns in an input's datatype, as `cells.of_rows` gives them."""


class Table(Protocol):
    """A file of rows."""

    @property
    def header(self) -> Sequence[str]:
        """Names of its columns."""

    @property
    def lists(self) -> frozenset[str]:
        """Columns that hold a list in each cell."""

    def chunks(self, size: int, limit: int | None) -> Iterator[Chunk]:
        """Its rows, at most `size` at a time and `limit` in all."""


def opened(form: str, path: str, lines: Iterator[str]) -> Table:
    """The table that lines of text make.

    Raises:
        InvalidParameter: they make none.
    """
    return _Csv(path, lines) if form == "csv" else _Ndjson(path, lines)


class _Cells:
    """Rows as lists of cells."""

    def __init__(self, path: str, header: Sequence[str], rows: Sequence[Any], first: int) -> None:
        self.rows = len(rows)
        self._path, self._header, self._rows, self._first = path, header, rows, first

    def values(self, places: Sequence[int], spec: TensorSpec) -> tuple[Array, Array | None]:
        return cells.of_rows(self._path, self._rows, self._first, self._header, places, spec)


class _Lines:
    """Rows as lines without quotes."""

    def __init__(self, path: str, header: Sequence[str], lines: Sequence[str], first: int) -> None:
        self._lines = [line for line in lines if line.strip("\r\n")]
        self.rows = len(self._lines)
        self._path, self._header, self._first = path, header, first

    def values(self, places: Sequence[int], spec: TensorSpec) -> tuple[Array, Array | None]:
        if spec.datatype in ("FP32", "FP64"):
            found = self._numbers(places, spec.datatype)
            if found is not None:
                return found, None
        rows = _as_wide(self._path, len(self._header), csv.reader(self._lines), self._first)
        return cells.of_rows(self._path, list(rows), self._first, self._header, places, spec)

    def _numbers(self, places: Sequence[int], datatype: str) -> Array | None:
        """None: not all of them are numbers, or not all rows as wide as the header."""
        commas, longest = len(self._header) - 1, csv.field_size_limit()
        if any(line.count(",") != commas or len(line) > longest for line in self._lines):
            return None
        try:
            array = np.loadtxt(
                self._lines, np.float64, comments=None, delimiter=",", usecols=places, ndmin=2
            )
        except ValueError:
            return None
        return cells.of_numbers(array, datatype) if len(array) == self.rows else None


class _Csv:
    def __init__(self, path: str, lines: Iterator[str]) -> None:
        header = next(csv.reader(lines), None)
        if not header:
            raise InvalidParameter(f"{path}: expected a header line with the columns' names")
        self.header = [name.strip() for name in header]
        self.lists: frozenset[str] = frozenset()
        self._path, self._lines = path, lines

    def chunks(self, size: int, limit: int | None) -> Iterator[Chunk]:
        first = 1
        while (wanted := _wanted(size, limit, first)) and (
            taken := list(itertools.islice(self._lines, wanted))
        ):
            if any('"' in line for line in taken):
                # A quoted cell may go over several lines.
                yield from self._quoted(itertools.chain(taken, self._lines), first, size, limit)
                return
            chunk = _Lines(self._path, self.header, taken, first)
            if chunk.rows:
                yield chunk
            first += chunk.rows

    def _quoted(
        self, lines: Iterator[str], first: int, size: int, limit: int | None
    ) -> Iterator[Chunk]:
        rows = _as_wide(self._path, len(self.header), csv.reader(lines), first)
        yield from _in_cells(self._path, self.header, rows, first, size, limit)


class _Ndjson:
    def __init__(self, path: str, lines: Iterator[str]) -> None:
        values = (_json(path, line) for line in lines if line.strip())
        first = next(values, None)
        if not isinstance(first, dict):
            raise InvalidParameter(f"{path}: expected a JSON object a line, by column")
        self.header = list(first)
        self.lists = frozenset(name for name in first if type(first[name]) is list)
        self._path, self._values = path, itertools.chain([first], values)

    def chunks(self, size: int, limit: int | None) -> Iterator[Chunk]:
        rows = (self._row(number, value) for number, value in enumerate(self._values, 1))
        yield from _in_cells(self._path, self.header, rows, 1, size, limit)

    def _row(self, number: int, value: Any) -> list[Any]:
        if not isinstance(value, dict) or value.keys() != set(self.header):
            names = few(self.header)
            raise InvalidParameter(
                f"{self._path}: row {number}: expected the same columns in every row: {names}"
            )
        return [value[name] for name in self.header]


def _in_cells(
    path: str,
    header: Sequence[str],
    rows: Iterator[list[Any]],
    first: int,
    size: int,
    limit: int | None,
) -> Iterator[Chunk]:
    while (wanted := _wanted(size, limit, first)) and (
        taken := list(itertools.islice(rows, wanted))
    ):
        yield _Cells(path, header, taken, first)
        first += len(taken)


def _wanted(size: int, limit: int | None, first: int) -> int:
    return size if limit is None else min(size, limit - first + 1)


def _as_wide(path: str, width: int, rows: Iterable[list[Any]], first: int) -> Iterator[list[Any]]:
    for number, row in enumerate((row for row in rows if row), first):
        if len(row) != width:
            raise InvalidParameter(f"{path}: row {number}: expected {width} cells, got {len(row)}")
        yield row


def _json(path: str, text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidParameter(f"{path}: not JSON: {error}") from error


def few(names: Sequence[str]) -> str:
    """Names for a message."""
    return ", ".join(names[:40]) + (", ..." if len(names) > 40 else "")

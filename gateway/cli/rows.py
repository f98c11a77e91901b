"""Rows from files to the inputs of a model.

Knows CSV, NDJSON, JSON and NumPy's files, and how columns and arrays become inputs. Knows nothing
of how a model is asked. CSV and NDJSON are read as they are needed, whatever their size.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson

from gateway.client.encoding import of_list
from gateway.errors import InvalidParameter, InvalidTensor, WrongInputs
from gateway.tensors import Array, TensorSpec

FORMATS = ("csv", "ndjson", "json", "npy", "npz")
Inputs = dict[str, Array]
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from.

    Attributes:
        path: a file; `-` is standard input.
        format: one of `FORMATS`.
        columns: only these columns of a table, in this order; none: all.
        drop: columns of a table that are left out.
    """

    path: str
    format: str
    columns: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


def format_of(path: str, given: str | None = None) -> str:
    """What a file holds: what was given, else by its suffix; standard input is taken for CSV.

    Raises:
        InvalidParameter: no format that is read here.
    """
    by_name = "csv" if path == "-" else Path(path).suffix.removeprefix(".").lower()
    found = given or by_name
    if found not in FORMATS:
        raise InvalidParameter(f"{path}: expected --format {', '.join(FORMATS)}, got '{found}'")
    return found


def batches(
    source: Source,
    specs: Sequence[TensorSpec],
    size: int,
    limit: int | None,
    progress: Callable[[int, int], None],
) -> Iterator[tuple[int, Inputs]]:
    """Reads a source as (rows, inputs), at most `size` rows each.

    Args:
        source: what to read.
        specs: the model's inputs.
        size: rows in one batch, at least 1.
        limit: rows in all; None: every one.
        progress: told of (bytes read, bytes in all).

    Raises:
        InvalidParameter: the file cannot be read, or is not what its format says.
        WrongInputs: its names or widths do not fit the model.
        InvalidTensor: a value is not of the model's datatype.
    """
    try:
        with _opened(source.path) as (file, total):
            if source.format in ("csv", "ndjson"):
                lines = _counted(file, lambda read: progress(read, total))
                yield from _tables(source, specs, size, limit, lines)
            else:
                arrays = _arrays(source, specs, file.read())
                yield from _sliced(arrays, size, limit, progress)
    except OSError as error:
        raise InvalidParameter(f"{source.path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidParameter(f"{source.path}: expected UTF-8: {error}") from error
    except csv.Error as error:
        raise InvalidParameter(f"{source.path}: not CSV: {error}") from error


@contextmanager
def _opened(path: str) -> Iterator[tuple[IO[bytes], int]]:
    if path == "-":
        yield sys.stdin.buffer, 0
        return
    with Path(path).open("rb") as file:
        yield file, Path(path).stat().st_size


def _counted(file: IO[bytes], told: Callable[[int], None]) -> Iterator[str]:
    read = 0
    for line in file:
        read += len(line)
        told(read)
        yield line.decode("utf-8-sig" if read == len(line) else "utf-8")


# ---- tables -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Table:
    """Columns by name, those that hold a list in each cell (NDJSON can), and the rows' cells."""

    header: Sequence[str]
    lists: frozenset[str]
    rows: Iterator[list[Any]]


def _tables(
    source: Source,
    specs: Sequence[TensorSpec],
    size: int,
    limit: int | None,
    lines: Iterator[str],
) -> Iterator[tuple[int, Inputs]]:
    table = (_csv if source.format == "csv" else _ndjson)(source.path, lines)
    plan = _plan(source, table, specs)
    left = itertools.islice(table.rows, limit)
    first = 1
    while taken := list(itertools.islice(left, size)):
        yield (
            len(taken),
            {spec.name: _column(taken, first, table.header, places, spec) for spec, places in plan},
        )
        first += len(taken)


def _csv(path: str, lines: Iterator[str]) -> _Table:
    reader = csv.reader(lines)
    header = next(reader, None)
    if not header:
        raise InvalidParameter(f"{path}: expected a header line with the columns' names")
    names = [name.strip() for name in header]
    return _Table(names, frozenset(), _as_wide(path, len(names), (row for row in reader if row)))


def _ndjson(path: str, lines: Iterator[str]) -> _Table:
    values = (_json(path, line) for line in lines if line.strip())
    first = next(values, None)
    if not isinstance(first, dict):
        raise InvalidParameter(f"{path}: expected a JSON object a line, by column")
    names = list(first)
    rows = (_by_name(path, names, value) for value in itertools.chain([first], values))
    return _Table(names, frozenset(name for name in names if type(first[name]) is list), rows)


def _by_name(path: str, names: Sequence[str], value: Any) -> list[Any]:
    if not isinstance(value, dict) or set(value) != set(names):
        raise InvalidParameter(f"{path}: expected the same columns in every row: {_few(names)}")
    return [value[name] for name in names]


def _as_wide(path: str, width: int, rows: Iterable[list[Any]]) -> Iterator[list[Any]]:
    for number, row in enumerate(rows, 1):
        if len(row) != width:
            raise InvalidParameter(f"{path}: row {number}: expected {width} cells, got {len(row)}")
        yield row


def _plan(
    source: Source, table: _Table, specs: Sequence[TensorSpec]
) -> list[tuple[TensorSpec, list[int]]]:
    """Which columns, by their places in the header, make up each input."""
    header = table.header
    unknown = [name for name in (*source.columns, *source.drop) if name not in header]
    if unknown:
        raise WrongInputs(f"{source.path}: no column {_few(unknown)}; it has {_few(header)}")
    repeated = [name for name in header if header.count(name) > 1]
    if repeated:
        raise WrongInputs(f"{source.path}: column {repeated[0]} is there more than once")
    names = [name for name in source.columns or header if name not in source.drop]
    if len(specs) == 1 and names != [specs[0].name] and specs[0].name not in table.lists:
        _check_width(source.path, names, specs[0])
        return [(specs[0], [header.index(name) for name in names])]
    wanted = {spec.name for spec in specs}
    if set(names) != wanted:
        extra = [name for name in names if name not in wanted]
        missing = [spec.name for spec in specs if spec.name not in names]
        hint = f"; --drop {','.join(extra)} leaves the rest" if extra and not missing else ""
        raise WrongInputs(
            f"{source.path}: expected columns {_few([s.name for s in specs])}, got {_few(names)}"
            f"{hint}"
        )
    for spec in specs:
        if spec.shape[:1] != (-1,) or spec.name not in table.lists:
            _check_width(source.path, [spec.name], spec)
    return [(spec, [header.index(spec.name)]) for spec in specs]


def _check_width(path: str, names: Sequence[str], spec: TensorSpec) -> None:
    inner = spec.shape[1:]
    if spec.shape[:1] != (-1,) or (len(inner) > 1 and -1 in inner):
        raise WrongInputs(
            f"input '{spec.name}' of shape {list(spec.shape)} is not made of columns: "
            "bring arrays, as .npy, .npz or .json"
        )
    width = math.prod(inner)
    if width >= 0 and len(names) != width:  # below: any number
        more = names[width:]
        hint = (
            f"; name them with --columns, or leave some out: --drop {','.join(more)}"
            if more
            else ""
        )
        raise WrongInputs(
            f"{path}: input '{spec.name}' takes {width} columns, got {len(names)}: "
            f"{_few(names)}{hint}"
        )


def _column(
    rows: Sequence[Sequence[Any]],
    first: int,
    header: Sequence[str],
    places: Sequence[int],
    spec: TensorSpec,
) -> Array:
    table = [
        [_value(row[place], spec.datatype, number, header[place]) for place in places]
        for number, row in enumerate(rows, first)
    ]
    return _in_shape(of_list(spec.name, table, spec.datatype).array, spec)


def _in_shape(array: Array, spec: TensorSpec) -> Array:
    """Values of (rows, columns) put into the input's shape; lists, (rows, 1, ...), have it."""
    rows, columns, *cell = array.shape
    inner = spec.shape[1:]
    if cell and columns == 1 and _fits(cell, inner):
        return array[:, 0]
    flat = (columns,) if inner == (-1,) else inner
    if not cell and -1 not in flat and math.prod(flat) == columns:
        return array.reshape(rows, *flat)
    raise InvalidTensor(
        f"input '{spec.name}': expected rows of shape {list(inner)}, got {cell or [columns]}"
    )


def _fits(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    return len(shape) == len(wanted) and all(
        want in (-1, got) for got, want in zip(shape, wanted, strict=True)
    )


def _value(cell: Any, datatype: str, row: int, column: str) -> Any:
    """A cell of a table; empty ones are missing numbers, which only floats can be."""
    if type(cell) is list:
        return [_value(one, datatype, row, column) for one in cell]
    try:
        if datatype in ("FP16", "BF16", "FP32", "FP64"):
            return math.nan if cell in ("", None) else float(cell) if type(cell) is str else cell
        if type(cell) is not str or datatype == "BYTES":
            return cell
        return _BOOLEANS[cell.strip().lower()] if datatype == "BOOL" else int(cell)
    except (ValueError, KeyError) as error:
        raise InvalidTensor(
            f"row {row}, column {column}: expected a value of {datatype}, got {cell[:40]!r}"
        ) from error


# ---- arrays -------------------------------------------------------------------------------------


def _arrays(source: Source, specs: Sequence[TensorSpec], data: bytes) -> Inputs:
    if source.columns or source.drop:
        raise InvalidParameter(f"{source.path}: --columns and --drop are for CSV and NDJSON")
    found = (
        _json_arrays(source.path, specs, data)
        if source.format == "json"
        else _numpy(source.path, specs, data)
    )
    wanted = [spec.name for spec in specs]
    if set(found) != set(wanted):
        raise WrongInputs(f"{source.path}: expected arrays {_few(wanted)}, got {_few(list(found))}")
    return found


def _numpy(path: str, specs: Sequence[TensorSpec], data: bytes) -> Inputs:
    try:
        # Without pickles: a file of data must not run anything.
        loaded = np.load(io.BytesIO(data), allow_pickle=False)
        named = dict(loaded) if isinstance(loaded, np.lib.npyio.NpzFile) else loaded
    except (ValueError, EOFError, OSError) as error:
        raise InvalidParameter(f"{path}: not a file of NumPy's arrays: {error}") from error
    return named if isinstance(named, dict) else {_only(path, specs).name: named}


def _json_arrays(path: str, specs: Sequence[TensorSpec], data: bytes) -> Inputs:
    value = _json(path, data)
    given = value if isinstance(value, dict) else {_only(path, specs).name: value}
    datatypes = {spec.name: spec.datatype for spec in specs}
    return {
        name: of_list(name, one, datatypes[name]).array if name in datatypes else np.array(one)
        for name, one in given.items()
    }


def _only(path: str, specs: Sequence[TensorSpec]) -> TensorSpec:
    if len(specs) != 1:
        names = _few([spec.name for spec in specs])
        raise WrongInputs(f"{path}: expected arrays {names} by name, got one without")
    return specs[0]


def _sliced(
    arrays: Inputs, size: int, limit: int | None, progress: Callable[[int, int], None]
) -> Iterator[tuple[int, Inputs]]:
    rows = {array.shape[0] if array.ndim else 0 for array in arrays.values()}
    if len(rows) != 1 or 0 in rows:
        lengths = {name: list(array.shape) for name, array in arrays.items()}
        raise WrongInputs(f"arrays: expected as many rows in each, got shapes {lengths}")
    row_bytes = sum(array.nbytes for array in arrays.values()) // min(rows)
    total = min(rows) if limit is None else min(*rows, limit)
    for start in range(0, total, size):
        stop = min(start + size, total)
        yield stop - start, {name: array[start:stop] for name, array in arrays.items()}
        progress(stop * row_bytes, total * row_bytes)


def _json(path: str, text: str | bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidParameter(f"{path}: not JSON: {error}") from error


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:40]) + (", ..." if len(names) > 40 else "")

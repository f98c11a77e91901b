"""Rows from files to the inputs of a model, a batch at a time.

Knows which format is read by whom. Knows nothing of how a model is asked. CSV, NDJSON, Parquet and
NumPy's files are read as they are needed, whatever their size; JSON is read whole.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from gateway.errors import InvalidParameter
from gateway.rows import arrays, placing, tables
from gateway.rows.batch import Batch, Source
from gateway.tensors import TensorSpec

FORMATS = ("csv", "ndjson", "parquet", "json", "npy", "npz")


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
) -> Iterator[Batch]:
    """Reads a source as batches of at most `size` rows each.

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
        if source.format == "parquet":
            from gateway.rows import parquet

            table = parquet.opened(source.path, progress)
            yield from placing.batches(source, table, specs, size, limit)
            return
        with _opened(source.path) as (file, total):
            if source.format in ("csv", "ndjson"):
                lines = _counted(file, lambda read: progress(read, total))
                table = tables.opened(source.format, source.path, lines)
                yield from placing.batches(source, table, specs, size, limit)
            else:
                yield from arrays.batches(source, file, specs, size, limit, progress)
    except OSError as error:
        raise InvalidParameter(f"{source.path}: {error.strerror or error}") from error
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

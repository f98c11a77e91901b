"""Parquet as a table.

Knows pyarrow, which is an extra: nothing else of the gateway needs it. Knows nothing of inputs. A
file is decoded a batch at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gateway.errors import InvalidParameter, Unsupported
from gateway.rows import cells
from gateway.rows.tables import Chunk, Table
from gateway.tensors import Array, TensorSpec


def opened(path: str, progress: Callable[[int, int], None]) -> Table:
    """The table that a file holds.

    Raises:
        Unsupported: pyarrow is not installed.
        InvalidParameter: it is no Parquet file, or a pipe.
        OSError: it cannot be opened.
    """
    return _Parquet(path, _file(path), Path(path).stat().st_size, progress)


def lines(
    path: str, size: int, progress: Callable[[int, int], None]
) -> Iterator[Mapping[str, Any]]:
    """Row after row, by the names of columns, as Python has such values.

    Args:
        path: of the file.
        size: rows that are decoded at a time.
        progress: told of bytes, done and in all.

    Raises:
        Unsupported, InvalidParameter, OSError: as `opened`.
    """
    from pyarrow import ArrowException

    file, nbytes, done = _file(path), Path(path).stat().st_size, 0
    batches = file.iter_batches(size)
    while True:
        try:
            batch = next(batches, None)
            found = [] if batch is None else batch.to_pylist()
        except (ArrowException, ValueError, OSError) as error:
            raise _damaged(path, error) from error
        if batch is None:
            return
        yield from found
        done += batch.num_rows
        progress(nbytes * done // max(1, file.metadata.num_rows), nbytes)


def _file(path: str) -> Any:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise Unsupported(
            f"{path}: Parquet is read with pyarrow: pip install 'penstock[parquet]'"
        ) from error
    if path == "-":
        raise InvalidParameter("-: Parquet is read from a file, not from standard input")
    try:
        return parquet.ParquetFile(path, pre_buffer=False)
    except (pyarrow.ArrowException, ValueError) as error:
        raise _damaged(path, error) from error


class _Parquet:
    def __init__(
        self, path: str, file: Any, size: int, progress: Callable[[int, int], None]
    ) -> None:
        from pyarrow import types

        schema = file.schema_arrow
        self.header = list(schema.names)
        self.lists = frozenset(
            field.name
            for field in schema
            if types.is_list(field.type)
            or types.is_large_list(field.type)
            or types.is_fixed_size_list(field.type)
        )
        self._path, self._file, self._size, self._progress = path, file, size, progress

    def chunks(self, size: int, limit: int | None) -> Iterator[Chunk]:
        from pyarrow import ArrowException

        total, first = self._file.metadata.num_rows, 1
        batches = self._file.iter_batches(size)
        while limit is None or first <= limit:
            try:
                batch = next(batches, None)
            except (ArrowException, ValueError, OSError) as error:
                raise _damaged(self._path, error) from error
            if batch is None:
                return
            if limit is not None:
                batch = batch.slice(0, limit - first + 1)
            if batch.num_rows:
                yield _Columns(self._path, batch, first)
            first += batch.num_rows
            self._progress(self._size * (first - 1) // max(1, total), self._size)


class _Columns:
    """Rows as Arrow's columns."""

    def __init__(self, path: str, batch: Any, first: int) -> None:
        self.rows = batch.num_rows
        self._path, self._batch, self._first = path, batch, first

    def values(self, places: Sequence[int], spec: TensorSpec) -> tuple[Array, Array | None]:
        columns = [self._batch.column(place) for place in places]
        if all(_is_number(column.type) for column in columns):
            empty = np.array([column.null_count for column in columns], np.int64)
            if spec.datatype in cells.FLOATS or not empty.any():
                table = [column.to_numpy(zero_copy_only=False) for column in columns]
                found = cells.of_numbers(np.stack(table, axis=1), spec.datatype)
                if found is not None:
                    return found, empty if empty.any() else None
        header = [self._batch.schema.names[place] for place in places]
        rows = list(zip(*(column.to_pylist() for column in columns), strict=True))
        return cells.of_rows(self._path, rows, self._first, header, range(len(header)), spec)


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind))


def _damaged(path: str, error: Exception) -> InvalidParameter:
    words = " ".join(str(error).split())[:200]
    return InvalidParameter(f"{path}: not Parquet, or damaged: {words}")

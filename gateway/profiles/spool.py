"""Rows of one matrix, kept in an unnamed temporary file until they are needed again.

Knows bytes on disk. Knows nothing of what the columns are. The file takes rows x columns x bytes of
a value in the folder for temporary files (`TMPDIR`), and goes with the process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import IO, Any

import numpy as np

from gateway.errors import StoreFailed
from gateway.tensors import Array

# What is read back at once. The figures of a profile do not depend on how its rows came, since
# they are added up over blocks of this size.
BLOCK_BYTES = 8 << 20


class Spool:
    """A matrix that is written once, row by row, and then read.

    Args:
        columns: of the matrix.
        dtype: of its values.
    """

    def __init__(self, columns: int, dtype: np.dtype[Any]) -> None:
        self.rows = 0
        self.row_bytes = columns * dtype.itemsize
        self._columns, self._dtype = columns, dtype
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="penstock-")  # noqa: SIM115

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, rows: Array) -> None:
        """Takes (rows, columns) in.

        Raises:
            StoreFailed: the disk is full.
        """
        try:
            self._file.write(np.ascontiguousarray(rows, self._dtype).data)
        except OSError as error:
            raise StoreFailed(
                f"temporary files in {tempfile.gettempdir()}: {error.strerror};"
                " TMPDIR names another folder"
            ) from error
        self.rows += len(rows)

    def blocks(self) -> Iterator[Array]:
        """Every row again, some megabytes at a time."""
        if not self.rows or not self.row_bytes:
            return
        whole = self._mapped()
        step = max(1, BLOCK_BYTES // self.row_bytes)
        for start in range(0, self.rows, step):
            yield np.array(whole[start : start + step])

    def pick(self, rows: Array) -> Array:
        """Some rows, by their numbers."""
        if not self.rows or not self.row_bytes:
            return np.empty((len(rows), self._columns), self._dtype)
        picked: Array = self._mapped()[rows]
        return np.array(picked)

    def _mapped(self) -> Array:
        self._file.flush()
        shape = (self.rows, self._columns)
        return np.memmap(self._file, self._dtype, mode="r", shape=shape)

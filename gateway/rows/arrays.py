"""NumPy's files and JSON as arrays: an input each, cut into batches.

Knows NPY, NPZ and JSON. Knows nothing of how inputs are checked: arrays go as they are. NPY is
mapped into memory and NPZ read member by member, side by side, so that neither need fit in it.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import IO, Any, Protocol

import numpy as np
import orjson
from numpy.lib import format as npy

from gateway.client.encoding import of_list
from gateway.errors import InvalidParameter, WrongInputs
from gateway.rows.batch import Batch, Source
from gateway.rows.tables import few
from gateway.tensors import Array, TensorSpec


class Rows(Protocol):
    """An array whose rows are taken one after the other."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its first axis counts rows."""

    @property
    def nbytes(self) -> int:
        """Of all rows."""

    def __getitem__(self, rows: slice) -> Array: ...


def batches(
    source: Source,
    file: IO[bytes],
    specs: Sequence[TensorSpec],
    size: int,
    limit: int | None,
    progress: Callable[[int, int], None],
) -> Iterator[Batch]:
    """The arrays of a file, some rows at a time.

    Raises:
        InvalidParameter: the file is not what its format says.
        WrongInputs: its arrays are not the model's inputs, or of different lengths.
    """
    if source.columns or source.drop or source.label:
        raise InvalidParameter(
            f"{source.path}: --columns, --drop and --label are for CSV, NDJSON and Parquet"
        )
    with ExitStack() as stack:
        found = _found(source, file, specs, stack)
        wanted = [spec.name for spec in specs]
        if set(found) != set(wanted):
            raise WrongInputs(
                f"{source.path}: expected arrays {few(wanted)}, got {few(list(found))}"
            )
        yield from _sliced(found, size, limit, progress)


def _found(
    source: Source, file: IO[bytes], specs: Sequence[TensorSpec], stack: ExitStack
) -> Mapping[str, Rows]:
    if source.format == "json":
        return _json_arrays(source.path, specs, file.read())
    try:
        if source.path == "-":
            file = io.BytesIO(file.read())
        if source.format == "npz":
            return _npz(file, stack)
        return {_only(source.path, specs).name: _npy(source.path, file)}
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise InvalidParameter(f"{source.path}: not a file of NumPy's arrays: {error}") from error


def _npy(path: str, file: IO[bytes]) -> Rows:
    # Without pickles: a file of data must not run anything.
    if path == "-":
        loaded = np.load(file, allow_pickle=False)
    else:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(loaded, np.ndarray):
        raise ValueError("it holds several arrays")
    found: Rows = loaded
    return found


def _npz(file: IO[bytes], stack: ExitStack) -> dict[str, Rows]:
    archive = stack.enter_context(zipfile.ZipFile(file))
    return {
        name.removesuffix(".npy"): _member(stack.enter_context(archive.open(name)))
        for name in archive.namelist()
    }


def _member(stream: IO[bytes]) -> Rows:
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded")
    if not fortran:
        return _Stream(stream, shape, dtype)
    # Its rows are not one after the other.
    whole = _exactly(stream, math.prod(shape) * dtype.itemsize)
    return np.frombuffer(whole, dtype).reshape(shape, order="F")


class _Stream:
    """An array of an archive, unpacked as its rows are asked for, in their order."""

    def __init__(self, stream: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape = shape
        self._stream, self._dtype, self._next = stream, dtype, 0
        self._row_bytes = math.prod(shape[1:]) * dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.shape[0] * self._row_bytes if self.shape else 0

    def __getitem__(self, rows: slice) -> Array:
        count = rows.stop - rows.start
        assert rows.start == self._next, "rows are read in their order"
        self._next = rows.stop
        data = _exactly(self._stream, count * self._row_bytes)
        return np.frombuffer(data, self._dtype).reshape(count, *self.shape[1:])


def _exactly(stream: IO[bytes], size: int) -> bytes:
    try:
        data = stream.read(size)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InvalidParameter(f"an array of the file is damaged: {error}") from error
    if len(data) != size:
        raise InvalidParameter(f"an array of the file ends early: {size - len(data)} bytes short")
    return data


def _json_arrays(path: str, specs: Sequence[TensorSpec], data: bytes) -> dict[str, Array]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise InvalidParameter(f"{path}: not JSON: {error}") from error
    given = value if isinstance(value, dict) else {_only(path, specs).name: value}
    datatypes = {spec.name: spec.datatype for spec in specs}
    return {
        name: of_list(name, one, datatypes[name]).array if name in datatypes else np.array(one)
        for name, one in given.items()
    }


def _only(path: str, specs: Sequence[TensorSpec]) -> TensorSpec:
    if len(specs) != 1:
        names = few([spec.name for spec in specs])
        raise WrongInputs(f"{path}: expected arrays {names} by name, got one without")
    return specs[0]


def _sliced(
    arrays: Mapping[str, Rows],
    size: int,
    limit: int | None,
    progress: Callable[[int, int], None],
) -> Iterator[Batch]:
    rows = {array.shape[0] if array.shape else 0 for array in arrays.values()}
    if len(rows) != 1 or 0 in rows:
        lengths = {name: list(array.shape) for name, array in arrays.items()}
        raise WrongInputs(f"arrays: expected as many rows in each, got shapes {lengths}")
    row_bytes = sum(array.nbytes for array in arrays.values()) // min(rows)
    total = min(rows) if limit is None else min(*rows, limit)
    for start in range(0, total, size):
        stop = min(start + size, total)
        # A copy: whoever holds it must not depend on the file.
        part = {name: np.array(array[start:stop]) for name, array in arrays.items()}
        yield Batch(stop - start, part)
        progress(stop * row_bytes, total * row_bytes)

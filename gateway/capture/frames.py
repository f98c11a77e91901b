"""The rows of one batch as bytes: how they lie in shared memory until control takes them.

Knows tensors and numbers of requests. Knows nothing of rings, of columns or of who is captured.

    head        bytes, rows, requests, rows before the choice, time, epoch, why, which parts follow
    requests    their sequences, and how many rows each has
    chosen      places of the rows among all of them, where not all were taken
    why         of each row, where it is not the same
    subjects    16 bytes for each request, zeros where it names nobody
    tensors     each its bytes or -1, its number of axes, their lengths but the first, its values

Of strings the values are their lengths and then their bytes. All of it is little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.tensors import DTYPES, Array

FULL, SAMPLE, UNSURE, ALARM, SHADOW = 1, 2, 4, 8, 16
"""Why a row was taken; several may hold."""
WHY: Final = {FULL: "full", SAMPLE: "sample", UNSURE: "rule", ALARM: "alarm", SHADOW: "shadow"}

SUBJECT_BYTES: Final = 16
NOBODY_AT_ALL: Final = bytes(SUBJECT_BYTES)
_HEAD: Final = struct.Struct("<8q")
_CHOSEN, _WHY, _SUBJECTS = 1, 2, 4
_ABSENT: Final = -1


@dataclass(frozen=True, slots=True)
class Frame:
    """Some rows of a batch.

    Attributes:
        at_ms: when they were answered, since 1970.
        epoch: of the worker process.
        sequences: (rows,) of their requests.
        rows: (rows,) their numbers in those.
        why: (rows,) bits.
        subjects: (rows,) of SUBJECT_BYTES, as `S16`; none: no request named any.
        arrays: (rows, ...) each; None for what was not computed.
    """

    at_ms: int
    epoch: int
    sequences: Array
    rows: Array
    why: Array
    subjects: Array | None
    arrays: tuple[Array | None, ...]


def encode(
    arrays: Sequence[Array | None],
    sequences: Sequence[int],
    counts: Sequence[int],
    at_ms: int,
    epoch: int,
    why: int | Array,
    chosen: Array | None = None,
    subjects: Sequence[bytes] | None = None,
) -> bytes:
    """Rows of a batch; a multiple of 8 bytes.

    Args:
        arrays: (rows taken, ...) each; None for what was not computed.
        sequences: of all requests of the batch.
        counts: how many rows each has.
        at_ms: when they were answered.
        epoch: of the worker process.
        why: bits, of all rows or of each that is taken.
        chosen: (rows taken,) their places among all rows of the batch; None: all.
        subjects: of each request; None: none names any.
    """
    requests, total = len(sequences), sum(counts)
    rows, flags, same = total, 0, 0
    pieces = [b"", struct.pack(f"<{2 * requests}q", *sequences, *counts)]
    if chosen is not None:
        rows, flags = len(chosen), _CHOSEN
        pieces.append(chosen.astype("<i4").tobytes())
    if isinstance(why, int):
        same = why
    else:
        flags |= _WHY
        pieces.append(why.astype(np.uint8).tobytes())
    if subjects is not None:
        flags |= _SUBJECTS
        pieces += subjects
    for array in arrays:
        _add(pieces, array)
    size = _HEAD.size + sum([len(piece) for piece in pieces])
    spare = -size % 8
    pieces.append(bytes(spare))
    pieces[0] = _HEAD.pack(size + spare, rows, requests, total, at_ms, epoch, same, flags)
    return b"".join(pieces)


def _add(pieces: list[bytes], array: Array | None) -> None:
    if array is None:
        pieces.append(struct.pack("<q", _ABSENT))
        return
    shape = array.shape[1:]
    if array.dtype != object:
        values = [array.tobytes()]
    else:
        texts = [_text(value) for value in array.ravel().tolist()]
        values = [np.fromiter(map(len, texts), "<u4", len(texts)).tobytes(), *texts]
    size = sum([len(piece) for piece in values])
    pieces.append(struct.pack(f"<{2 + len(shape)}q", size, len(shape), *shape))
    pieces += values


def _text(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    return b"" if value is None else str(value).encode(errors="surrogatepass")


def rows_of(frame: memoryview | bytes) -> int:
    """How many rows a frame holds."""
    return int(_HEAD.unpack_from(frame)[1])


def size_of(frame: memoryview) -> int:
    """How many bytes the frame takes that begins here; 0: the rest of the ring is empty."""
    size: int = struct.unpack_from("<q", frame)[0]
    return size


def decode(frame: bytes, datatypes: Sequence[str]) -> Frame:
    """What `encode` made.

    Args:
        frame: of it.
        datatypes: of its tensors, as `tensors.DTYPES` has them.

    Raises:
        ValueError: it is of other tensors.
    """
    _, rows, requests, total, at_ms, epoch, same, flags = _HEAD.unpack_from(frame)
    reader = _Reader(frame, _HEAD.size)
    sequences, counts = reader.take("<i8", requests), reader.take("<i8", requests)
    request = np.repeat(np.arange(requests), counts)
    number = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    if flags & _CHOSEN:
        chosen = reader.take("<i4", rows)
        request, number = request[chosen], number[chosen]
    why = reader.take("u1", rows) if flags & _WHY else np.full(rows, same, np.uint8)
    subjects = None
    if flags & _SUBJECTS:
        subjects = reader.take(f"S{SUBJECT_BYTES}", requests)[request]
    arrays = tuple(_tensor(reader, rows, datatype) for datatype in datatypes)
    return Frame(at_ms, epoch, sequences[request], number, why, subjects, arrays)


class _Reader:
    def __init__(self, frame: bytes, at: int) -> None:
        self._frame, self._at = frame, at

    def take(self, dtype: str | np.dtype[np.generic], count: int) -> Array:
        found: Array = np.frombuffer(self._frame, dtype, count, self._at)
        self._at += found.nbytes
        return found

    def number(self) -> int:
        return int(self.take("<i8", 1)[0])

    def bytes(self, size: int) -> bytes:
        self._at += size
        return self._frame[self._at - size : self._at]


def _tensor(reader: _Reader, rows: int, datatype: str) -> Array | None:
    size = reader.number()
    if size == _ABSENT:
        return None
    shape = (rows, *(reader.number() for _ in range(reader.number())))
    count = int(np.prod(shape))
    dtype = DTYPES[datatype]
    if datatype == "BYTES":
        return _texts(reader, count).reshape(shape)
    if count * dtype.itemsize != size:
        raise ValueError(f"frame: expected {list(shape)} of {datatype}, got {size} bytes")
    return reader.take(dtype, count).reshape(shape)


def _texts(reader: _Reader, count: int) -> Array:
    ends = np.cumsum(reader.take("<u4", count), dtype=np.int64).tolist()
    text = reader.bytes(ends[-1] if ends else 0)
    values = np.empty(count, object)
    values[:] = [text[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    return values

"""A model's first live rows on their way from workers to a profile: bytes in one slot of memory.

Knows frames, records and the words of a slot. Knows nothing of who writes or reads them.

A slot belongs to one writer. Its head says how far it has come; behind that stand the frames that
the first batch led to, as JSON, and then a record a batch: the very matrices that a profile is
built of. A record counts once the head says so, so that a writer may be killed at any moment and
its successor goes on where it was.

    head     ROWS, END (bytes of records), FRAMES (bytes of JSON), FULL
    frames   JSON
    record   bytes, rows, milliseconds since 1970, then each frame's matrix; all in 8 bytes

Of a string its checksum, and so many of its bytes as tell whether it is a name or prose.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import orjson

from gateway.profiles.builder import Builder
from gateway.profiles.plans import MAX_UNNAMED, FramePlan
from gateway.profiles.strings import MAX_NAME_BYTES
from gateway.profiles.values import FEATURE, STRING, Summary
from gateway.tensors import Array, Signature

# Words of the head. The fourth and fifth are those of every block that a worker counts into.
ROWS: Final = 0
END: Final = 1
FRAMES: Final = 2
FULL: Final = 3  # 1: a batch found no room
HEAD_WORDS: Final = 8

# More of a string is not kept: one byte too many for a name.
KEPT_BYTES: Final = MAX_NAME_BYTES + 1
_RECORD_HEAD: Final = 24
_ALIGNED: Final = 8


# ---- room ----------------------------------------------------------------------------------------

# From the smallest slot on, each size is four times the last: a block that is freed has room for
# the next one of its size alone.
_SMALLEST_BYTES: Final = 256 << 10
MAX_BYTES: Final = 16 << 20
"""Of one slot, at most. Where rows are large, the slot holds fewer."""
_MAX_COLUMNS: Final = MAX_UNNAMED
_MORE_COLUMNS: Final = 4  # of probabilities
_TEXT_BYTES: Final = 6 + 48  # of a string, more or less


def has_rows(signature: Signature) -> bool:
    """Whether the first axis of every input counts rows."""
    return bool(signature.inputs) and all(one.shape[:1] == (-1,) for one in signature.inputs)


def slot_words(signature: Signature, names: Mapping[str, Sequence[str]], rows: int) -> int:
    """Words of a slot in which so many rows of a model find room, or as many as may be.

    It is address space: memory is taken as rows come in.
    """
    wanted = rows * (_RECORD_HEAD + _row_bytes(signature, names))
    size = _SMALLEST_BYTES
    while size < min(wanted, MAX_BYTES):
        size *= 4
    return size // 8


def _row_bytes(signature: Signature, names: Mapping[str, Sequence[str]]) -> int:
    size = 0
    for spec in (*signature.inputs, *signature.outputs):
        width = 1
        for length in spec.shape[1:]:
            width *= _MAX_COLUMNS if length == -1 else max(1, length)
        each = 8 + _TEXT_BYTES if spec.datatype == "BYTES" else 8
        columns = max(_MAX_COLUMNS, len(names.get(spec.name, ())))
        size += (min(width, columns) + _MORE_COLUMNS) * each
    return size


# ---- frames --------------------------------------------------------------------------------------


def write_frames(plans: Sequence[FramePlan]) -> bytes:
    """Frames as JSON; `read_frames` is its inverse. Equal frames give equal bytes."""
    return orjson.dumps([{**asdict(plan), "categories": sorted(plan.categories)} for plan in plans])


def read_frames(given: bytes) -> tuple[FramePlan, ...]:
    """Frames out of their JSON."""
    return tuple(_frame(one) for one in orjson.loads(given))


def _frame(one: dict[str, Any]) -> FramePlan:
    summary = one.pop("summary")
    one["shape"], one["columns"] = tuple(one["shape"]), tuple(one["columns"])
    one["categories"] = frozenset(one["categories"])
    return FramePlan(**one, summary=None if summary is None else Summary(**summary))


# ---- writing -------------------------------------------------------------------------------------


def record(
    plans: Sequence[FramePlan],
    inputs: Mapping[str, Array | None],
    outputs: Mapping[str, Array | None],
    rows: int,
    now_ms: int,
) -> list[Any] | None:
    """The pieces of one batch's record; None where a frame's tensor is missing.

    Args:
        plans: the frames.
        inputs: tensors by name, (rows, ...) each.
        outputs: the same, None for what was not computed.
        rows: of the batch.
        now_ms: milliseconds since 1970.
    """
    pieces: list[Any] = []
    for plan in plans:
        array = (inputs if plan.role == FEATURE else outputs).get(plan.tensor)
        if array is None or array.shape[:1] != (rows,):
            return None
        matrix = plan.matrix(array)
        pieces += _texts(matrix) if plan.type == STRING else [_bytes(matrix)]
    size = _RECORD_HEAD + sum(_aligned(len(piece)) for piece in pieces)
    return [np.array([size, rows, now_ms], np.int64).view(np.uint8), *pieces]


def put(area: Array, start: int, pieces: Sequence[Any]) -> int:
    """Copies pieces into (bytes,) uint8 from `start` on, and says where they end."""
    for piece in pieces:
        area[start : start + len(piece)] = piece
        start += _aligned(len(piece))
    return start


def size_of(pieces: Sequence[Any]) -> int:
    """Bytes that `put` takes."""
    return sum(_aligned(len(piece)) for piece in pieces)


def _bytes(matrix: Array) -> Array:
    return np.ascontiguousarray(matrix).reshape(-1).view(np.uint8)


def _texts(matrix: Array) -> list[Array]:
    """Lengths, checksums, and the texts themselves, each as far as it is kept."""
    values = [_text(value) for value in matrix.reshape(-1).tolist()]
    kept = [value[:KEPT_BYTES] for value in values]
    return [
        np.fromiter(map(len, kept), np.uint16, len(kept)).view(np.uint8),
        np.fromiter(map(zlib.crc32, values), np.uint32, len(values)).view(np.uint8),
        np.frombuffer(b"".join(kept), np.uint8),
    ]


def _text(value: str | bytes | None) -> bytes:
    if isinstance(value, bytes):
        return value
    return b"" if value is None else value.encode(errors="surrogatepass")


def _aligned(length: int) -> int:
    return -(-length // _ALIGNED) * _ALIGNED


# ---- reading -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """One batch as it was written down.

    Attributes:
        now_ms: when, in milliseconds since 1970.
        rows: of it.
        content: the matrices' bytes.
    """

    now_ms: int
    rows: int
    content: memoryview


def frames_of(slot: Array) -> bytes:
    """The JSON of the frames of a slot of int64 words; empty where no batch came yet."""
    return _area(slot)[: int(slot[FRAMES])].tobytes()


def records_of(slot: Array) -> list[Record]:
    """The records of a slot, copied, in the order in which they were written."""
    start = _aligned(int(slot[FRAMES]))
    copied = memoryview(_area(slot)[start : start + int(slot[END])].tobytes())
    found, at = [], 0
    while at < len(copied):
        size, rows, now_ms = copied[at : at + _RECORD_HEAD].cast("q")
        found.append(Record(now_ms, rows, copied[at + _RECORD_HEAD : at + size]))
        at += size
    return found


def add_all(
    builder: Builder, plans: Sequence[FramePlan], records: Sequence[Record], rows: int
) -> None:
    """Gives a builder the first rows of records, whichever slot they come from.

    Args:
        builder: of the same frames.
        plans: the frames.
        records: in any order; the oldest rows count.
        rows: at most.

    Raises:
        StoreFailed: there is no room to spool them.
    """
    left = rows
    for one in sorted(records, key=lambda one: one.now_ms):
        wanted = min(left, one.rows)
        if not wanted:
            return
        matrices, checks = {}, {}
        for plan, matrix, sums in _matrices(plans, one):
            matrices[plan.name] = matrix[:wanted]
            if sums is not None:
                checks[plan.name] = sums[:wanted]
        builder.take(wanted, matrices, checks)
        left -= wanted


def _matrices(
    plans: Sequence[FramePlan], one: Record
) -> Iterator[tuple[FramePlan, Array, Array | None]]:
    """Each frame with its matrix and, for strings, their checksums."""
    at = 0

    def piece(dtype: Any, count: int) -> Array:
        nonlocal at
        found: Array = np.frombuffer(one.content, dtype, count, at)
        at += _aligned(found.nbytes)
        return found

    for plan in plans:
        shape = (one.rows, len(plan.columns))
        count = shape[0] * shape[1]
        if plan.type != STRING:
            yield plan, piece(np.dtype(plan.type), count).reshape(shape), None
            continue
        lengths, checks = piece(np.uint16, count), piece(np.uint32, count)
        text = piece(np.uint8, int(lengths.sum())).tobytes()
        ends = np.cumsum(lengths, dtype=np.int64).tolist()
        starts = [0, *ends[:-1]]
        values = np.empty(count, object)
        values[:] = [text[start:end] for start, end in zip(starts, ends, strict=True)]
        yield plan, values.reshape(shape), checks.reshape(shape)


def _area(slot: Array) -> Array:
    area: Array = slot[HEAD_WORDS:].view(np.uint8)
    return area

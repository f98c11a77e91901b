"""Captured rows as a table: a column for each feature and output, beside whose rows they are.

Knows frames, schemas and Arrow. Knows nothing of files. A column has one type in all tables of a
schema, whatever stands in it.

    request_id, row     the address of a row, as outcomes give it
    at                  when it was answered
    why                 full, sample, rule, alarm, shadow; several joined by +
    subject             keyed hash of whom the request was about
    prediction, score   as `scores` reads the outputs
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gateway.capture.frames import NOBODY_AT_ALL, WHY, Frame
from gateway.capture.schema import FEATURE, Part, Schema
from gateway.capture.texts import kept
from gateway.tensors import DTYPES, Array

if TYPE_CHECKING:
    import pyarrow

SCHEMA: Final = b"penstock.capture"
"""Of a table's metadata: its `Schema`, as JSON."""
# Of what no other program is sure to read.
_WIDER: Final = {"FP16": np.float32}

Hashed = Callable[[str], bytes]
Answers = Callable[[Array], tuple[Array, Array]]


def table(
    schema: Schema,
    some: Sequence[tuple[str, Frame]],
    hashed: Hashed,
    scored: int | None = None,
    answers: Answers | None = None,
) -> pyarrow.Table:
    """The rows of frames.

    Args:
        schema: whose they are.
        some: frames, each with what the ids of its requests begin with.
        hashed: the keyed hash of a text.
        scored: which of the outputs holds scores; None: none does.
        answers: what that output predicted, and its score.
    """
    import pyarrow as pa

    frames = [frame for _, frame in some]
    columns: dict[str, Any] = dict(_addresses(some))
    columns["why"] = _reasons(frames)
    columns["subject"] = _subjects(frames)
    columns |= _scores(schema, frames, scored, answers)
    for place, part in enumerate(schema.parts):
        arrays = [frame.arrays[place] for frame in frames]
        columns |= _of_part(part, frames, arrays, hashed)
    return pa.table(columns).replace_schema_metadata({SCHEMA: schema.text})


def fits(schema: Schema, frame: Frame) -> bool:
    """Whether a frame's tensors are as wide as the schema's columns are many."""
    return all(
        array is None or part.many or math.prod(array.shape[1:]) == len(part.columns)
        for part, array in zip(schema.parts, frame.arrays, strict=True)
    )


# ---- whose ---------------------------------------------------------------------------------------


def _addresses(some: Sequence[tuple[str, Frame]]) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa

    ids = [f"{stream}-{n:x}" for stream, frame in some for n in frame.sequences.tolist()]
    at_ms = np.repeat(
        np.array([frame.at_ms for _, frame in some], np.int64),
        [len(frame.rows) for _, frame in some],
    )
    yield "request_id", pa.array(ids, pa.string())
    yield "row", pa.array(np.concatenate([frame.rows for _, frame in some]), pa.int32())
    yield "at", pa.array(at_ms, pa.timestamp("ms", "UTC"))


def _reasons(frames: Sequence[Frame]) -> Any:
    import pyarrow as pa

    bits = np.concatenate([frame.why for frame in frames]).tolist()
    names = {word: "+".join(name for bit, name in WHY.items() if word & bit) for word in set(bits)}
    return pa.array([names[word] for word in bits], pa.string())


def _subjects(frames: Sequence[Frame]) -> Any:
    import pyarrow as pa

    found: list[str | None] = []
    for frame in frames:
        if frame.subjects is None:
            found += [None] * len(frame.rows)
        else:
            # NumPy leaves zeros at the end of bytes out.
            whole = [one.ljust(len(NOBODY_AT_ALL), b"\0") for one in frame.subjects.tolist()]
            found += [None if one == NOBODY_AT_ALL else one.hex() for one in whole]
    return pa.array(found, pa.string())


def _scores(
    schema: Schema, frames: Sequence[Frame], scored: int | None, answers: Answers | None
) -> dict[str, Any]:
    import pyarrow as pa

    rows = [len(frame.rows) for frame in frames]
    said = np.full((2, sum(rows)), np.nan)
    there = np.zeros(sum(rows), np.bool_)
    if scored is not None and answers is not None:
        place = scored + sum(part.role == FEATURE for part in schema.parts)
        start = 0
        for frame, count in zip(frames, rows, strict=True):
            array = frame.arrays[place]
            if array is not None:
                said[:, start : start + count] = answers(array)
                there[start : start + count] = True
            start += count
    return {
        name: pa.array(values, pa.float64(), mask=~there)
        for name, values in zip(("prediction", "score"), said, strict=True)
    }


# ---- tensors -------------------------------------------------------------------------------------


def _of_part(
    part: Part, frames: Sequence[Frame], arrays: Sequence[Array | None], hashed: Hashed
) -> dict[str, Any]:
    rows = [len(frame.rows) for frame in frames]
    if part.many:
        return _list(part, rows, arrays)
    there = np.repeat([array is not None for array in arrays], rows)
    width = len(part.columns)
    matrices = [
        np.zeros((count, width), _kind(part))
        if array is None
        else _plain(part, array).reshape(count, width)
        for count, array in zip(rows, arrays, strict=True)
    ]
    whole = np.concatenate(matrices)
    found = {}
    for place, name in enumerate(part.columns):
        mask = np.ones(len(whole), np.bool_) if place in part.masked else ~there
        values = whole[:, place]
        if part.text:
            values = _said(part, values, mask)
        if place in part.hashed:
            values = _hashed(part, values, hashed)
            found[name] = _array(values, "BYTES", mask)
        else:
            found[name] = _array(values, part.datatype, mask)
    return found


def _array(values: Array, datatype: str, mask: Array) -> Any:
    import pyarrow as pa

    if datatype != "BYTES":
        return pa.array(values, mask=mask)
    texts = [None if hidden else _text(value) for value, hidden in zip(values, mask, strict=True)]
    return pa.array(texts, pa.string())


def _list(part: Part, rows: Sequence[int], arrays: Sequence[Array | None]) -> dict[str, Any]:
    import pyarrow as pa

    kind = pa.string() if part.datatype == "BYTES" else pa.from_numpy_dtype(_kind(part))
    cells: list[Any] = []
    shapes: list[Any] = []
    for count, array in zip(rows, arrays, strict=True):
        if array is None or part.masked:
            cells += [None] * count
            shapes += [None] * count
            continue
        flat = _plain(part, array).reshape(count, math.prod(array.shape[1:]))
        texts = part.datatype == "BYTES"
        cells += [[_text(value) for value in row] for row in flat] if texts else list(flat)
        shapes += [array.shape[1:]] * count
    found = {part.columns[0]: pa.array(cells, pa.list_(kind))}
    if part.shape.count(-1) > 1:
        found[f"{part.columns[0]}.shape"] = pa.array(shapes, pa.list_(pa.int32()))
    return found


def _kind(part: Part) -> Any:
    return _plain(part, np.zeros(0, DTYPES[part.datatype])).dtype


def _plain(part: Part, array: Array) -> Array:
    """Values as other programs know them."""
    if part.datatype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    wider = _WIDER.get(part.datatype)
    return array if wider is None else array.astype(wider)


def _hashed(part: Part, values: Array, hashed: Hashed) -> Array:
    found: Array = np.empty(len(values), object)
    known: dict[Any, str] = {}
    for place, value in enumerate(values.tolist()):
        if value not in known:
            text = _text(value) if part.datatype == "BYTES" else repr(value)
            known[value] = hashed(text).hex()
        found[place] = known[value]
    return found


def _said(part: Part, values: Array, mask: Array) -> Array:
    """Texts of conversations, before any of them reaches the disk."""
    found: Array = np.empty(len(values), object)
    for place, (value, hidden) in enumerate(zip(values.tolist(), mask.tolist(), strict=True)):
        found[place] = b"" if hidden else kept(value, part.text)
    return found


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return "" if value is None else str(value)

"""Values to text and bytes, a piece at a time.

Knows how numbers and strings look in JSON. Knows nothing of outputs, choices or riders.

Whatever is large is made in pieces of a fraction of a millisecond: orjson, slices and copies of
views keep the interpreter to themselves for as long as one call takes, so that on a thread a call
for all of it would stop the event loop just the same. The one exception is the last step: joining
megabytes of `bytes` lets others run meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import orjson

from gateway.tensors import Array

Buffer = bytes | memoryview

PIECE_NUMBERS = 8192
PIECE_STRINGS = 1024
PIECE_BYTES = 1 << 20


def row_texts(table: Array) -> list[bytes]:
    """The numbers of each row, separated by commas. `table` is contiguous, its rows not empty."""
    if table.size <= PIECE_NUMBERS:  # a third sooner than by the loop below, which gives the same
        # Numbers hold no brackets, so that rows fall apart exactly where one ends and one begins.
        return _json_numbers(table)[2:-2].split(b"],[")
    rows, width = table.shape
    at_once = PIECE_NUMBERS // width
    if not at_once:
        return [numbers_text(row) for row in table]
    texts: list[bytes] = []
    for start in range(0, rows, at_once):
        texts += _json_numbers(table[start : start + at_once])[2:-2].split(b"],[")
    return texts


def numbers_text(array: Array) -> bytes:
    """All numbers of an array in row-major order, separated by commas."""
    flat = np.ascontiguousarray(array).reshape(-1)
    starts = range(0, flat.size, PIECE_NUMBERS)
    return b",".join([_json_numbers(flat[at : at + PIECE_NUMBERS])[1:-1] for at in starts])


class NotText(ValueError):
    """An element of a BYTES array is not UTF-8. Its place in row-major order is the argument."""


def strings_text(array: Array) -> bytes:
    """All elements of a BYTES array in row-major order as JSON strings, separated by commas.

    Raises:
        NotText: an element is not UTF-8.
    """
    flat = array.ravel()
    pieces = []
    for start in range(0, flat.size, PIECE_STRINGS):
        texts = []
        for place, element in enumerate(flat[start : start + PIECE_STRINGS].tolist(), start):
            try:
                texts.append(element.decode())
            except UnicodeDecodeError as error:
                raise NotText(place) from error
        pieces.append(orjson.dumps(texts)[1:-1])
    return b",".join(pieces)


def bytes_of(array: Array) -> Buffer:
    """The elements in row-major order, as they lie in memory."""
    # A view with a zero in its shape cannot be cast to bytes.
    if not array.size:
        return b""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def joined(pieces: Sequence[Buffer]) -> bytes:
    """All pieces in one, as `join` has it, for those that may be large."""
    return b"".join([part for piece in pieces for part in _parts(piece)])


def _parts(piece: Buffer) -> Iterator[bytes]:
    if isinstance(piece, bytes):
        yield piece
        return
    for at in range(0, len(piece), PIECE_BYTES):
        yield bytes(piece[at : at + PIECE_BYTES])


def _json_numbers(table: Array) -> bytes:
    """Numbers as JSON, floats as their shortest text, what is not finite as its bare token."""
    text = orjson.dumps(table, option=orjson.OPT_SERIALIZE_NUMPY)
    # orjson writes null for what is not finite, and no other number contains it.
    if b"null" not in text:
        return text
    tokens = [_token(value) for value in table[~np.isfinite(table)].tolist()]
    pieces = text.split(b"null")
    woven = [pieces[0]]
    for token, piece in zip(tokens, pieces[1:], strict=True):
        woven += (token, piece)
    return b"".join(woven)


def _token(value: float) -> bytes:
    if value != value:
        return b"NaN"
    return b"Infinity" if value > 0 else b"-Infinity"

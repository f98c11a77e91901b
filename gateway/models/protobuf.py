"""Protocol Buffers' wire format, read and written without trusting a byte of it.

Knows varints, length-delimited fields and their bounds. Knows nothing of what the fields mean.

There is no recursion here, nothing is allocated by a length that the data announces, and one
`Reader` walks a bounded number of fields however the data is nested.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.errors import ModelRefused

Value = int | bytes | memoryview
"""A varint is an int, a fixed32 or fixed64 is bytes, a length-delimited field is a memoryview."""

# Walking costs about half a microsecond a field: a hostile file is given up after a few seconds,
# while a tree ensemble of a million nodes stays far below (its attributes are skipped as runs).
MAX_FIELDS = 4_000_000

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIGN, _WRAP = 1 << 63, 1 << 64


@dataclass(slots=True)
class Reader:
    """Walks messages of one file and keeps count of how much it walked.

    Attributes:
        source: names the file in refusals.
        left: fields that may still be walked.
    """

    source: str
    left: int = MAX_FIELDS

    def fields(
        self, view: memoryview, skip: re.Pattern[bytes] | None = None
    ) -> Iterator[tuple[int, Value, int, int]]:
        """Yields (field number, value, start, stop) of each field; start and stop lie in `view`.

        Args:
            view: one whole message.
            skip: matches runs of fields that the caller has no use for; it may match nothing.

        Raises:
            ModelRefused: truncated, over-long or unknown wire types, or too many fields altogether.
        """
        position, end = 0, len(view)
        while position < end:
            if skip is not None and (run := skip.match(view, position)) is not None:
                position = run.end()
                if position >= end:
                    return
            self.left -= 1
            if self.left < 0:
                raise ModelRefused(f"{self.source}: more than {MAX_FIELDS} fields")
            start = position
            key, position = self._varint(view, position)
            number, wire = key >> 3, key & 7
            value: Value
            if wire == _VARINT:
                value, position = self._varint(view, position)
            elif wire == _BYTES:
                length, position = self._varint(view, position)
                if length > end - position:
                    raise self.corrupt(
                        f"field {number} has {length} bytes, {end - position} are left"
                    )
                value = view[position : position + length]
                position += length
            elif wire in (_FIXED32, _FIXED64):
                length = 4 if wire == _FIXED32 else 8
                if length > end - position:
                    raise self.corrupt(f"field {number} is cut off")
                value = bytes(view[position : position + length])
                position += length
            else:
                raise self.corrupt(f"field {number} has wire type {wire}")
            if not 0 < number < 1 << 29:
                raise self.corrupt(f"field number {number}")
            yield number, value, start, position

    def _varint(self, view: memoryview, position: int) -> tuple[int, int]:
        end = len(view)
        value = shift = 0
        while position < end:
            byte: int = view[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (_WRAP - 1), position
            shift += 7
            if shift >= 70:
                raise self.corrupt("a number of more than ten bytes")
        raise self.corrupt("a number is cut off")

    def message(self, value: Value, what: str) -> memoryview:
        """`value` as an embedded message (or string bytes)."""
        if not isinstance(value, memoryview):
            raise self.corrupt(f"{what} is not length-delimited")
        return value

    def text(self, value: Value, what: str, max_bytes: int = 65_536) -> str:
        """`value` as UTF-8 text of at most `max_bytes`."""
        raw = self.message(value, what)
        if len(raw) > max_bytes:
            raise ModelRefused(
                f"{self.source}: {what}: wanted at most {max_bytes} bytes, got {len(raw)}"
            )
        try:
            return str(raw, "utf-8")
        except UnicodeDecodeError as error:
            raise self.corrupt(f"{what} is not UTF-8") from error

    def integer(self, value: Value, what: str) -> int:
        """`value` as a signed 64-bit integer."""
        if not isinstance(value, int):
            raise self.corrupt(f"{what} is not a number")
        return value - _WRAP if value >= _SIGN else value

    def integers(self, value: Value, what: str, most: int) -> list[int]:
        """`value` as signed integers, packed (one field) or not (one field each)."""
        if isinstance(value, int):
            return [self.integer(value, what)]
        view, position = self.message(value, what), 0
        found: list[int] = []
        while position < len(view):
            number, position = self._varint(view, position)
            found.append(number - _WRAP if number >= _SIGN else number)
            self.bound(len(found), most, what)
        return found

    def bound(self, count: int, most: int, what: str) -> None:
        """Refuses more than `most` of something that is being kept in memory."""
        if count > most:
            raise ModelRefused(f"{self.source}: more than {most} {what}")

    def corrupt(self, why: str) -> ModelRefused:
        """The refusal of a file that is not what it should be."""
        return ModelRefused(f"{self.source}: corrupt, or not an ONNX model: {why}")


def varint(value: int) -> bytes:
    """Writes one unsigned varint."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def number_field(number: int, value: int) -> bytes:
    """Writes a varint field."""
    return varint(number << 3 | _VARINT) + varint(value)


def bytes_field(number: int, payload: bytes) -> bytes:
    """Writes a length-delimited field: a string, bytes, or an embedded message."""
    return length_field(number, len(payload)) + payload


def length_field(number: int, length: int) -> bytes:
    """Writes how a length-delimited field begins; `length` bytes of payload must follow."""
    return varint(number << 3 | _BYTES) + varint(length)

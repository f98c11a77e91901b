"""The short way: requests that differ from an earlier one in their numbers and their id alone.

Knows that clients send the same text around ever new numbers. Knows nothing of what the text says:
a text is taken as equal only when it is equal byte for byte.

Decoding JSON is a function of the text. Where everything around the one array of numbers (and the
id) equals an earlier request's, the decoded head equals it too, and only the numbers are left to
read. The same goes for the JSON of a binary request. A text is kept when it comes a second time,
and only after a probe has shown that what was cut out of it is what it looks like.

May be used from several threads at once: every step is one operation on a dictionary or a set, and
a text that is lost in a race is merely read the long way.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import orjson

from gateway.tensors import DTYPES, Array
from gateway.wire.oip.elements import FORMATS
from gateway.wire.oip.head import Head, Part

MAX_TEXT = 2048
MAX_TEMPLATES = 256
# Slices of bytes are made faster than views, and copied once more.
SMALL = 16_384

# Random, so that no client can write a text that holds it.
_PROBE = secrets.token_hex(16)
_PROBE_ID = b'"%b"' % _PROBE.encode()
_PROBE_DATA = b'["%b"]' % _PROBE.encode()
_DATA = b'"data":'
_ID = b'"id":'
_E, _U, _S = b"eus"
# Stands for what was cut out. No text that was ever decoded holds it: JSON has it escaped.
_CUT = b"\0"


class Template(NamedTuple):
    """A known text around numbers, and what it decodes to."""

    head: Head
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pack_into: Callable[..., None]


class Cut(NamedTuple):
    """Where one tensor lies behind the JSON, and what it is."""

    start: int
    stop: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Packed(NamedTuple):
    """A known JSON in front of binary tensors.

    Attributes:
        head: what it decodes to.
        size: bytes behind it.
        cuts: the tensors in the signature's order; empty where one has to be looked into.
    """

    head: Head
    size: int
    cuts: tuple[Cut, ...]


class Last(NamedTuple):
    """The text that came last: up to the bracket that opens the numbers, and behind them."""

    before: bytes
    after: bytes
    template: Template


Found = tuple[int, int, str | None, Template]
"""Where the numbers begin and end in a body, its id, and the template of its text."""


class Templates:
    """Bounded memory of texts seen twice."""

    def __init__(self) -> None:
        # Mostly the next request is like the last, which is seen without searching for anything.
        self._last: Last | None = None
        self._texts: dict[bytes, Template] = {}
        self._heads: dict[bytes, Packed] = {}
        self._once: set[bytes] = set()

    def read(self, body: bytes) -> tuple[Head, str | None, Array] | None:
        """Head, id and only input of a JSON body whose text is known, else None."""
        if self._last is not None:
            before, after, template = self._last
            if body.startswith(before) and body.endswith(after):
                # Unless what stands between is one array and nothing else, it is not read here.
                array = _array(body[len(before) - 1 : len(body) - len(after)], template)
                if array is not None:
                    return template.head, None, array
        found = self._find(body)
        if found is None:
            return None
        start, end, identifier, template = found
        array = _array(body[start:end], template)
        return None if array is None else (template.head, identifier, array)

    def _find(self, body: bytes) -> Found | None:
        start = body.find(b"[", body.find(_DATA))
        end = body.find(b"]", start) + 1
        text = body[:start]
        if _ID in text:
            before, cut, after = _cut_id(text)
            template = self._texts.get(before + after + _CUT + body[end:])
            identifier = _string(cut)
            if template is None or identifier is None:
                return None
            return start, end, identifier, template
        template = self._texts.get(text + _CUT + body[end:])
        if template is None:
            return None
        self._last = Last(body[: start + 1], body[end:], template)
        return start, end, None, template

    def learn(self, body: bytes, head: Head) -> None:
        """Keeps the text of a JSON body that was read the long way and came a second time."""
        part = head.parts[0] if len(head.parts) == 1 else None
        if part is None or part.size is not None or part.spec.datatype not in FORMATS:
            return
        start = body.find(b"[", body.find(_DATA))
        end = body.find(b"]", start) + 1
        before, cut, after = _cut_id(body[:start])
        if bool(cut) != (head.id is not None) or not self._worth(before + after + body[end:]):
            return
        probe_id = _PROBE_ID if cut else b""
        probe = before.rstrip(_CUT) + probe_id + after + _PROBE_DATA + body[end:]
        if not _finds_probe(probe, bool(cut), data=True):
            return
        if len(self._texts) >= MAX_TEMPLATES:
            self._texts.clear()
        spec = part.spec
        self._texts[before + after + _CUT + body[end:]] = Template(
            head._replace(id=None, parts=()),
            part.shape,
            DTYPES[spec.datatype],
            struct.Struct(f"<{part.elements}{FORMATS[spec.datatype]}").pack_into,
        )

    def read_packed(
        self, body: bytes, header_length: int
    ) -> tuple[Head, str | None, tuple[Array, ...] | None] | None:
        """Head, id and inputs of a binary request whose JSON is known, else None.

        The inputs are None where they have to be read one by one, or do not fit the body.
        """
        text = body[:header_length]
        identifier = None
        if text.find(_ID) < 0:
            packed = self._heads.get(text)
        else:
            before, cut, after = _cut_id(text)
            packed = self._heads.get(before + after)
            identifier = _string(cut)
            if identifier is None:
                return None
        if packed is None:
            return None
        if not packed.cuts or len(body) - header_length != packed.size:
            return packed.head, identifier, None
        behind = body[header_length:] if packed.size < SMALL else memoryview(body)[header_length:]
        inputs = [
            np.ndarray(shape, dtype, bytearray(behind[start:stop]))
            for start, stop, shape, dtype in packed.cuts
        ]
        return packed.head, identifier, tuple(inputs)

    def learn_head(self, text: bytes, head: Head) -> None:
        """Keeps the JSON of a binary request that came a second time."""
        if any(part.size is None for part in head.parts):
            return
        before, cut, after = _cut_id(text)
        if bool(cut) != (head.id is not None) or not self._worth(before + after):
            return
        probe = before.rstrip(_CUT) + _PROBE_ID + after
        if cut and not _finds_probe(probe, identifier=True, data=False):
            return
        if len(self._heads) >= MAX_TEMPLATES:
            self._heads.clear()
        size = sum(part.size or 0 for part in head.parts)
        self._heads[before + after] = Packed(head._replace(id=None), size, _cuts(head.parts))

    def _worth(self, text: bytes) -> bool:
        # Texts that come once (a shape of their own, say) would only push out those that stay.
        if len(text) > MAX_TEXT:
            return False
        if text in self._once:
            self._once.discard(text)
            return True
        if len(self._once) >= MAX_TEMPLATES:
            self._once.clear()
        self._once.add(text)
        return False


def _array(numbers: bytes, template: Template) -> Array | None:
    """The numbers of a JSON array; None: it is none, or not of as many numbers as the template."""
    _, shape, dtype, pack_into = template
    # struct takes booleans for numbers; a token with an "e" is one of them, or an exponent.
    # By their codes: a byte is found in a quarter of the time that a string of one takes.
    if _E in numbers and (_U in numbers or _S in numbers):
        return None
    array = np.empty(shape, dtype)
    try:
        pack_into(array, 0, *orjson.loads(numbers))
    except (struct.error, ValueError, OverflowError, TypeError):
        return None
    return array


def _cuts(parts: tuple[Part, ...]) -> tuple[Cut, ...]:
    # Strings are found one by one, and booleans are made from bytes.
    if any(part.spec.datatype in ("BYTES", "BOOL") for part in parts):
        return ()
    cuts = []
    start = 0
    for part in parts:
        stop = start + (part.size or 0)
        cuts.append((part.place, Cut(start, stop, part.shape, DTYPES[part.spec.datatype])))
        start = stop
    return tuple(cut for _, cut in sorted(cuts))


def _cut_id(text: bytes) -> tuple[bytes, bytes, bytes]:
    """What stands before an id (and the mark for it), the id in its quotes, and what follows it."""
    at = text.find(_ID)
    if at < 0:
        return text, b"", b""
    start = text.find(b'"', at + len(_ID))
    end = text.find(b'"', start + 1) + 1
    if start < 0 or end == 0:
        # Two marks and no more: a text that was never kept.
        return text + _CUT + _CUT, b"", b""
    return text[:start] + _CUT, text[start:end], text[end:]


def _string(text: bytes) -> str | None:
    """The string that a JSON text holds, or None where it is none."""
    try:
        value = orjson.loads(text)
    except ValueError:
        return None
    return value if type(value) is str else None


def _finds_probe(text: bytes, identifier: bool, data: bool) -> bool:
    """What was cut out is the request's id and its first input's data, not what looks like them."""
    try:
        document = orjson.loads(text)
        return (not identifier or document["id"] == _PROBE) and (
            not data or document["inputs"][0]["data"] == [_PROBE]
        )
    except (ValueError, KeyError, IndexError, TypeError):
        return False

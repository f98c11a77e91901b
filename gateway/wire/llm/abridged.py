"""Reads a long request without its long texts, and writes it with them again as they came.

Knows that a value of JSON may be taken out of its text and another put in its place, and in which
fields of a request nobody but its model reads texts. Knows nothing else of any dialect.

Of a prompt of 300 KB some hundred bytes say what the gateway must know. To make objects of the
rest, and text of these again, would take longer than all else that is done for such a request.
What is left out was checked (`kernels.quoted`), what remains is read as ever; whatever is unusual
is left to those who read the whole.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import orjson

from gateway.wire.llm.fields import Values
from kernels import quoted

LONG_BYTES: Final = 32 << 10
"""Shorter bodies are read whole: that takes microseconds."""
# To leave a text out takes about as long as to read some thousand bytes of it.
TEXT_BYTES: Final = 8 << 10
MAX_TEXTS: Final = 256
# What is not in long texts is looked at twice: of bodies with much of it that is all there is.
OTHER_SHARE: Final = 8
OTHER_BYTES: Final = 32 << 10

# Stands where a text was. Nobody can have a request say it: it is told to none, and new with each
# process.
_MARK: Final = secrets.token_hex(16)
_QUOTED_MARK: Final = f'"{_MARK}"'.encode()
_MARKS: Final = [(mark := f"{_MARK}{number}", mark.encode()) for number in range(MAX_TEXTS)]
# What is looked up, even within messages and tools.
_READ: Final = frozenset({"name", "type"})


class Text:
    """A text that was not read. Its length is that of the `str` that it stands for."""

    __slots__ = ("_body", "_chars", "_end", "_start")

    def __init__(self, body: bytes, start: int, end: int, chars: int) -> None:
        """Of `body` what stands between two quotes, in so many characters."""
        self._body = body
        self._start = start
        self._end = end
        self._chars = chars

    def __len__(self) -> int:
        return self._chars

    def __repr__(self) -> str:
        """Of the text: a sticky key may be any field as it prints, whatever stands in it."""
        return repr(self.read())

    def __str__(self) -> str:
        return self.read()

    @property
    def json(self) -> memoryview:
        """As it came, with its quotes."""
        return memoryview(self._body)[self._start - 1 : self._end + 1]

    def read(self) -> str:
        """The text itself."""
        text: str = orjson.loads(self.json)
        return text


class Abridged(dict[str, Any]):
    """The object that a body is, with `Text` in it in place of some `str`."""

    __slots__ = ("_body", "_whole")

    def __init__(self, values: Values, body: bytes) -> None:
        super().__init__(values)
        self._body = body
        self._whole: dict[str, Any] | None = None

    def whole(self) -> dict[str, Any]:
        """The same with all texts read; once, however many upstreams need it."""
        if self._whole is None:
            self._whole = orjson.loads(self._body)
        return self._whole


def read_abridged(body: bytes, fields: Iterable[str]) -> Abridged | None:
    """Reads the object that a body is, but for its long texts.

    Args:
        body: of a request.
        fields: of it that may have such texts, at any depth.

    Returns:
        None: it is to be read whole, be it that it is no JSON, or that little would be left out.
    """
    found = np.empty((MAX_TEXTS, quoted.COLUMNS), np.int64)
    most_other = min(len(body) // OTHER_SHARE, OTHER_BYTES)
    count = quoted.long_strings(body, TEXT_BYTES, most_other, found)
    if count <= 0:
        return None
    pieces: list[bytes] = []
    texts: dict[str, Text] = {}
    read = 0
    for (mark, encoded), (start, end, chars) in zip(_MARKS, found[:count].tolist(), strict=False):
        pieces += (body[read:start], encoded)
        texts[mark] = Text(body, start, end, chars)
        read = end
    pieces.append(body[read:])
    try:
        values = orjson.loads(b"".join(pieces))
    except orjson.JSONDecodeError:
        return None
    if type(values) is dict and _put_back(texts, values, fields):
        return Abridged(values, body)
    return None


def _put_back(texts: dict[str, Text], values: dict[str, Any], fields: Iterable[str]) -> bool:
    """Puts all texts into their places; False: some are elsewhere, or of a field written twice."""
    left: deque[Any] = deque()
    _put_into(values, [field for field in fields if field in values], texts, left)
    while texts and left:
        node = left.popleft()
        _put_into(node, node if type(node) is dict else range(len(node)), texts, left)
    return not texts


def _put_into(node: Any, keys: Iterable[Any], texts: dict[str, Text], left: deque[Any]) -> None:
    for key in keys:
        value = node[key]
        kind = type(value)
        if kind is str:
            if value in texts and key not in _READ:
                node[key] = texts.pop(value)
        elif kind is dict or kind is list:
            left.append(value)


def write_abridged(values: Values) -> Sequence[bytes | memoryview]:
    """An object as JSON, with its long texts as they came: in pieces, since copying them costs.

    Raises:
        JSONEncodeError: it is nested deeper than can be written.
    """
    left_out: list[Text] = []

    def leave_out(value: Text) -> str:
        left_out.append(value)
        return _MARK

    first, *others = orjson.dumps(values, default=leave_out).split(_QUOTED_MARK)
    pieces: list[bytes | memoryview] = [first]
    for text, piece in zip(left_out, others, strict=True):
        pieces += (text.json, piece)
    return pieces

"""Server-sent events: cutting a stream into frames, reading one, writing one.

Knows the event-stream format. Knows nothing of what any event says.

Source: WHATWG HTML, "Server-sent events", parsing an event stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import takewhile

from gateway.errors import UpstreamFailed

MAX_FRAME_BYTES = 16 * 1024 * 1024
"""An image or a sound may come in one frame."""
DONE = b"[DONE]"
"""What ends a stream where the dialect has no event for it."""

_BOM = b"\xef\xbb\xbf"
# Atomic, so that a CRLF is never taken for two line ends.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")


class FrameTooLong(UpstreamFailed):
    """A frame passes its bound.

    Attributes:
        before: whole frames that came with it, in front of it.
    """

    def __init__(self, message: str, before: Sequence[bytes]) -> None:
        super().__init__(message)
        self.before = before


class Frames:
    """Cuts bytes, however they arrive, into whole frames.

    A frame is returned with the blank line that ends it, so that it can be sent on as it is.

    Attributes:
        kept: of a frame whose end did not come yet; for others to look at.
    """

    __slots__ = ("_after_return", "_max", "_returns", "_seen", "_started", "kept")

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES, *, started: bool = False) -> None:
        """Begins a stream.

        Args:
            max_frame_bytes: a frame that is longer, or has not ended by then, is refused.
            started: it is one that has begun elsewhere: a byte order mark is none any more.
        """
        # Fixed at start.
        self._max = max_frame_bytes
        # Of the frame whose end did not come yet; grows to its bound.
        self.kept = bytearray()
        self._seen = 0  # bytes of it that no blank line begins in
        # Of the stream.
        self._started = started  # its byte order mark can no longer come
        self._returns = False  # it has CRs, which few have
        self._after_return = False  # its last frame ended in a CR, whose LF may come yet

    @property
    def rest(self) -> bytes:
        """What came behind the last whole frame: a server may close without its blank line."""
        return bytes(self.kept)

    def feed(self, data: bytes) -> list[bytes]:
        """Takes the next bytes.

        Returns:
            The frames that they complete, in order.

        Raises:
            FrameTooLong: one passes its bound; whatever comes after it, too.
        """
        if self._after_return and data:
            data, self._after_return = data.removeprefix(b"\n"), False
        if not self._started:
            data = self._without_mark(data)
        self._returns = self._returns or b"\r" in data
        if self.kept:
            self.kept += data
        frames, start = self._cut(self.kept or data)
        if not self.kept:
            self.kept += data[start:]
        elif start:
            del self.kept[:start]
        # Of a blank line all but the last byte may be here: at most CR, LF and CR.
        self._seen = max(0, len(self.kept) - 3)
        if len(self.kept) > self._max or any(len(frame) > self._max for frame in frames):
            before = list(takewhile(lambda frame: len(frame) <= self._max, frames))
            what = f"an event of the stream is longer than {self._max} bytes"
            raise FrameTooLong(what, before)
        return frames

    def _without_mark(self, data: bytes) -> bytes:
        data = bytes(self.kept) + data
        self.kept.clear()
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self.kept += data
            return b""
        self._started = True
        return data.removeprefix(_BOM)

    def _cut(self, data: bytes | bytearray) -> tuple[list[bytes], int]:
        frames, start, at = [], 0, self._seen
        if not self._returns:
            while (found := data.find(b"\n\n", at)) >= 0:
                frames.append(bytes(data[start : found + 2]))
                start = at = found + 2
            return frames, start
        while match := _BLANK_LINE.search(data, at):
            frames.append(bytes(data[start : match.end()]))
            start = at = match.end()
        self._after_return = bool(frames) and start == len(data) and frames[-1][-1:] == b"\r"
        return frames, start


def telling(frames: Iterable[bytes]) -> list[bytes]:
    """Those that may have data. A read may be full of comments and blank lines, which have none."""
    return [one for one in frames if b"data" in one]


def event_of(frame: bytes) -> tuple[bytes, bytes]:
    """The event's name (empty: none was given) and its data (empty: a comment, or nothing)."""
    if frame.startswith(b"data: ") and frame.find(b"\n") == len(frame) - 2 and b"\r" not in frame:
        return b"", frame[6:-2]
    event, data = b"", []
    for line in _LINE_END.split(frame):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value
    return event, b"\n".join(data)


def frame(data: bytes, event: bytes = b"") -> bytes:
    """One event as it is sent; `data` is JSON or another text in one line."""
    return b"event: %b\ndata: %b\n\n" % (event, data) if event else b"data: %b\n\n" % data

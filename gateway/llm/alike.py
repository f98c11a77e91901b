"""Passes on chunks of a chat that are alike but for their words: the short way of a stream.

Knows how one such chunk is told from all else. Knows nothing of how all else is passed on: that
goes to whoever took all of the answer before, and so do its end and its failure.

Most servers write the chunks of an answer alike, each with some words of its own. Once one of them
has been looked at, the next are known by what stands around their words: they are passed on in a
few steps, and the words alone are kept until the answer is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from gateway.errors import GatewayError
from gateway.exchange import Header, Stream
from gateway.llm.hidden_usage import without_nulls
from gateway.llm.streamed import Streamed
from gateway.llm.upstream.words import Sink
from gateway.wire.llm.runs import around_piece

# What stands in a JSON string as it is, of ASCII.
_PLAIN: Final = bytes(sorted(set(range(0x20, 0x7F)) - set(b'"\\')))
# A stream whose chunks differ in more than words, a number or a filling, is not looked at for ever.
MAX_LOOKS: Final = 8


class Whole(Sink, Protocol):
    """Who takes all else of the answer."""

    __slots__ = ()

    def client_is_slow(self) -> None:
        """The client reads slowly."""


class Alike(Sink):
    """Takes an answer from when its client has got some of it. Of one stream."""

    __slots__ = (
        "_after",
        "_alike",
        "_before",
        "_begin",
        "_clock",
        "_end",
        "_key",
        "_looks",
        "_others",
        "_relay",
        "_say",
        "_shown",
        "_stamp",
        "_write",
    )

    def __init__(
        self,
        others: Whole,
        relay: Streamed,
        stream: Stream,
        key: bytes | None,
        stamps: list[float],
        clock: Callable[[], float],
    ) -> None:
        """Knows no chunk yet.

        Args:
            others: takes what is none of these chunks.
            relay: what passes that on.
            stream: the client's end.
            key: what no client gets to see; None: there is no such thing.
            stamps: when each piece came.
            clock: seconds.
        """
        # fixed at start
        self._others = others
        self._relay = relay
        self._write = stream.write
        self._key = key
        self._say = relay.unread.say
        self._stamp = stamps.append
        self._clock = clock
        # until another chunk is looked at
        self._before = self._after = self._shown = b""
        self._begin = self._end = 0
        self._looks = MAX_LOOKS
        self._alike = False  # one is known, and the next event begins with the next piece

    def on_head(self, status: int, headers: Sequence[Header]) -> None:
        """It has one already."""
        self._others.on_head(status, headers)

    def on_data(self, data: bytes) -> None:
        """A piece."""
        if self._alike and data.startswith(self._before) and data.endswith(self._after):
            words = data[self._begin : self._end]
            relay = self._relay
            came = relay.came + len(data)
            if (
                words
                and (not words.strip(_PLAIN) or _plain(words))
                and came <= relay.looks_at
                and (self._key is None or self._key not in data)
            ):
                relay.came = came
                self._say(words)
                self._stamp(self._clock())
                shown = self._shown
                if not self._write(data[: self._end] + shown if shown else data):
                    self._others.client_is_slow()
                return
        self._other(data)

    def on_end(self) -> None:
        """The whole answer came."""
        self._others.on_end()

    def on_failure(self, error: GatewayError, *, sent: bool, answered: bool) -> None:
        """It did not."""
        self._others.on_failure(error, sent=sent, answered=answered)

    def _other(self, data: bytes) -> None:
        self._others.on_data(data)
        known = data.startswith(self._before) and data.endswith(self._after)
        if self._looks and not (known and self._before):
            self._look(data)
        self._alike = bool(self._before) and self._relay.between_events

    def _look(self, data: bytes) -> None:
        """Learns of a piece what those like it have around their words, if it is such a chunk."""
        if not data.startswith(b"data: ") or data.find(b"\n") != len(data) - 2 or b"\r" in data:
            return
        around = around_piece(data[6:-2])
        if around is None or not self._relay.between_events:
            return
        self._looks -= 1
        before, after = b"data: " + around[0], around[1] + b"\n\n"
        shown = without_nulls(after) if self._relay.hides_usage else after
        if self._relay.hides_usage and b'"usage"' in before + shown:
            return
        self._relay.unread.begin_run(before, after)
        self._before, self._after = before, after
        self._begin, self._end = len(before), -len(after)
        self._shown = b"" if shown == after else shown


def _plain(words: bytes) -> bool:
    """Whether words stand in a JSON string as they are, and each of their characters is whole."""
    try:
        text = words.decode()
    except UnicodeDecodeError:
        return False
    return text.isprintable() and '"' not in text and "\\" not in text

"""Passes an upstream's answer on whole, once all of it is there, or gathers an error's.

Knows dialects and translations, and what of an answer `journey` goes by. Knows nothing of who is
asked, of limits, or of what an answer costs; what it has read of one is there at the end
(`reading`). What comes event by event is `streamed`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson

from gateway.errors import UpstreamFailed
from gateway.wire.llm.asked import Asked
from gateway.wire.llm.crowds import crowd_answered
from gateway.wire.llm.reading import Reading, read_answer
from gateway.wire.llm.told import told_error
from gateway.wire.llm.translate import Translation
from gateway.wire.llm.usage import usage_of
from gateway.wire.llm.words import Dialect, Usage

MAX_ERROR_BYTES: Final = 1 << 20


class ErrorInside(UpstreamFailed):
    """An answer that began as a success tells of an error, and the client has nothing of it.

    Attributes:
        values: the error, as its provider tells it; None: it is no JSON.
    """

    def __init__(self, message: str, values: Any = None) -> None:
        super().__init__(message)
        self.values = values


class AnswerTooLarge(UpstreamFailed):
    """More came than is held. Asking again would bring, and cost, the same."""

    retryable = False
    at_fault = False


@dataclass(slots=True)  # not frozen: that takes three times as long, for each request
class Spoken:
    """How an answer comes, and how it is to go on.

    Attributes:
        client: the dialect that was asked in.
        upstream: the dialect that it comes in.
        translation: from the one to the other; None: they are the same.
        asked: what of the request a translation needs; None: there is none.
        hides_usage: the client did not ask for the usage that comes at the end of its stream.
        holds_filtered: what a content policy cuts off before the client has any of it is held back.
    """

    client: Dialect
    upstream: Dialect
    translation: Translation | None
    asked: Asked | None = None
    hides_usage: bool = False
    holds_filtered: bool = False


class Relay(Protocol):
    """What takes the body of one answer."""

    @property
    def reading(self) -> Reading:
        """What is kept of the answer; of a stream nothing before `stop`, `end` or `fail`."""

    @property
    def usage(self) -> Usage | None:
        """What it says of its tokens, likewise; None: nothing."""

    @property
    def size(self) -> int:
        """About how many bytes of it are kept once it is over."""

    @property
    def came(self) -> int:
        """Bytes of it that came so far."""

    @property
    def committed(self) -> bool:
        """The client has got some of it."""

    @property
    def filtered(self) -> bool:
        """A content policy has cut it off, and the client has nothing of it."""

    def data(self, data: bytes) -> bool:
        """Takes a piece. False: the client reads slowly.

        Raises:
            UpstreamFailed: it is not what it should be.
        """

    def end(self) -> None:
        """It is there.

        Raises:
            UpstreamFailed: it is not whole, or not what it should be.
        """


class Refusal:
    """Gathers the body of an error."""

    __slots__ = ("_pieces", "size")

    committed = filtered = False
    reading = Reading()
    usage: Usage | None = None

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = 0

    @property
    def came(self) -> int:
        """Bytes of it that came so far."""
        return self.size

    @property
    def body(self) -> bytes:
        """What came, as far as it is kept."""
        return b"".join(self._pieces)

    def data(self, data: bytes) -> bool:
        """Takes a piece."""
        self.size += len(data)
        if self.size <= MAX_ERROR_BYTES:
            self._pieces.append(data)
        return True

    def end(self) -> None:
        """It is there."""


class Whole:
    """An answer that the client gets once all of it is there.

    Attributes:
        body: what the client gets, once it is there.
        usage: what it says of its tokens.
    """

    __slots__ = ("_most", "_pieces", "_reading", "_spoken", "_values", "body", "size", "usage")

    committed = False

    def __init__(self, spoken: Spoken, max_bytes: int) -> None:
        """`max_bytes`: of an answer that is held until it is whole."""
        self._spoken = spoken
        self._most = max_bytes
        self._pieces: list[bytes] = []
        self.size = 0
        self._values: Any = None
        self._reading: Reading | None = None
        self.body = b""
        self.usage: Usage | None = None

    @property
    def came(self) -> int:
        """Bytes of it that came so far."""
        return self.size

    @property
    def reading(self) -> Reading:
        """What is kept of it. Read when somebody first asks, and kept in its place."""
        if self._reading is None:
            self._reading = read_answer(self._spoken.upstream, self._values, self.usage)
            self._values = None
        return self._reading

    @property
    def filtered(self) -> bool:
        """A content policy has cut it off, and the client has nothing of it."""
        return self._spoken.holds_filtered and self.reading.cut_off

    def data(self, data: bytes) -> bool:
        """Takes a piece."""
        self.size += len(data)
        if self.size > self._most:
            raise AnswerTooLarge(f"answer: expected at most {self._most} bytes, got more")
        self._pieces.append(data)
        return True

    def end(self) -> None:
        """Looks whether it is an answer, and translates it where that is needed."""
        pieces, spoken = self._pieces, self._spoken
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if crowd := crowd_answered(body):
            raise AnswerTooLarge(f"answer: {crowd}")
        try:
            values = self._values = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise UpstreamFailed("answer: expected JSON, got something else") from error
        if type(values) is not dict:
            raise UpstreamFailed("answer: expected a JSON object, got something else")
        if values.get("error") and (told := told_error(values)) is not None:
            raise ErrorInside(f"answer: status 200 with an error in it: {told.name}", values)
        self.usage = usage_of(spoken.upstream, values)
        if spoken.translation is not None and spoken.asked is not None:
            body = orjson.dumps(spoken.translation.answer(values, spoken.asked))
        self.body = body

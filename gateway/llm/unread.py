"""What came of a stream, kept until it is read all at once, which takes half as long.

Knows pieces as they came, and chunks that are alike but for their words. Knows nothing of where
either goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from gateway.wire.llm.reading import Reading, StreamReading, read_stream
from gateway.wire.llm.sse import Frames, FrameTooLong, event_of, telling
from gateway.wire.llm.words import Dialect

# What is kept of a stream until it is read in one go: most are shorter, and reading so much of
# plain chunks holds the loop for a millisecond.
MAX_UNREAD_BYTES: Final = 128 << 10


class Unread:
    """Of one stream.

    Attributes:
        say: takes the words of a chunk that is like the others of its run.
    """

    __slots__ = ("_around", "_dialect", "_frames", "_pieces", "_reader", "_words", "say")

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._pieces: list[bytes] = []
        self._around = (b"", b"")
        self._words: list[bytes] = []  # of the last chunks
        self.say = self._words.append
        # Of a stream that is longer than is kept.
        self._reader: StreamReading | None = None
        self._frames = Frames()

    def keep(self, data: bytes) -> None:
        """Takes a piece."""
        if self._words:
            self._end_run()
        self._pieces.append(data)

    def begin_run(self, before: bytes, after: bytes) -> None:
        """The words that `say` takes from now on stand between these."""
        if self._words:
            self._end_run()
        self._around = (before, after)

    def _end_run(self) -> None:
        """Puts the chunks of a run together to one, which says the same."""
        before, after = self._around
        self._pieces.append(b"%b%b%b" % (before, b"".join(self._words), after))
        self._words.clear()

    def read(self) -> tuple[Reading, bool]:
        """What came so far, and whether the stream has said itself that it is over."""
        if self._words:
            self._end_run()
        if self._reader is None:
            return read_stream(self._dialect, b"".join(self._pieces))
        with suppress(FrameTooLong):  # which was told when it came
            self.begin()
        reader = self._reader
        reader.read(event_of(self._frames.rest)[1])
        return reader.reading(), reader.ended

    def begin(self) -> None:
        """Reads what there is, for want of room to keep it.

        Raises:
            FrameTooLong: an event has no end; those before it were read.
        """
        if self._words:
            self._end_run()
        reader = self._reader = self._reader or StreamReading(self._dialect)
        data = b"".join(self._pieces)
        self._pieces.clear()
        frames: Sequence[bytes] = ()
        try:
            frames = self._frames.feed(data)
        except FrameTooLong as error:
            frames = error.before
            raise
        finally:
            for one in telling(frames):
                reader.read(event_of(one)[1])

"""What becomes of a request to a language model once it is over: it is counted, and watched.

Knows the order of that, and batches as whoever watches a model takes them. Knows nothing of how
requests are answered: each has been when it comes here. What goes wrong with a batch of them is
told to the log alone, and what goes wrong before to whoever says that one is over.

Rows of features are gathered for a moment, since a batch costs what a row does. Of answers alone:
what failed or was left is counted, and has nothing to be watched.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.afterwards import NOTHING, Afterwards, made_elsewhere
from gateway.exchange import Exchange
from gateway.llm.counting import OPERATIONS, Counting
from gateway.llm.deployment import LlmDeployment
from gateway.llm.features import Rows
from gateway.llm.names import Chosen
from gateway.llm.reported import Reported
from gateway.llm.texts import worded
from gateway.llm.told import Happened
from gateway.serving.riders import Batch
from gateway.tensors import Array
from gateway.wire.llm.reading import Reading
from gateway.wire.llm.words import Dialect
from kernels import texts

log = logging.getLogger("penstock.llm")

MAX_ROWS: Final = 128
MAX_WAIT_S: Final = 0.25
# While so many take so long to come the worker is not busy, and whoever asks meanwhile would wait
# for all of a large batch: over a millisecond.
FEW_ROWS: Final = 16
FEW_S: Final = 0.01
# Of requests and answers, which are kept until they are read: many at once take half as long each.
MAX_BYTES: Final = 1 << 20
# A request that is larger is read at once, which lets go of it: few of those would fill all that.
LARGE_BYTES: Final = 32_768
CLIENT_ID: Final = b"x-client-request-id"
"""Where OpenAI's clients say what they call a request."""
_NOTHING_SAID: Final[Mapping[str, Any]] = {}
_NO_READING: Final = Reading()


Unread = tuple[Happened, float]
"""A request that is over, and the longest gap in its answer; NaN where there was none."""


class Answered:
    """A request as the ledger, slices and captures see it, less all that it holds.

    Attributes:
        sequence: its number among those of its process.
        gone: never: its answer was written.
        lot: how it got its variant, as `kernels.lots` has it.
        id: what its client calls it, where anybody wants to know.
        parameters: what it says of itself, where anybody wants to know.
        body: all that it says, where that is to be kept.
    """

    __slots__ = ("body", "id", "lot", "parameters", "sequence")

    gone = False

    def __init__(
        self,
        sequence: int,
        lot: int,
        called: str | None,
        parameters: Mapping[str, Any],
        body: bytes = b"",
    ) -> None:
        self.body = body
        self.sequence = sequence
        self.lot = lot
        self.id = called
        self.parameters = parameters


class Watch:
    """Of one version in one worker. Lives on its event loop."""

    def __init__(
        self,
        deployment: LlmDeployment,
        counting: Counting,
        table: texts.Table,
        reported: Reported,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Takes its collaborators.

        Args:
            deployment: the version.
            counting: counts its requests.
            table: for reading texts, as `Rows` takes it.
            reported: hears what upstreams say of themselves.
            loop: the worker's.
            clock: seconds.
        """
        # fixed at start
        self._deployment = deployment
        self._counting = counting
        self._table = table
        self._reported = reported
        self._loop = loop
        self._clock = clock
        # until they are handed on
        self._rows: list[Unread] = []
        self._answered: list[Answered] = []
        self._copied: list[Unread] = []
        self._bytes = 0
        self._since = 0.0  # when the first of them was over
        self._timer: asyncio.TimerHandle | None = None

    def over(
        self, exchange: Exchange, chosen: Chosen, dialect: Dialect, happened: Happened
    ) -> None:
        """A request is over."""
        longest_gap_s = self._counting.over(dialect, happened)
        afterwards = self._deployment.afterwards
        if happened.result != "ok" or afterwards is NOTHING or OPERATIONS[dialect] is None:
            return
        if happened.copy:
            self._copied.append((happened, longest_gap_s))
        else:
            self._rows.append((happened, longest_gap_s))
            self._answered.append(_answered(exchange, chosen.lot, happened, afterwards))
        self._grew(_kept(exchange.body, happened), happened.ended_at)

    def fell_back(self, dialect: Dialect, happened: Happened) -> None:
        """Another model is asked; an answer that was held back is what the version says."""
        longest_gap_s = self._counting.over(dialect, happened)
        relay, nobody = happened.relay, self._deployment.afterwards is NOTHING
        if relay is None or nobody or OPERATIONS[dialect] is None:
            return
        self._copied.append((happened, longest_gap_s))
        self._grew(relay.size, happened.ended_at)

    def flush(self) -> None:
        """Hands on what was gathered; what nobody can take is dropped."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            self._hand_on()
        except Exception:
            name, version = self._deployment.noted
            log.exception("model '%s', version %s: some answers were not watched", name, version)

    def _hand_on(self) -> None:
        afterwards = self._deployment.afterwards
        unread, answered, copied = self._rows, self._answered, self._copied
        self._rows, self._answered, self._copied, self._bytes = [], [], [], 0
        if unread:
            batch = self._batch(answered, unread)
            said: list[Array] = []
            if afterwards.capture is not None and afterwards.capture.texts:
                said = worded([one.body for one in answered], [one.reading for one, _ in unread])
            afterwards.take(batch, batch.riders, said)
        if copied:
            afterwards.count(self._batch([Answered(0, 0, None, _NOTHING_SAID)], copied))

    def _grew(self, size: int, now: float) -> None:
        """Hands on what was gathered, once that is a lot or some time has passed."""
        self._bytes += size
        rows = len(self._rows) + len(self._copied)
        calm = rows >= FEW_ROWS and now - self._since >= FEW_S
        if calm or rows >= MAX_ROWS or self._bytes >= MAX_BYTES:
            self.flush()
        elif self._timer is None:
            self._since = now
            self._timer = self._loop.call_later(MAX_WAIT_S, self.flush)

    def _batch(self, asked: list[Answered], unread: list[Unread]) -> Batch:
        heard = self._reported.heard
        rows = Rows(self._table, self._deployment.phrases, len(unread))
        for happened, longest_gap_s in unread:
            reading, target = happened.reading or _NO_READING, happened.target
            rows.add(happened, reading, longest_gap_s)
            if target is not None:
                heard(target.called, reading)
        return made_elsewhere(asked, *rows.tensors(), len(unread), self._clock())

    def mark(self, now: float) -> None:
        """Tells how every upstream is. Called twice a second."""
        self._counting.mark(now)

    def leave(self) -> None:
        """The last request is over."""
        self.flush()
        self._counting.leave(self._clock())


def _kept(body: bytes, happened: Happened) -> int:
    """Bytes of a request and its answer that are kept until they are read."""
    size = len(body)
    if size > LARGE_BYTES:
        _ = happened.call.prompt
        size = 0
    return size if happened.relay is None else size + happened.relay.size


def _answered(exchange: Exchange, lot: int, happened: Happened, afterwards: Afterwards) -> Answered:
    parameters, called = _NOTHING_SAID, None
    capture, ledger = afterwards.capture, afterwards.ledger
    if afterwards.parts is not None or (capture is not None and capture.subject is not None):
        metadata = happened.values.get("metadata")
        parameters = metadata if isinstance(metadata, dict) else _NOTHING_SAID
    if ledger is not None and ledger.client_ids:
        given = exchange.header(CLIENT_ID)
        called = None if given is None else given.decode("latin-1")
    body = exchange.body if capture is not None and capture.texts else b""
    return Answered(exchange.sequence, lot, called, parameters, body)

"""Outcomes as columns: what came in, without an object for each.

Knows columns, and how they travel between processes. Knows nothing of documents, of records, or of
whether an id is anybody's.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from gateway.outcomes.address import address

Words = np.ndarray[Any, np.dtype[np.int64]]
Reals = np.ndarray[Any, np.dtype[np.float64]]
Value = float | str

NONE: Final = -1
NOW: Final = -(1 << 63)
_STREAM, _SEQUENCE, _ROW, _METRIC, _WORD, _AT_MS, _VALUE = range(7)
_COLUMNS: Final = 7


class Arrival(NamedTuple):
    """One outcome.

    Attributes:
        id: of the request.
        row: of it.
        value: a finite number (true is 1), or the name of a class.
        at_ms: when it was known, since 1970; None: now.
        metric: that the number is of; None: it is what came of the prediction.
        client: the id is the one that the client gave.
    """

    id: str
    row: int
    value: Value
    at_ms: int | None = None
    metric: str | None = None
    client: bool = False


class Texts(NamedTuple):
    """What columns name by its place."""

    streams: list[str]
    clients: list[str]
    words: list[str]
    metrics: list[str]


class Arrivals:
    """Some of them, in their order.

    Attributes:
        streams, clients, words, metrics: as `Texts` has them.
        stream: (outcomes,) of the request's id; NONE: the id is a client's.
        sequence: (outcomes,) which request of the stream, or which client's id.
        row: (outcomes,).
        metric: (outcomes,) NONE where it is an outcome.
        word: (outcomes,) the name of a class; NONE: a number.
        at_ms: (outcomes,) NOW where nobody said it.
        value: (outcomes,) NaN where there is a word.
    """

    def __init__(self, texts: Texts, table: Words) -> None:
        """Takes the columns, (7, outcomes), and what they name."""
        self.streams, self.clients, self.words, self.metrics = texts
        self._texts, self._table = texts, table
        self.stream, self.sequence, self.row = table[_STREAM], table[_SEQUENCE], table[_ROW]
        self.metric, self.word, self.at_ms = table[_METRIC], table[_WORD], table[_AT_MS]
        self.value: Reals = table[_VALUE].view(np.float64)

    def __len__(self) -> int:
        return len(self.value)

    def id(self, place: int) -> str:
        """The id of one."""
        stream, sequence = int(self.stream[place]), int(self.sequence[place])
        return self.clients[sequence] if stream == NONE else f"{self.streams[stream]}-{sequence:x}"

    def one(self, place: int) -> Arrival:
        """One of them."""
        word, metric, at_ms = (int(one[place]) for one in (self.word, self.metric, self.at_ms))
        return Arrival(
            self.id(place),
            int(self.row[place]),
            float(self.value[place]) if word == NONE else self.words[word],
            None if at_ms == NOW else at_ms,
            None if metric == NONE else self.metrics[metric],
            bool(self.stream[place] == NONE),
        )

    def message(self) -> dict[str, Any]:
        """For another process."""
        return {"texts": [*self._texts], "table": b64encode(self._table.tobytes()).decode()}


def of_message(message: Mapping[str, Any]) -> Arrivals:
    """What `Arrivals.message` was made of."""
    table = np.frombuffer(b64decode(message["table"]), np.int64).reshape(_COLUMNS, -1).copy()
    return Arrivals(Texts(*message["texts"]), table)


def of_list(some: Iterable[Arrival]) -> Arrivals:
    """Single ones as columns."""
    made = Builder()
    for one in some:
        made.add(*one)
    return made.done()


class Builder:
    """Fills columns, one outcome after the other."""

    __slots__ = ("_clients", "_metrics", "_numbers", "_streams", "_values", "_words")

    def __init__(self) -> None:
        self._streams: dict[str, int] = {}
        self._clients: dict[str, int] = {}
        self._words: dict[str, int] = {}
        self._metrics: dict[str, int] = {}
        # Flat: of each outcome all columns but its value.
        self._numbers: list[int] = []
        self._values: list[float] = []

    def add(
        self,
        id: str,
        row: int,
        value: Value,
        at_ms: int | None = None,
        metric: str | None = None,
        client: bool = False,
    ) -> None:
        """One more; arguments as `Arrival` has them."""
        found = None if client else address(id, self._streams)
        if found is None:
            found = NONE, self._clients.setdefault(id, len(self._clients))
        word = NONE
        if isinstance(value, str):
            word, value = self._words.setdefault(value, len(self._words)), np.nan
        kind = NONE if metric is None else self._metrics.setdefault(metric, len(self._metrics))
        self._numbers += (*found, row, kind, word, NOW if at_ms is None else at_ms)
        self._values.append(value)

    def done(self) -> Arrivals:
        """All that were added."""
        table = np.empty((_COLUMNS, len(self._values)), np.int64)
        table[:_VALUE] = np.array(self._numbers, np.int64).reshape(-1, _VALUE).T
        table[_VALUE] = np.array(self._values, np.float64).view(np.int64)
        texts = (self._streams, self._clients, self._words, self._metrics)
        return Arrivals(Texts(*map(list, texts)), table)

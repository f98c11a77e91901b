"""Rows of the ledger's database, as what they stand for.

Knows what a row may say: SQLite keeps whatever it is given in any column, and a file may be damaged
though its pages are whole. Knows nothing of transactions. What cannot be is a ValueError.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from gateway.names import MAX_VERSION
from gateway.outcomes.arrivals import Arrival
from gateway.outcomes.early import Waiting
from gateway.outcomes.ledger import Forgotten
from gateway.outcomes.recent import PANES, Place

_MAX_SERIES: Final = (1 << 31) - 1  # half a word of a record
_MAX: Final = (1 << 53) - 1
_MAX_METRIC: Final = 999_999  # as columns are called
_METRIC: Final = re.compile(r"[a-z0-9_.-]{1,64}", re.ASCII)


class Series(NamedTuple):
    """What the number of a series in a record stands for.

    Attributes:
        id: the number.
        model, version: whose answers.
        scores: what a score was said to be: other words are another series.
    """

    id: int
    model: str
    version: int
    scores: Mapping[str, object]


def series_of(id: object, model: object, version: object, scores: object) -> Series:
    """A row of `series`."""
    said = orjson.loads(_text(scores))
    if not isinstance(said, dict):
        raise ValueError("series: scores that are none")
    return Series(_whole(id, 1, _MAX_SERIES), _text(model), _whole(version, 0, MAX_VERSION), said)


def forgotten_of(stream: object, number: object, high: object) -> tuple[str, Forgotten]:
    """A row of `forgotten`."""
    return _text(stream), Forgotten(_whole(number, -1), _whole(high, -1))


def count_of(value: object) -> int:
    """What `counts` has."""
    return _whole(value)


def metric_of(name: object, id: object) -> tuple[str, int]:
    """A row of `metrics`."""
    called = _text(name)
    if _METRIC.fullmatch(called) is None:
        raise ValueError("metrics: a name that is none")
    return called, _whole(id, 1, _MAX_METRIC)


def place_of(series: object, window_ms: object, number: object) -> Place:
    """Which pane a row of `panes` is."""
    return Place(_whole(series, 1, _MAX_SERIES), _whole(window_ms, PANES), _whole(number))


def blob_of(kept: object) -> bytes:
    """What was packed."""
    if not isinstance(kept, bytes):
        raise ValueError("expected bytes")
    return kept


def waiting_of(
    id: object,
    client: object,
    row: object,
    metric: object,
    value: object,
    at_ms: object,
    models: object,
    until_ms: object,
) -> Waiting:
    """A row of `early`."""
    if not isinstance(value, str | float | int):
        raise ValueError("early: an outcome that is none")
    arrival = Arrival(
        _text(id),
        _whole(row),
        value,
        _whole(at_ms, -_MAX),
        _text(metric) or None,
        bool(_whole(client, 0, 1)),
    )
    return Waiting(arrival, _models_of(models), _whole(until_ms))


def row_of(one: Waiting) -> tuple[object, ...]:
    """The row of `early` that it becomes."""
    models = None if one.models is None else orjson.dumps(sorted(one.models)).decode()
    arrival, metric = one.arrival, one.arrival.metric or ""
    value, at_ms = arrival.value, arrival.at_ms
    return arrival.id, arrival.client, arrival.row, metric, value, at_ms, models, one.until_ms


def _models_of(models: object) -> frozenset[str] | None:
    if models is None:
        return None
    found: Any = orjson.loads(_text(models))
    if not isinstance(found, list):
        raise ValueError("early: models that are none")
    return frozenset(map(_text, found))


def _whole(value: object, least: int = 0, most: int = _MAX) -> int:
    if not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"expected a number from {least} to {most}, got {str(value)[:40]!r}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a text, got {str(value)[:40]!r}")
    return value

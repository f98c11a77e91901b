"""Documents of outcomes: JSON or lines of it, read without trusting a field.

Knows documents. Knows nothing of records, or of whether an id is anybody's.

    {"id": "host-17-0-2-1a4f", "outcome": 1, "row": 3, "at": "2026-03-01T12:00:00Z"}
    {"client_id": "order-7", "reward": 12.5, "metric": "revenue"}

One that cannot be read is told of and leaves the others alone; a body that is no JSON is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import orjson

from gateway.errors import InvalidParameter, MalformedJson
from gateway.outcomes.address import MAX_ID_CHARS
from gateway.outcomes.arrivals import Arrivals, Builder, Value

MAX_OUTCOMES: Final = 10_000
MAX_BODY_BYTES: Final = 4 << 20
MAX_LABEL_CHARS: Final = 200
MAX_CLIENT_ID_CHARS: Final = 1000
MAX_VALUE: Final = 1e300
# Their squares are added up.
MAX_REWARD: Final = 1e100
MAX_ROW: Final = 2**31 - 1
REWARD: Final = "reward"
"""The metric of a reward that is given no name."""
_METRIC: Final = re.compile(r"[a-z][a-z0-9_.-]{0,63}", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_FIELDS: Final = frozenset({"id", "client_id", "outcome", "row", "at", "reward", "metric"})


class Read(NamedTuple):
    """What came in.

    Attributes:
        arrivals: that can be read.
        faults: what is wrong with each of the others.
    """

    arrivals: Arrivals
    faults: list[str]


def read_body(body: bytes) -> Read:
    """Outcomes of a request's body: an object, a list of them, or one on each line.

    Raises:
        MalformedJson: it is none of these.
        InvalidParameter: there are too many of them, or none.
    """
    return read_values(_values(body))


def read_values(values: Iterable[Any]) -> Read:
    """Outcomes of objects that were read already.

    Raises:
        InvalidParameter: there are too many of them, or none.
    """
    found, faults = Builder(), list[str]()
    count = 0
    for count, value in enumerate(values, 1):
        if count > MAX_OUTCOMES:
            raise InvalidParameter(f"outcomes: expected at most {MAX_OUTCOMES}, got more")
        try:
            _take(value, found)
        except InvalidParameter as error:
            faults.append(f"outcome {count}: {error}")
    if not count:
        raise InvalidParameter("outcomes: expected at least one, got none")
    return Read(found.done(), faults)


def read_time(value: object) -> int:
    """Milliseconds since 1970 of a number of seconds, or of a time as RFC 3339 has it.

    Raises:
        InvalidParameter: it is neither.
    """
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidParameter(f"at: expected a time, got '{value[:40]}'") from None
        if at.tzinfo is None:
            raise InvalidParameter(f"at: expected a time with its zone, got '{value[:40]}'")
        at_ms = (at - _EPOCH) // _MILLISECOND
        if at_ms < 0:  # as of a number
            raise InvalidParameter(f"at: expected a time since 1970, got '{value[:40]}'")
        return at_ms
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e11:
        return int(value * 1000.0)
    raise InvalidParameter("at: expected seconds since 1970, or a time with its zone")


def _values(body: bytes) -> Iterator[Any]:
    try:
        whole = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        yield from _lines(body, error)
        return
    if isinstance(whole, list):
        yield from whole
    else:
        yield whole


def _lines(body: bytes, whole: orjson.JSONDecodeError) -> Iterator[Any]:
    lines = [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    if len(lines) < 2:
        raise MalformedJson(f"body: expected JSON, got something else: {whole}")
    for number, line in lines:
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise MalformedJson(f"body: line {number}: expected JSON: {error}") from error


def _take(value: Any, into: Builder) -> None:
    """Adds what an object says: an outcome, the number of a metric, or both."""
    if not isinstance(value, dict):
        raise InvalidParameter("expected an object with id and outcome")
    unknown = value.keys() - _FIELDS
    if unknown:
        raise InvalidParameter(f"unknown field '{min(unknown)[:40]}'")
    get = value.get
    name, client = get("id"), False
    if name is None or "client_id" in value:
        name, client = _client(value), True
    elif not isinstance(name, str) or not 0 < len(name) <= MAX_ID_CHARS:
        raise InvalidParameter("id: expected the text of penstock-request-id")
    row, at, reward, outcome = get("row"), get("at"), get("reward"), get("outcome")
    if row is None:
        row = 0
    elif not isinstance(row, int) or isinstance(row, bool) or not 0 <= row <= MAX_ROW:
        raise InvalidParameter("row: expected its number in the request, from 0 on")
    at_ms = None if at is None else read_time(at)
    if reward is None and get("metric") is None:
        into.add(name, row, _outcome(outcome), at_ms, None, client)
        return
    # Both are read before one is added: an object counts whole or not at all.
    metric, number = _metric(get("metric")), _reward(reward)
    if outcome is not None:
        into.add(name, row, _outcome(outcome), at_ms, None, client)
    into.add(name, row, number, at_ms, metric, client)


def _client(value: dict[str, Any]) -> str:
    name = value.get("client_id")
    if value.get("id") is not None:
        raise InvalidParameter("expected either id or client_id, got both")
    if name is None:
        raise InvalidParameter("id: expected the text of penstock-request-id")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_CLIENT_ID_CHARS:
        raise InvalidParameter("client_id: expected the id that the request had")
    return name


def _outcome(value: object) -> Value:
    if isinstance(value, bool | int | float) and abs(value) <= MAX_VALUE:  # NaN is not
        return float(value)
    if isinstance(value, str) and len(value) <= MAX_LABEL_CHARS:
        return value
    raise InvalidParameter("outcome: expected a finite number, true, false or the name of a class")


def _metric(value: object) -> str:
    if value is None:
        return REWARD
    if isinstance(value, str) and _METRIC.fullmatch(value):
        return value
    raise InvalidParameter("metric: expected a name of lower case, digits, _, . and -")


def _reward(value: object) -> float:
    if isinstance(value, bool | int | float) and abs(value) <= MAX_REWARD:
        return float(value)
    raise InvalidParameter("reward: expected a number, true or false")

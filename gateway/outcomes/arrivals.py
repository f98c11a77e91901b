"""Outcomes as they come in: JSON or lines of it, read without trusting a field.

Knows documents. Knows nothing of records, or of whether an id is anybody's.

    {"id": "host-17-0-2-1a4f", "outcome": 1, "row": 3, "at": "2026-03-01T12:00:00Z"}

One that cannot be read is told of and leaves the others alone; a body that is no JSON is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import orjson

from gateway.errors import InvalidParameter, MalformedJson
from gateway.outcomes.address import MAX_ID_CHARS

MAX_OUTCOMES: Final = 10_000
MAX_BODY_BYTES: Final = 4 << 20
MAX_LABEL_CHARS: Final = 200
MAX_VALUE: Final = 1e300
MAX_ROW: Final = 2**31 - 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_FIELDS: Final = frozenset({"id", "outcome", "row", "at"})

Value = float | str


class Arrival(NamedTuple):
    """One outcome.

    Attributes:
        id: of the request.
        row: of it.
        outcome: a finite number (true is 1), or the name of a class.
        at_ms: when it was known, since 1970; None: now.
    """

    id: str
    row: int
    outcome: Value
    at_ms: int | None


class Read(NamedTuple):
    """What came in.

    Attributes:
        arrivals: that can be read.
        faults: what is wrong with each of the others.
    """

    arrivals: list[Arrival]
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
    found = Read([], [])
    count = 0
    for count, value in enumerate(values, 1):
        if count > MAX_OUTCOMES:
            raise InvalidParameter(f"outcomes: expected at most {MAX_OUTCOMES}, got more")
        try:
            found.arrivals.append(_arrival(value))
        except InvalidParameter as error:
            found.faults.append(f"outcome {count}: {error}")
    if not count:
        raise InvalidParameter("outcomes: expected at least one, got none")
    return found


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
        return (at - _EPOCH) // _MILLISECOND
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


def _arrival(value: Any) -> Arrival:
    if not isinstance(value, dict):
        raise InvalidParameter("expected an object with id and outcome")
    unknown = value.keys() - _FIELDS
    if unknown:
        raise InvalidParameter(f"unknown field '{min(unknown)[:40]}'")
    name = value.get("id")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_ID_CHARS:
        raise InvalidParameter("id: expected the text of penstock-request-id")
    row = value.get("row")
    if row is None:
        row = 0
    if not isinstance(row, int) or isinstance(row, bool) or not 0 <= row <= MAX_ROW:
        raise InvalidParameter("row: expected its number in the request, from 0 on")
    at = value.get("at")
    return Arrival(name, row, _outcome(value.get("outcome")), None if at is None else read_time(at))


def _outcome(value: object) -> Value:
    if isinstance(value, bool | int | float) and abs(value) <= MAX_VALUE:  # NaN is not
        return float(value)
    if isinstance(value, str) and len(value) <= MAX_LABEL_CHARS:
        return value
    raise InvalidParameter("outcome: expected a finite number, true, false or the name of a class")

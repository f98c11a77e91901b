"""How long, and until when, as people write it.

Knows `30d` and `2027-01-31`. Knows nothing of what ends then.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from gateway.errors import InvalidParameter

_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
# Nothing here is meant to last longer, and calendars end.
MAX_S = 100 * 365 * 86_400
_DURATION = re.compile(r"([0-9]{1,9})([smhdw])")


def read_duration(text: str, what: str) -> float:
    """Seconds of `90s`, `15m`, `1h`, `30d` or `2w`.

    Raises:
        InvalidParameter: it is none, or over a hundred years; the message begins with `what`.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise InvalidParameter(f"{what}: expected a duration such as 90s, 1h or 30d, got {text!r}")
    seconds = int(found[1]) * _UNIT_S[found[2]]
    if seconds > MAX_S:
        raise InvalidParameter(f"{what}: expected at most a hundred years, got {text!r}")
    return float(seconds)


def read_moment(text: str, now: float, what: str) -> float:
    """Seconds since 1970 of a duration from now, or of an ISO 8601 date or time (UTC if not said).

    Raises:
        InvalidParameter: it is neither, not in the future, or a hundred years away.
    """
    text = text[:80]  # messages repeat it
    if _DURATION.fullmatch(text):
        moment = now + read_duration(text, what)
    else:
        try:
            given = datetime.fromisoformat(text)
        except ValueError as error:
            raise InvalidParameter(
                f"{what}: expected a duration such as 30d, or a date, got {text!r}"
            ) from error
        moment = (given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp()
    if moment <= now:
        raise InvalidParameter(f"{what}: expected a time to come, got {text!r}")
    if moment > now + MAX_S:
        raise InvalidParameter(f"{what}: expected at most a hundred years from now, got {text!r}")
    return moment


def moment_text(seconds: float) -> str:
    """A moment as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

"""Durations and moments as people write them."""

from __future__ import annotations

import pytest

from gateway.access.durations import moment_text, read_duration, read_moment
from gateway.errors import InvalidParameter

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("1h", 3600), ("30d", 2_592_000)]
)
def test_durations(text, seconds):
    assert read_duration(text, "d") == seconds
    assert read_moment(text, NOW, "d") == NOW + seconds


def test_dates_are_utc_unless_they_say_otherwise():
    assert moment_text(read_moment("2030-01-31", NOW, "d")) == "2030-01-31T00:00:00Z"
    assert moment_text(read_moment("2030-01-31T12:00+02:00", NOW, "d")) == "2030-01-31T10:00:00Z"


@pytest.mark.parametrize(
    "text",
    ["", "1", "d", "-1d", "1.5h", "tomorrow", "2020-01-01", "0s", "9999-01-01", "999999999w"],
)
def test_what_is_neither_or_is_over_is_refused(text):
    with pytest.raises(InvalidParameter, match="--expires"):
        read_moment(text, NOW, "--expires")

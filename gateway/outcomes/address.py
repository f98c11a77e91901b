"""Where the record of a request is, read from its id.

Knows how an id is built (`inherited.Launch.request_ids`). Knows nothing of records.

    host-17-0-2-1a4f    the host, the server's start on this home, the worker's slot, its epoch:
    `--------' `--'     together a stream of requests; and which of them it is
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MAX_ID_CHARS: Final = 100
_MAX_DIGITS: Final = 15
# Fits the name of a file: nobody reaches another folder with it.
_A_STREAM: Final = r"[A-Za-z0-9-]{1,32}-[0-9]{1,10}-[0-9]{1,5}-[0-9]{1,10}"
_STREAM: Final = re.compile(_A_STREAM, re.ASCII)
PATTERN: Final = f"^{_A_STREAM}-[0-9a-f]{{1,{_MAX_DIGITS}}}$"
"""What every id of ours looks like."""


class Address(NamedTuple):
    """Of a request.

    Attributes:
        stream: the requests of one worker process.
        sequence: which of them.
    """

    stream: str
    sequence: int


def parse_id(text: str) -> Address | None:
    """The address that one id is; None where it is none of ours."""
    streams: dict[str, int] = {}
    found = address(text, streams)
    return None if found is None else Address(next(iter(streams)), found[1])


def address(text: str, streams: dict[str, int]) -> tuple[int, int] | None:
    """The address that an id is; None where it is none of ours.

    Args:
        text: the id.
        streams: those that came before, and their numbers; a new one gets the next.

    Returns:
        The number of its stream, and which request of that it is.
    """
    stream, _, digits = text.rpartition("-")
    number = streams.get(stream)
    if number is None and _STREAM.fullmatch(stream) is None:
        return None
    try:
        sequence = int(digits, 16)
    except ValueError:
        return None
    # As it was written: `int` takes much that nobody wrote, and each request has one id.
    if f"{sequence:x}" != digits or len(digits) > _MAX_DIGITS:
        return None
    if number is None:
        number = streams[stream] = len(streams)
    return number, sequence

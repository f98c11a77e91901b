"""Where the record of a request is, read from its id.

Knows how an id is built (`inherited.Launch.request_ids`). Knows nothing of records.

    host-17-0-2-1a4f    the host, the server's start on this home, the worker's slot, its epoch:
    `--------' `--'     together a stream of requests; and which of them it is
"""

from __future__ import annotations

import re
from typing import Final

MAX_ID_CHARS: Final = 100
_MAX_DIGITS: Final = 15
# Fits the name of a file: nobody reaches another folder with it.
_STREAM: Final = re.compile(r"[A-Za-z0-9-]{1,32}-[0-9]{1,10}-[0-9]{1,5}-[0-9]{1,10}", re.ASCII)


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

"""Where the record of a request is, read from its id.

Knows how an id is built (`inherited.Launch.request_ids`). Knows nothing of records.

    host-17-0-2-1a4f    the host, the server's start on this home, the worker's slot, its epoch:
    `--------' `--'     together a stream of requests; and which of them it is
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MAX_ID_CHARS: Final = 100
# Fits the name of a file: nobody reaches another folder with it.
_STREAM: Final = r"[A-Za-z0-9-]{1,32}-[0-9]{1,10}-[0-9]{1,5}-[0-9]{1,10}"
_SEQUENCE: Final = "[0-9a-f]{1,15}"
_ID = re.compile(f"({_STREAM})-({_SEQUENCE})", re.ASCII)
PATTERN: Final = f"^{_STREAM}-{_SEQUENCE}$"
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
    """The address that an id is; None where it is none of ours."""
    found = _ID.fullmatch(text)
    return None if found is None else Address(found[1], int(found[2], 16))

"""The trace that a request is part of: W3C Trace Context's `traceparent`, read and answered.

Knows the header's format. Knows nothing of spans that are kept anywhere: ours has an id, so that
logs, the answer and the caller's own spans can be matched. `spans` notes those that are exported.

Source: W3C Trace Context, https://www.w3.org/TR/trace-context/ (section 3.2).
"""

from __future__ import annotations

import random
import re
from typing import NamedTuple

TRACEPARENT = b"traceparent"
# Version, trace, span, flags, and what later versions may append.
_FORMAT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_NO_TRACE = b"0" * 32
_NO_SPAN = b"0" * 16
_SAMPLED = 0x01


class Trace(NamedTuple):
    """Where a request stands in its trace.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 of them, ours.
        sampled: the caller keeps its spans of this trace.
        parent_id: 16 of them, the caller's; empty where the trace begins here.
    """

    trace_id: bytes
    span_id: bytes
    sampled: bool = False
    parent_id: bytes = b""

    @property
    def header(self) -> bytes:
        """`traceparent` as we write it."""
        return self.above(self.span_id)

    def above(self, span_id: bytes) -> bytes:
        """`traceparent` for whoever is asked within another span of ours."""
        return b"00-%b-%b-%02x" % (self.trace_id, span_id, self.sampled)


def new_span() -> bytes:
    """The id of a span that begins: 16 hexadecimal digits, not all zero."""
    return b"%016x" % _id(64)


def read_traceparent(value: bytes) -> Trace:
    """The caller's trace with a span of our own; a new trace where the header is not valid."""
    span = new_span()
    found = _FORMAT.fullmatch(value.strip(b" \t"))
    if found is not None:
        version, trace, parent, flags, more = found.groups()
        invalid = version == b"ff" or (version == b"00" and more is not None)
        if not (invalid or trace == _NO_TRACE or parent == _NO_SPAN):
            return Trace(trace, span, bool(int(flags, 16) & _SAMPLED), parent)
    return Trace(b"%032x" % _id(128), span)


def _id(bits: int) -> int:
    """Random and not zero. Ids are no secrets."""
    return random.getrandbits(bits) or 1

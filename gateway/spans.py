"""What the data plane notes of a request that is part of a sampled trace, and control exports.

Knows its fields. Knows nothing of where they come from or of how spans are written.
"""

from __future__ import annotations

from typing import TypedDict


class TracedRequest(TypedDict):
    """The facts of one answered request; plain values, so that it travels as JSON.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 of them, of the request's own span.
        parent_id: of the caller's; empty where the trace begins here.
        method, path: as the client sent them, the path without its query; empty where no head was
            read.
        client: its address.
        request_id: ours.
        status: of the answer.
        code: of the error, where it tells of one.
        received, sent: bytes of the bodies.
        model, version: who answers, as far as known.
        key: name of who sent it, where anybody asked.
        ended_ns: when the answer was written, since 1970.
        ages_ns: how long before that the request arrived and, where a model ran, was decoded,
            started and finished.
    """

    trace_id: str
    span_id: str
    parent_id: str
    method: str
    path: str
    client: str
    request_id: str
    status: int
    code: str | None
    received: int
    sent: int
    model: str
    version: str
    key: str | None
    ended_ns: int
    ages_ns: list[int]

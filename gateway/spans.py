"""What the data plane notes of a request that is part of a sampled trace, and control exports.

Knows its fields. Knows nothing of where they come from or of how spans are written.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict


class Generation(TypedDict):
    """What is told of one try to have a language model answer: sizes, names, times, no content.

    Attributes:
        span_id: 16 hexadecimal digits, that the upstream was told; empty: it was told none.
        operation, system: as OpenTelemetry's conventions call them.
        api: of OpenAI's, that was asked, as they call it; empty: it is not one that they name.
        upstream: that was asked; at this `address` and `port`.
        request_model: the provider's name of the model.
        service_tier: that was asked for; empty: none was.
        response_model, response_id, fingerprint, served_tier, finish: what the answer says of
            itself.
        stream: the answer came in events.
        max_tokens: of the answer, where the request says so.
        parameters: numbers that the request says, and `stop`, by the conventions' names.
        tokens: by kind; None: nobody told.
        cost_usd: None: nobody knows.
        attempts: how many tries there had been with it.
        result: how it ended; of one that another followed, what was wrong with it.
        ages_ns: how long before `ended_ns` the upstream was asked, the client got the first
            content and the try was over; None: that never came.
    """

    span_id: str

    operation: str
    system: str
    api: str
    upstream: str
    address: str
    port: int
    request_model: str
    service_tier: str
    response_model: str
    response_id: str
    fingerprint: str
    served_tier: str
    finish: str
    stream: bool
    max_tokens: int | None
    parameters: dict[str, float | list[str]]
    tokens: dict[str, int] | None
    cost_usd: float | None
    attempts: int
    result: str
    ages_ns: list[int | None]


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
        generations: tries to have a language model answer, the last of them last.
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
    generations: NotRequired[list[Generation]]

"""Turns traced requests into OpenTelemetry spans and sends them to a collector over OTLP/HTTP.

Knows OpenTelemetry's SDK and the semantic conventions of HTTP. Knows nothing of queues or of when
to export. It is imported only once something is to be exported, since the SDK may not be installed.

Of models that predict, the conventions say nothing yet (`gen_ai.*` is about prompts and tokens):
what concerns those is named `penstock.*`. What a provider did for a language model is a span of its
own inside the request's (`gen_ai`).

Source: https://opentelemetry.io/docs/specs/semconv/http/http-spans/ (HTTP server).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from gateway import __version__
from gateway.config import Tracing
from gateway.control.gen_ai import attributes, is_error
from gateway.spans import Generation, TracedRequest

PHASES: Final = ("decode", "queue", "infer", "encode")
_METHODS: Final = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY")
)
# Spans have few names: what clients ask for that is not served has no route.
_FIXED: Final = frozenset(
    {
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/stats",
        "/v2/repository/index",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/models",
        "/v1/responses",
        "/openai/models",
        "/openai/responses",
        "/openai/v1/chat/completions",
        "/openai/v1/completions",
        "/openai/v1/embeddings",
        "/openai/v1/models",
        "/openai/v1/responses",
    }
)
_OF_A_MODEL: Final = re.compile(
    r"/v2/models/[^/]+(?P<version>/versions/[0-9]+)?(?P<of>/(?:infer|ready|config|stats))?"
)
_OF_A_DEPLOYMENT: Final = re.compile(
    r"/openai/deployments/.+(?P<of>/chat/completions|(?<!/chat)/completions|/embeddings)"
)
_OF_A_REPOSITORY: Final = re.compile(r"/v2/repository/models/.+/(load|unload)")


def route_of(path: str) -> str:
    """The pattern that a path of the data port matches; empty where it matches none."""
    if path in _FIXED:
        return path
    if found := _OF_A_MODEL.fullmatch(path):
        version = "/versions/{version}" if found["version"] else ""
        return f"/v2/models/{{model}}{version}{found['of'] or ''}"
    if found := _OF_A_DEPLOYMENT.fullmatch(path):
        return f"/openai/deployments/{{deployment}}{found['of']}"
    if found := _OF_A_REPOSITORY.fullmatch(path):
        return f"/v2/repository/models/{{model}}/{found[1]}"
    return ""


class OtlpExporter:
    """Sends spans to one collector. Used on one thread, but for `stop`."""

    def __init__(self, settings: Tracing, headers: Mapping[str, str], scheme: str) -> None:
        """Sends nothing yet.

        Args:
            settings: where to, and as whom.
            headers: of every export, besides those that OTEL_EXPORTER_OTLP_HEADERS names.
            scheme: of the data port, `"http"`.
        """
        self._scheme = scheme
        self._openinference = settings.openinference
        self._words = _FirstWords()
        self._logger = logging.getLogger("opentelemetry")
        # It would tell of every attempt, and quotes headers that it cannot read.
        self._logger.propagate = False
        self._logger.addHandler(self._words)
        self._ids = _GivenIds()
        self._finished = _Finished()
        # Which traces are kept was decided before.
        provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=_resource(settings),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        provider.add_span_processor(self._finished)
        self._tracer = provider.get_tracer("penstock", __version__)
        self._out = OTLPSpanExporter(
            endpoint=settings.url, headers=headers, timeout=settings.timeout_s
        )

    def export(self, requests: Sequence[TracedRequest]) -> str | None:
        """Sends the spans of requests and waits, trying again where that may help.

        Returns:
            Why it did not succeed; None where it did.
        """
        for request in requests:
            self._record(request)
        self._words.said = ""
        result = self._out.export(self._finished.take())
        return None if result is SpanExportResult.SUCCESS else self._words.said or "no reason given"

    def stop(self) -> None:
        """Gives up what is being sent, as far as that can be. From any thread."""
        self._out.shutdown()  # type: ignore[no-untyped-call]
        self._logger.removeHandler(self._words)
        self._logger.propagate = True

    def _record(self, request: TracedRequest) -> None:
        ended = request["ended_ns"]
        moments = [ended - age for age in request["ages_ns"]]
        route = route_of(request["path"])
        method = request["method"] if request["method"] in _METHODS else "HTTP"
        self._ids.give(request)
        span = self._tracer.start_span(
            f"{method} {route}" if route else method,
            context=_caller(request),
            kind=SpanKind.SERVER,
            attributes=dict(_attributes(request, route, self._scheme)),
            start_time=moments[0],
        )
        if len(moments) > 1:
            self._record_phases(span, [*moments, ended])
        for generation in request.get("generations", ()):
            self._record_generation(span, generation, ended)
        if request["status"] >= 500:  # what a client did wrong is no error of the server's
            span.set_status(Status(StatusCode.ERROR, request["code"]))
        span.end(ended)

    def _record_generation(self, span: Span, one: Generation, ended: int) -> None:
        """What a provider did, as a client's span inside: the one that it was told of."""
        asked, _, over = one["ages_ns"]
        self._ids.give_span(one["span_id"])
        inside = self._tracer.start_span(
            f"{one['operation']} {one['request_model']}",
            context=set_span_in_context(span, Context()),
            kind=SpanKind.CLIENT,
            attributes=dict(attributes(one, openinference=self._openinference)),
            start_time=ended - (asked or 0),
        )
        if is_error(one):
            inside.set_status(Status(StatusCode.ERROR))
        inside.end(ended - (over or 0))

    def _record_phases(self, span: Span, moments: Sequence[int]) -> None:
        inside = set_span_in_context(span, Context())
        for name, start, end in zip(PHASES, moments, moments[1:], strict=False):
            self._tracer.start_span(name, context=inside, start_time=start).end(end)


def _attributes(request: TracedRequest, route: str, scheme: str) -> Iterator[tuple[str, str | int]]:
    method = request["method"]
    yield "http.request.method", method if method in _METHODS else "_OTHER"
    if method and method not in _METHODS:
        yield "http.request.method_original", method
    yield "url.scheme", scheme
    yield "http.response.status_code", request["status"]
    yield "http.request.body.size", request["received"]
    yield "http.response.body.size", request["sent"]
    yield "penstock.request_id", request["request_id"]
    given = {
        "url.path": request["path"],
        "http.route": route,
        "client.address": request["client"],
        "penstock.model.name": request["model"],
        "penstock.model.version": request["version"],
        "penstock.key": request["key"],
        "penstock.error.code": request["code"],
    }
    for name, value in given.items():
        if value:
            yield name, value
    if request["status"] >= 500:
        yield "error.type", request["code"] or str(request["status"])


def _caller(request: TracedRequest) -> Context:
    """What the span of a request lies in: the caller's, or nothing."""
    if not request["parent_id"]:
        return Context()
    parent = SpanContext(
        int(request["trace_id"], 16),
        int(request["parent_id"], 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    return set_span_in_context(NonRecordingSpan(parent), Context())


def _resource(settings: Tracing) -> Resource:
    """What OpenTelemetry's variables say of this service, and what they leave out."""
    given = Resource.create()
    about = {"service.version": __version__, **given.attributes}
    if settings.service_name:
        about[SERVICE_NAME] = settings.service_name
    elif str(about[SERVICE_NAME]).startswith("unknown_service"):
        about[SERVICE_NAME] = "penstock"
    return Resource(about, given.schema_url)


class _GivenIds(RandomIdGenerator):
    """The ids that spans have had since they began; those of a request's phases get new ones."""

    def __init__(self) -> None:
        self._trace = self._span = 0

    def give(self, request: TracedRequest) -> None:
        """The next span is this request's."""
        self._trace, self._span = int(request["trace_id"], 16), int(request["span_id"], 16)

    def give_span(self, span_id: str) -> None:
        """The next span has this id; any where it is empty."""
        self._span = int(span_id or "0", 16)

    def generate_trace_id(self) -> int:
        return self._trace

    def generate_span_id(self) -> int:
        given, self._span = self._span, 0
        return given or super().generate_span_id()


class _Finished(SpanProcessor):
    """Keeps spans until they are taken."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.append(span)

    def take(self) -> Sequence[ReadableSpan]:
        """All since the last time."""
        spans, self._spans = self._spans, []
        return spans


class _FirstWords(logging.Handler):
    """Keeps what a logger says first: later it only says that it gave up."""

    said = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.said = self.said or record.getMessage()

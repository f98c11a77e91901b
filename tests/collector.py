"""A collector for tests: takes OTLP over HTTP, and keeps the spans that it was sent."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass(frozen=True)
class Kept:
    """A span as it arrived."""

    span: Span
    resource: dict[str, Any]
    scope: str

    @property
    def name(self) -> str:
        return self.span.name

    @property
    def trace_id(self) -> str:
        return self.span.trace_id.hex()

    @property
    def span_id(self) -> str:
        return self.span.span_id.hex()

    @property
    def parent_id(self) -> str:
        return self.span.parent_span_id.hex()

    @property
    def attributes(self) -> dict[str, Any]:
        return {one.key: plain(one.value) for one in self.span.attributes}


def plain(value: AnyValue) -> Any:
    return getattr(value, value.WhichOneof("value") or "string_value")


class Collector:
    """Answers each export with the status it is told to; one with 200 is kept.

    Attributes:
        url: where it listens.
        status: of the next answer.
        then: of those after it, where it is another.
        gate: exports are answered while it is set.
        headers: of the latest export, names in lower case.
    """

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.then: int | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.headers: dict[str, str] = {}
        self.exports = 0
        self._spans: list[Kept] = []

    @property
    def spans(self) -> list[Kept]:
        return list(self._spans)

    def requests(self) -> list[Kept]:
        """The spans of requests, without those of their phases."""
        return [kept for kept in self.spans if kept.span.kind == Span.SPAN_KIND_SERVER]

    def of(self, trace_id: str) -> list[Kept]:
        return [kept for kept in self.spans if kept.trace_id == trace_id]

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        self.exports += 1
        self.headers = headers
        self.gate.wait(30)
        if path != "/v1/traces" or headers["content-type"] != "application/x-protobuf":
            return 404
        if self.status == 200:
            if headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            self._keep(ExportTraceServiceRequest.FromString(body))
        status = self.status
        self.status = self.then or status
        return status

    def _keep(self, sent: ExportTraceServiceRequest) -> None:
        for part in sent.resource_spans:
            resource = {one.key: plain(one.value) for one in part.resource.attributes}
            for scoped in part.scope_spans:
                self._spans += [Kept(span, resource, scoped.scope.name) for span in scoped.spans]


@contextmanager
def collecting(port: int = 0) -> Iterator[tuple[Collector, int]]:
    """A collector that listens, and its port."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(collector.take(self.path, headers, body))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield collector, server.server_port
    finally:
        collector.gate.set()
        server.shutdown()
        server.server_close()
        thread.join(20)

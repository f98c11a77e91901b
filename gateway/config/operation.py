"""The parts of the document that are about limits, draining, logs, traces and repositories."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from gateway.config.words import Name, Seconds, Section, off


class Limits(Section):
    """Bounds of everything a client can make grow."""

    max_body_bytes: int = Field(64 << 20, ge=1)
    max_target_bytes: int = Field(8192, ge=64)
    max_header_bytes: int = Field(
        65_536, ge=256, description="all header names and values of a request"
    )
    max_headers: int = Field(128, ge=4)
    max_connections: int = Field(10_000, ge=1, description="per worker")
    max_pipelined: int = Field(16, ge=1, description="requests waiting behind one, per connection")
    max_body_chunks: int = Field(65_536, ge=1)
    max_buffered_bytes: int = Field(
        512 << 20,
        ge=1 << 20,
        description="bodies, what large ones were decoded to, and unread answers, per worker",
    )
    header_timeout_s: Seconds = 10.0
    body_timeout_s: Seconds = Field(60.0, description="longest pause between two pieces of a body")
    write_timeout_s: Seconds = Field(60.0, description="longest a client may not read its answer")
    max_loop_lag_ms: float = Field(20.0, gt=0, description="a worker later than this stops reading")
    max_models: int = Field(1000, ge=1)


class Drain(Section):
    """How a server leaves."""

    grace_s: Seconds = 30.0
    lag_s: float = Field(0.0, ge=0, description="between failing readiness and closing the door")


class Log(Section):
    """What is written to standard error, and how. See `gateway.logs`."""

    format: Literal["text", "json"] = Field("text", description="json: one object a line")
    level: Literal["info", "warning", "error"] = Field("info", description="the least that is told")
    access: Annotated[Literal["off", "errors", "sampled", "all"], BeforeValidator(off)] = Field(
        "off", description="which answered requests of the data port leave a record"
    )
    access_sample: float = Field(0.01, gt=0, le=1, description="share of requests in a sample")
    access_file: Path | None = Field(None, description="none: standard error")


class Tracing(Section):
    """Spans of requests for an OpenTelemetry collector, over OTLP/HTTP. See `gateway.layers`, too.

    What opens the collector's door never stands here: headers come from a file, or from
    OTEL_EXPORTER_OTLP_HEADERS.
    """

    # No `@` and no query: neither a password nor a token has a place in this document.
    endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^/@?#\s]+(/[^?#\s]*)?$",
        description="the collector, http://collector:4318; /v1/traces where no path; none: off",
    )
    # What OpenTelemetry takes where nobody says otherwise: a first trace must not be a matter of
    # luck.
    sample: float = Field(1.0, ge=0, le=1, description="share of traces that begin here")
    follow_caller: bool = Field(
        True, description="a caller's `sampled` flag decides; false: the share does for all"
    )
    service_name: Name | None = Field(
        None, description="none: what OTEL_RESOURCE_ATTRIBUTES says, else penstock"
    )
    headers_file: Path | None = Field(None, description="headers of exports, `name: value` a line")
    timeout_s: Seconds | None = Field(
        None, description="of one export; none: OTEL_EXPORTER_OTLP_TIMEOUT, else 10"
    )
    max_queue: int = Field(
        2048, ge=1, le=1_000_000, description="requests that may wait for their export"
    )
    openinference: bool = Field(
        False, description="spans of language models have OpenInference's attributes, too"
    )

    @property
    def url(self) -> str:
        """Where spans are POSTed to; empty where they are not."""
        endpoint = self.endpoint or ""
        bare = endpoint and "/" not in endpoint.partition("://")[2]
        return f"{endpoint}/v1/traces" if bare else endpoint


class Repository(Section):
    """Where models come from besides the registry, and whether clients may load and unload."""

    paths: list[Path] = Field(default_factory=list, description="folders NAME/VERSION/model.onnx")
    allow_load: bool = Field(False, description="load and unload on the data port")
    # A model is tried out, then loaded by every worker, before whoever asked for it is answered.
    change_timeout_s: Seconds = Field(
        300.0, description="longest that a load or unload on the data port may take"
    )

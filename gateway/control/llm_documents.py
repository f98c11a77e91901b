"""What the admin API answers about language models, as models.

Knows fields. Knows nothing of how they are filled.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gateway.control.operations import Document
from gateway.control.route_documents import MAX_WHY
from gateway.names import MAX_VERSION

Breaker = Literal["closed", "half_open", "open", "left_out"]


class LlmPriceLine(Document):
    """What an upstream charges for a request of no size and tier of its own."""

    entry: str | None = Field(description="of the price map; none: the document states it")
    input_usd_per_million: float
    output_usd_per_million: float


class LlmUpstreamLine(Document):
    """One place that answers for a version."""

    name: str
    provider: str
    model: str = Field(description="the provider's own name of it")
    priced: bool = Field(description="whether anybody knows what it charges")
    price: LlmPriceLine | None = Field(description="of tokens; none: nobody knows it")


class LlmVersionLine(Document):
    """One version of a language model."""

    model: str
    version: int
    aliases: list[str]
    default: bool = Field(description="answers where no route says otherwise")
    order: str
    unpriced: Literal["serve", "refuse"] = Field(description="what becomes of unpriced requests")
    upstreams: list[LlmUpstreamLine]


class LlmModels(Document):
    """Every version that serves."""

    versions: list[LlmVersionLine]


class UpstreamInWorker(Document):
    """How an upstream is, as one worker has come to know it."""

    worker: int
    breaker: Breaker
    ready_in_s: float = Field(description="until it may be asked again; 0: now, or once probed")
    in_flight: int
    first_byte_s: float | None = Field(description="how long answers take to begin")
    connections: int = Field(description="to its provider")
    idle: int = Field(description="of these, unused")
    trouble: str = Field(description="what it lacks, or else what its last failure was")


class UpstreamLine(Document):
    """What one upstream does for one version, since the server was started."""

    model: str
    version: int
    upstream: str
    provider: str
    breaker: Breaker = Field(description="of the worst worker")
    trouble: str = Field(description="what it lacks, or the last failure in any worker was")
    sent: int = Field(description="requests, repeated ones included")
    failed: int
    limited: int
    ok: int = Field(description="requests that were answered")
    input_tokens: int
    output_tokens: int
    cost_usd: float
    unpriced_answers: int
    first_token_p50_s: float | None
    first_token_p95_s: float | None
    workers: list[UpstreamInWorker]


class CloseWanted(Document):
    """An upstream that somebody says is well."""

    upstream: str = Field(max_length=1000, description="as `penstock llm status` calls it")
    version: int | None = Field(None, ge=1, le=MAX_VERSION, description="null: of every version")
    why: str = Field("", max_length=MAX_WHY, description="for whoever reads the audit")


class Closed(Document):
    """One that is asked again."""

    model: str
    upstream: str
    versions: list[int]


class LlmUpstreams(Document):
    """Every upstream."""

    upstreams: list[UpstreamLine]

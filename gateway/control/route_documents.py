"""What the admin API takes and answers about routes, as models.

Knows fields. Knows nothing of how requests are divided.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from gateway import config
from gateway.control.documents import ModelName, Number
from gateway.control.operations import Document
from gateway.names import MAX_VERSION

MAX_WHY = 1000


class RoutePath(Document):
    """Which route."""

    model: ModelName = Field(description="the model that clients call")


class RouteWanted(config.Route, Document):
    """How a model's requests are to be divided."""


class StopWanted(Document):
    """How a route is stopped."""

    fallback: int | None = Field(
        None,
        ge=1,
        le=MAX_VERSION,
        description="the version that answers alone; by default that of the route's fallback",
    )
    why: str = Field("", max_length=MAX_WHY, description="for whoever reads the audit")


class Stopped(Document):
    """A route that was stopped: one version answers alone."""

    version: int
    variant: str = Field(description="its name in the route; empty: it is none of its variants")
    who: str
    why: str
    at: float = Field(description="seconds since 1970")


class Pulled(Document):
    """A version that gets no requests of the route, because it fails."""

    version: int
    variant: str = Field(description="its name in the route when it was pulled")
    why: str = Field(description="with the bound that was passed")
    at: float = Field(description="seconds since 1970")
    evidence: dict[str, Any] = Field(description="kind, failed, requests, bound")


class VariantLine(Document):
    """A variant as it is wanted."""

    name: str
    alias: str | None
    version: Number | None = Field(description="null: its alias names none")
    weight: float
    share: float = Field(description="of all weights")


class ShadowLine(Document):
    """A shadow as it is wanted."""

    alias: str | None
    version: Number | None = Field(description="null: its alias names none")
    share: float = Field(description="of requests, that are run once more")
    running: bool = Field(description="copies are made")


class ServingLine(Document):
    """A variant as it serves."""

    variant: str | None = Field(description="null: the model's default version, without a route")
    version: int
    share: float = Field(description="of requests that name no version")


class RouteLine(Document):
    """A model that clients call, how its requests are wanted to be divided, and how they are."""

    name: str
    source: str = Field(description="document, api, leader; model where nothing is wanted")
    leader: str | None = Field(description="whose it is until that ends: `rollout 7`")
    variants: list[VariantLine]
    sticky: str | None = Field(
        description="what a request is known by: `header x` or `parameter x`"
    )
    overrides: list[str] = Field(description="where a request may name its variant")
    shadows: list[ShadowLine]
    fallback: str | None
    stopped: Stopped | None
    pulled: list[Pulled] = Field(description="until the route is resumed or set anew")
    failing: config.Failing | None = Field(description="when a variant is pulled")
    serving: list[ServingLine] = Field(description="empty: nothing answers")
    fault: str | None = Field(description="why it does not serve as wanted, but as it last was")
    unwritten: str | None = Field(
        description="why a stop or pull that is in force is not written down yet; null: all is"
    )


class RouteList(Document):
    """Every model that clients may call."""

    routes: list[RouteLine]

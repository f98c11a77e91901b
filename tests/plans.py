"""Plans for tests: models are told apart by name, version and content."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from gateway.catalogue import Served
from gateway.plan import Absent, Held, Plan, Route


def held(name: str, version: int = 1, digest: str = "d", load: int = 0) -> Held:
    return Held(name, version, "/models", "model.onnx", digest, {}, {}, 4096 * version, load)


def plan(number: int, *models: Held, absent: Sequence[Absent] = ()) -> Plan:
    """Every model held and routed; the highest version is the default one."""
    routes = []
    for name in sorted({model.name for model in models}):
        versions = {model.version: model.id for model in models if model.name == name}
        routes.append(Route(name, max(versions), versions))
    return Plan(number, models, tuple(routes), tuple(absent), settled=True)


def served(model: Held) -> Served:
    """As the worker would attach it, without anything that could serve."""
    nothing = cast("Any", None)
    return Served(model, nothing, nothing)

"""What is kept of a version that is retired: what it was, and what it came to.

Knows the registry, releases and counters. Knows nothing of who may be retired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.control.registry import Registry
from gateway.control.releases import Releases
from gateway.errors import GatewayError
from gateway.monitor.arena import Arena
from gateway.monitor.report import find_model

Record = Callable[[str, int], Mapping[str, Any]]


def last_words(arena: Arena, registry: Registry, releases: Releases) -> Record:
    """What is written down of a version that leaves. It reads the database: on a thread."""

    def record(model: str, version: int) -> Mapping[str, Any]:
        counters = find_model(arena, model, version)
        history = releases.history(model, version)
        return {
            **_registered(registry, model, version),
            "releases": [one.number for one in history],
            "profile": history[-1].profile if history else None,
            # Since the server was started, or the version was last loaded after a long time.
            "requests": None if counters is None else counters.results,
            "rows": None if counters is None else counters.rows,
        }

    return record


def _registered(registry: Registry, model: str, version: int) -> Mapping[str, Any]:
    try:
        found = registry.show(model).pick(version)
    except GatewayError:  # it came from a file or a repository
        return {"registered": None}
    return {
        "registered": {
            "digest": found.digest,
            "file": found.file,
            "files": {file.path: file.sha256 for file in found.files},
            "by": found.registered_by,
            "at": found.registered_at,
            "metadata": dict(found.metadata),
        }
    }

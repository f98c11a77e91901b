"""What an operator can ask of the control port: one row an operation.

Knows paths, their answers and who may ask. Knows nothing of how requests are read, plans made or
counters kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from starlette.responses import Response

from gateway.access.roles import Permission
from gateway.access.scopes import principal_of
from gateway.control.audit import Actor
from gateway.control.documents import (
    Live,
    Loaded,
    MetricsQuery,
    ModelPath,
    Models,
    Ready,
    Reloaded,
    ReloadQuery,
    Status,
    Unloaded,
)
from gateway.control.operations import Asked, Operation
from gateway.errors import (
    ArenaFull,
    ConfigInvalid,
    Draining,
    ModelNotFound,
    ModelRefused,
    StoreFailed,
    Unavailable,
)
from gateway.plan import Absent

METRICS_TYPES = ("text/plain", "application/openmetrics-text")


@dataclass(frozen=True, slots=True)
class Admin:
    """What the operations call."""

    metrics: Callable[[str, bool], Awaitable[tuple[bytes, str]]]
    status: Callable[[], Mapping[str, Any]]
    models: Callable[[], list[dict[str, Any]]]
    reload: Callable[[Actor, str | None, bool], Awaitable[tuple[Absent, ...]]]
    load: Callable[[Actor, str], Awaitable[None]]
    unload: Callable[[Actor, str], Awaitable[None]]


def operations(admin: Admin, open_metrics: bool = False) -> tuple[Operation, ...]:
    """The table; `open_metrics` lets everybody read them."""

    async def live(_: Asked) -> Any:
        return {"live": True}

    async def ready(_: Asked) -> Any:
        state = admin.status()
        if state["draining"]:
            raise Draining("the server is shutting down")
        if not state["ready"]:
            raise Unavailable("not ready: models are still being loaded")
        return {"ready": True}

    async def metrics(asked: Asked) -> Response:
        accept = asked.request.headers.get("accept", "")
        triton = asked.query.triton == "1"
        body, content_type = await admin.metrics(accept, triton)
        return Response(body, media_type=None, headers={"content-type": content_type})

    async def status(asked: Asked) -> Any:
        state = admin.status()
        return {**state, "workers": [_shown(one, asked) for one in state["workers"]]}

    async def models(asked: Asked) -> Any:
        return {"models": [line for line in admin.models() if asked.may_see(line["name"])]}

    async def reload(asked: Asked) -> Any:
        absent = await admin.reload(asked.actor, asked.query.model, _rereads(asked))
        shown = [asdict(one) for one in absent if asked.may_see(one.name)]
        return {"plan": admin.status()["plan"], "absent": shown}

    async def load(asked: Asked) -> Any:
        await admin.load(asked.actor, asked.path.model)
        return {"loaded": asked.path.model}

    async def unload(asked: Asked) -> Any:
        await admin.unload(asked.actor, asked.path.model)
        return {"unloaded": asked.path.model}

    changing = (ConfigInvalid, StoreFailed, ArenaFull)
    return (
        Operation("GET", "/health/live", live, "Whether control lives", None, answer=Live),
        Operation(
            "GET",
            "/health/ready",
            ready,
            "Whether every model has been loaded or refused",
            None,
            answer=Ready,
            errors=(Unavailable, Draining),
        ),
        Operation(
            "GET",
            "/metrics",
            metrics,
            "All counters, in Prometheus' format or OpenMetrics'",
            None if open_metrics else Permission.READ,
            texts=METRICS_TYPES,
            query=MetricsQuery,
        ),
        Operation(
            "GET",
            "/api/status",
            status,
            "Processes, and the plan each worker follows",
            Permission.READ,
            scope="caller",
            answer=Status,
        ),
        Operation(
            "GET",
            "/api/models",
            models,
            "Every version known, with its state",
            Permission.READ,
            scope="caller",
            answer=Models,
            bulky=True,
        ),
        Operation(
            "POST",
            "/api/reload",
            reload,
            "Read configuration and models again",
            Permission.OPERATE,
            scope="model",
            answer=Reloaded,
            query=ReloadQuery,
            errors=changing,
        ),
        Operation(
            "POST",
            "/api/models/{model}/load",
            load,
            "Load a model anew",
            Permission.OPERATE,
            scope="model",
            answer=Loaded,
            path_parameters=ModelPath,
            errors=(*changing, ModelNotFound, ModelRefused),
        ),
        Operation(
            "POST",
            "/api/models/{model}/unload",
            unload,
            "Take a model out of service until it is loaded again",
            Permission.OPERATE,
            scope="model",
            answer=Unloaded,
            path_parameters=ModelPath,
            errors=changing,
        ),
    )


def _shown(worker: Mapping[str, Any], asked: Asked) -> dict[str, Any]:
    """A worker with what it refuses of the models that the caller may know of."""
    refused = [one for one in worker["refused"] if asked.may_see(one["deployment"].split("/")[0])]
    return {**worker, "refused": refused}


def _rereads(asked: Asked) -> bool:
    """Whether a reload reads the document again, which is about all models.

    Raises:
        Forbidden: a caller that may use some models alone wants it to.
    """
    wanted, principal = asked.query.config, principal_of(asked.request.scope)
    if wanted == "1" and principal is not None:
        principal.require_all_models()
    limited = principal is not None and principal.models is not None
    return wanted == "1" or (wanted is None and not limited)

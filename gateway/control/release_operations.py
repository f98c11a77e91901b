"""What can be asked of contracts and monitoring releases through the control port.

Knows parameters and answers. Knows nothing of what a contract says or how releases are kept. An
answer is written once workers follow a plan that says so; they read its files aside, meanwhile what
held before goes on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from gateway.access.roles import Permission
from gateway.contracts import document
from gateway.control.contracts import Contracts
from gateway.control.drift_documents import VersionPath
from gateway.control.operations import Asked, Operation
from gateway.control.release import Release
from gateway.control.release_documents import (
    BackQuery,
    Changed,
    ContractDocument,
    ContractShown,
    NoteQuery,
    ReleaseList,
    ReleasePath,
    ReleaseShown,
)
from gateway.control.releases import Releases
from gateway.errors import ArenaFull, ConfigInvalid, ContractInvalid, NotFound, StoreFailed
from gateway.plan import Plan

Follow = Callable[[str], Awaitable[object]]


def operations(
    releases: Releases, contracts: Contracts, plan: Callable[[], Plan], follow: Follow
) -> tuple[Operation, ...]:
    """The table.

    Args:
        releases: of the home.
        contracts: what was counted.
        plan: the newest.
        follow: brings the workers to what a model is watched by now.
    """

    async def show_contract(asked: Asked) -> Any:
        path: VersionPath = asked.path
        return await asyncio.to_thread(_shown, releases, contracts, plan(), path)

    async def set_contract(asked: Asked) -> Any:
        body: ContractDocument = asked.body
        # Not orjson: what is too large for it is for the contract to refuse.
        contract = document.read(json.dumps(body.model_dump(exclude_unset=True)))
        return await changed(asked, partial(releases.set_contract, contract=contract))

    async def reset_contract(asked: Asked) -> Any:
        return await changed(asked, partial(releases.set_contract, contract=None))

    async def roll_back_monitoring(asked: Asked) -> Any:
        query: BackQuery = asked.query
        return await changed(asked, partial(releases.rollback, number=query.release))

    async def changed(asked: Asked, change: Callable[..., Release]) -> Any:
        path: VersionPath = asked.path
        release = await asyncio.to_thread(
            change, path.model, path.version, actor=asked.actor, note=asked.query.note
        )
        await follow(path.model)
        return {"release": release.as_json(), "plan": plan().number}

    async def list_monitoring(asked: Asked) -> Any:
        path: VersionPath = asked.path
        found = await asyncio.to_thread(releases.history, path.model, path.version)
        lines = [one.as_json() for one in found]
        return {"model": path.model, "version": path.version, "releases": lines}

    async def show_monitoring(asked: Asked) -> Any:
        return await asyncio.to_thread(_release, releases, asked.path)

    of_version = "/api/models/{model}/versions/{version}"
    changing = (NotFound, StoreFailed, ConfigInvalid, ArenaFull)
    return (
        Operation(
            "GET",
            f"{of_version}/contract",
            show_contract,
            "What a version's inputs may hold, and how often they broke it",
            Permission.READ,
            scope="model",
            answer=ContractShown,
            path_parameters=VersionPath,
            bulky=True,
            errors=(NotFound, ContractInvalid, StoreFailed),
        ),
        Operation(
            "PUT",
            f"{of_version}/contract",
            set_contract,
            "Put another contract in force, as a new monitoring release",
            Permission.OPERATE,
            scope="model",
            answer=Changed,
            path_parameters=VersionPath,
            query=NoteQuery,
            body=ContractDocument,
            max_body_bytes=document.MAX_BYTES,
            errors=(*changing, ContractInvalid),
        ),
        Operation(
            "DELETE",
            f"{of_version}/contract",
            reset_contract,
            "Put the contract in force that is inferred from the profile",
            Permission.OPERATE,
            scope="model",
            answer=Changed,
            path_parameters=VersionPath,
            query=NoteQuery,
            errors=changing,
        ),
        Operation(
            "GET",
            f"{of_version}/monitoring",
            list_monitoring,
            "The monitoring releases of a version, the newest first",
            Permission.READ,
            scope="model",
            answer=ReleaseList,
            path_parameters=VersionPath,
            bulky=True,
            errors=(StoreFailed,),
        ),
        Operation(
            "GET",
            f"{of_version}/monitoring/releases/{{number}}",
            show_monitoring,
            "One monitoring release with its contract",
            Permission.READ,
            scope="model",
            answer=ReleaseShown,
            path_parameters=ReleasePath,
            bulky=True,
            errors=(NotFound, ContractInvalid, StoreFailed),
        ),
        Operation(
            "POST",
            f"{of_version}/monitoring/rollback",
            roll_back_monitoring,
            "Put profile, contract and thresholds of an earlier release in force again",
            Permission.OPERATE,
            scope="model",
            answer=Changed,
            path_parameters=VersionPath,
            query=BackQuery,
            errors=changing,
        ),
    )


def _release(releases: Releases, path: ReleasePath) -> dict[str, Any]:
    found = releases.get(path.model, path.version, path.number)
    return {**found.as_json(), "contract_document": document.plain(releases.contract(found))}


def _shown(
    releases: Releases, contracts: Contracts, plan: Plan, path: VersionPath
) -> dict[str, Any]:
    release = releases.get(path.model, path.version)
    counted = contracts.of_version(plan, path.model, path.version)
    nothing: dict[str, Any] = {"policy": None, "rows": 0, "skipped_rows": 0, "violations": []}
    return {
        "model": path.model,
        "version": path.version,
        "release": release.number,
        **(nothing if counted is None else counted.as_json()),
        "digest": release.contract,
        "edited": release.edited,
        "contract": document.plain(releases.contract(release)),
    }

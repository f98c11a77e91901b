"""What can be asked of the configuration through the control port, as with `penstock config`.

Knows parameters and answers. Knows nothing of what a document says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any

from starlette.responses import Response

from gateway.access.roles import Permission
from gateway.control.config_documents import (
    Applied,
    ApplyQuery,
    Effective,
    IfMatch,
    RevisionPath,
    Revisions,
    RevisionsQuery,
    RollbackQuery,
    WholeRevision,
)
from gateway.control.differences import Difference
from gateway.control.in_force import InForce
from gateway.control.operations import Asked, Operation, Told
from gateway.control.proposals import Hints, Outcome, Terms
from gateway.control.revisions import KEPT, Revision
from gateway.errors import (
    ArenaFull,
    ConfigInvalid,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
    StoreFailed,
)
from gateway.plan import Absent, Plan

MAX_DOCUMENT_BYTES = 4 << 20
YAML = "application/yaml"
Follow = Callable[[], Awaitable[Sequence[Absent]]]
Propose = Callable[[Any, Terms, Hints], Outcome]


def operations(
    in_force: InForce, follow: Follow, plan: Callable[[], Plan], hints: Callable[[], Hints]
) -> tuple[Operation, ...]:
    """The table.

    Args:
        in_force: what the server follows, and its revisions.
        follow: brings the workers to the newest revision.
        plan: what they follow.
        hints: the models that are known, each with the settings that it brings along itself.
    """

    async def show_config(asked: Asked) -> Any:
        return _shown(asked, await asyncio.to_thread(in_force.revisions.newest))

    async def show_effective(_: Asked) -> Any:
        newest, settings = await asyncio.to_thread(in_force.settings)
        value = {"revision": newest.number, "settings": [asdict(one) for one in settings]}
        return Told(value, _tag(newest))

    async def apply_config(asked: Asked) -> Any:
        return await change(asked, in_force.proposals.apply, asked.body, asked.query.source)

    async def roll_back(asked: Asked) -> Any:
        return await change(asked, in_force.proposals.rollback, asked.query.revision)

    async def change(asked: Asked, propose: Propose, what: Any, source: str = "") -> Told:
        wanted = _wanted(asked)
        if wanted is None:
            raise PreconditionRequired("If-Match: expected the revision that is changed, got none")
        dry = asked.query.dry_run == "1"
        terms = Terms(asked.actor, asked.query.note, source, wanted, dry)
        before = plan().absent
        outcome = await asyncio.to_thread(propose, what, terms, hints())
        absent = before if dry else await follow()
        refused = () if dry else _refused(before, absent, outcome.changes)
        value = {
            "revision": outcome.after.number,
            "before": outcome.before.number,
            "dry_run": dry,
            "changes": [one.as_json() for one in outcome.changes],
            "plan": plan().number,
            "absent": [asdict(one) for one in absent],
            "refused": [asdict(one) for one in refused],
        }
        return Told(value, _tag(outcome.after))

    async def list_revisions(asked: Asked) -> Any:
        before, limit = asked.query.before, asked.query.limit
        found = await asyncio.to_thread(in_force.revisions.history, before, limit)
        following = found[-1].number if len(found) == limit else None
        return {"revisions": [one.as_json(whole=False) for one in found], "next": following}

    async def show_revision(asked: Asked) -> Any:
        return _shown(asked, await asyncio.to_thread(in_force.revisions.get, asked.path.number))

    changing = (
        ConfigInvalid,
        StoreFailed,
        ArenaFull,
        PreconditionFailed,
        PreconditionRequired,
    )
    return (
        Operation(
            "GET",
            "/api/config",
            show_config,
            "The document in force; its ETag is the revision",
            Permission.READ,
            answer=WholeRevision,
            texts=(YAML,),
            errors=(StoreFailed,),
        ),
        Operation(
            "PUT",
            "/api/config",
            apply_config,
            "Put a document in force as a new revision, or tell what would change",
            Permission.ADMINISTER,
            answer=Applied,
            query=ApplyQuery,
            headers=IfMatch,
            body=YAML,
            max_body_bytes=MAX_DOCUMENT_BYTES,
            errors=changing,
        ),
        Operation(
            "GET",
            "/api/config/effective",
            show_effective,
            "Every value in force, and whether document, environment or option set it",
            Permission.READ,
            answer=Effective,
            errors=(StoreFailed, ConfigInvalid),
        ),
        Operation(
            "GET",
            "/api/config/revisions",
            list_revisions,
            f"The revisions that are kept ({KEPT}), the newest first, page by page",
            Permission.READ,
            answer=Revisions,
            query=RevisionsQuery,
            errors=(StoreFailed,),
            bulky=True,
        ),
        Operation(
            "GET",
            "/api/config/revisions/{number}",
            show_revision,
            "One revision with its document",
            Permission.READ,
            answer=WholeRevision,
            texts=(YAML,),
            path_parameters=RevisionPath,
            errors=(StoreFailed,),
        ),
        Operation(
            "POST",
            "/api/config/rollback",
            roll_back,
            "Put an earlier document in force again, or tell what would change",
            Permission.ADMINISTER,
            answer=Applied,
            query=RollbackQuery,
            headers=IfMatch,
            errors=(*changing, NotFound),
        ),
    )


def _shown(asked: Asked, revision: Revision) -> Any:
    """The document itself for those who ask for YAML, else all that is known of the revision."""
    if YAML in asked.request.headers.get("accept", ""):
        return Response(revision.document, 200, _tag(revision), media_type=YAML)
    return Told(revision.as_json(), _tag(revision))


def _refused(
    before: Sequence[Absent], after: Sequence[Absent], changes: Sequence[Difference]
) -> list[Absent]:
    """What a change is to blame for: what was not absent before, and what it should have helped.

    Every version of a model that changes counts, unless somebody wants it out of service.
    """
    concerned = {name for one in changes for name in (one.model, *one.models)}
    return [
        one
        for one in after
        if one.broken and (one not in before or (one.name in concerned and not one.unasked))
    ]


def _tag(revision: Revision) -> dict[str, str]:
    return {"etag": f'"{revision.number}"'}


def _wanted(asked: Asked) -> int | None:
    """The revision that `If-Match` names; None where the header is not there.

    Raises:
        PreconditionFailed: it names no revision.
    """
    text: str | None = asked.headers.revision
    if text is None:
        return None
    digits = text.strip().strip('"')
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise PreconditionFailed(f'If-Match: expected a revision such as "3", got {text[:40]!r}')
    return int(digits)

"""What the admin API takes and answers about keys, as models.

Knows fields. Knows nothing of how keys are kept, and checks nothing that `keys` checks anyway.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from gateway.access.allowance import MAX_TAGS
from gateway.access.keys import NAME_PATTERN, RESERVED_NAMES
from gateway.access.roles import ROLES
from gateway.config.llm_limits import GroupName, Limited
from gateway.control.documents import ModelName, Number, PageSize
from gateway.control.operations import Document

MAX_ID = 2**63 - 1
_DURATION: dict[str, Any] = {"type": "string", "pattern": "^[1-9][0-9]{0,2}[smhdw]$"}
_MOMENT: dict[str, Any] = {"anyOf": [_DURATION, {"type": "string", "format": "date-time"}]}

KeyName = Annotated[
    str,
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^{NAME_PATTERN}$",
            "not": {"enum": sorted(RESERVED_NAMES)},
        }
    ),
]
Tags = Annotated[list[GroupName], Field(max_length=MAX_TAGS)]
Role = Annotated[str, WithJsonSchema({"type": "string", "enum": list(ROLES)})]


class KeyPath(Document):
    """Which key."""

    id: int = Field(ge=1, le=MAX_ID)


class KeyWanted(Document):
    """A key that is to be made."""

    name: KeyName = Field(description="what logs and metrics call it")
    role: Role = Field(description="what it may do")
    models: list[ModelName] = Field(
        ["*"], min_length=1, max_length=1000, description="the models it may call; `*`: all"
    )
    expires: Annotated[str, WithJsonSchema(_MOMENT)] | None = Field(
        None, description="when it ends: `30d` from now, or a date to come; by default never"
    )
    team: GroupName | None = Field(None, description="whose limits it shares")
    tags: Tags = Field(default_factory=list, description="whose limits it shares, too")
    limits: Limited = Field(Limited(), description="of its own, for language models")


class KeyChange(Document):
    """What is to be another of a key; what is left out stays."""

    models: list[ModelName] | None = Field(
        None, min_length=1, max_length=1000, description="the models it may call; `*`: all"
    )
    team: GroupName | None = Field(None, description="null: none")
    tags: Tags | None = None
    limits: Limited | None = Field(
        None, description="fields that are given take the place of those there; null: no limit"
    )


class Rotation(Document):
    """How a key is replaced."""

    overlap: Annotated[str, WithJsonSchema(_DURATION)] | None = Field(
        None, description="how long the old one is still good; by default not at all"
    )


class KeyLimits(Document):
    """What one key, team or tag may spend, and how fast; null: no limit."""

    budgets: list[str]
    requests_per_minute: int | None
    tokens_per_minute: int | None
    max_parallel: int | None


class KeyLine(Document):
    """What is known of a key: everything but the key."""

    id: int
    name: str
    role: str
    models: list[str]
    state: Literal["active", "revoked", "expired"]
    created_by: str
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    team: str | None
    tags: list[str]
    limits: KeyLimits


class NewKey(KeyLine):
    """A key that was made, this once with the key itself."""

    key: str


class KeyList(Document):
    """Keys that there ever were, in the order in which they were made."""

    keys: list[KeyLine]
    next: int | None = Field(description="`after` of the next page; null where this was the last")


class KeysQuery(Document):
    """Which keys."""

    after: Number = Field(0, description="a key's id; those past it are told")
    limit: PageSize = 100

"""What the admin API answers with, as models: they check the answers and describe them.

Knows fields. Knows nothing of where their values come from.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, WithJsonSchema

from gateway.control.operations import Document
from gateway.names import MAX_NAME, check_name

NAME_SCHEMA = {
    "pattern": r"^(?!\.{1,2}$)(?!\s*$)[^/\\\u0000-\u001f\u007f-\u009f]+$",
    "maxLength": MAX_NAME,
}
# check_name says in words what is wrong; the schema says the same to programs.
ModelName = Annotated[
    str, AfterValidator(check_name), WithJsonSchema({"type": "string", **NAME_SCHEMA})
]


def _digits(value: Any) -> Any:
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("expected a whole number in digits")  # "1.0" and " 1" would be read, too
    return value


# Behind the bounds, which would be missing from the schema otherwise.
DIGITS = BeforeValidator(_digits)
# Of a row of some table.
Number = Annotated[int, Field(ge=0, le=2**63 - 1), DIGITS]
# Of a list that is told page by page.
PageSize = Annotated[int, Field(ge=1, le=1000), DIGITS]


class Live(Document):
    """The control process lives."""

    live: Literal[True]


class Ready(Document):
    """Every model has been loaded or refused, and the server is not about to stop."""

    ready: Literal[True]


class Refused(Document):
    """A deployment that a worker could not load."""

    deployment: str
    reason: str
    tries: int = Field(ge=1, description="how often it has tried")


class Worker(Document):
    """One worker process."""

    slot: int = Field(ge=0, description="its place, which a successor takes over")
    pid: int
    epoch: int = Field(description="counts the processes that had this place")
    state: str
    restarts: int = Field(ge=0)
    connections: int = Field(ge=0, description="open now")
    plan: int | None = Field(description="number of the plan that it follows")
    refused: list[Refused] = Field(description="what it cannot load of that plan")


class Status(Document):
    """Processes and plans."""

    supervisor: int = Field(description="process id")
    control: int = Field(description="process id")
    ready: bool
    draining: bool
    plan: int = Field(description="number of the newest plan")
    workers: list[Worker]


class ReferenceLine(Document):
    """What a version's traffic is held against."""

    digest: str | None = Field(description="of the profile; null while its rows are gathered")
    rows: int = Field(ge=0, description="of the reference, or gathered for it so far")
    self_referenced: bool = Field(description="it is the model's own first traffic")
    wanted_rows: int = Field(ge=0, description="before a profile is made of them")


class ModelLine(Document):
    """One version of a model."""

    name: str
    version: int = Field(ge=0, description="0 where it never came to one")
    state: str = Field(description="READY, LOADING, UNLOADING or UNAVAILABLE")
    default: bool = Field(False, description="answers where a path names no version")
    reason: str = Field("", description="why it does not serve")
    retired: bool = Field(False, description="out of service for good")
    successor: int = Field(0, ge=0, description="whom its callers are told to ask; 0: nobody")


class ModelEntry(ModelLine):
    """One version of a model, with what its traffic is held against."""

    reference: ReferenceLine | None = Field(None, description="null: its traffic is not watched")


class Models(Document):
    """Every version that is known."""

    models: list[ModelEntry]


class Reloaded(Document):
    """What came of a reload."""

    plan: int = Field(description="number of the plan that the workers follow now")
    absent: list[ModelLine] = Field(description="what does not serve")


class Loaded(Document):
    """A model serves anew."""

    loaded: str


class Unloaded(Document):
    """A model serves no more."""

    unloaded: str


class ModelPath(Document):
    """Which model."""

    model: ModelName


def optional(schema: dict[str, Any]) -> None:
    """Of a parameter: None stands for one that was left out, and null cannot be sent."""
    del schema["default"]
    given, _ = schema.pop("anyOf")
    schema.update(given)


class ReloadQuery(Document):
    """What a reload waits for."""

    model: ModelName | None = Field(
        None,
        description="the one model that is waited for; by default all",
        json_schema_extra=optional,
    )
    config: Literal["0", "1"] | None = Field(
        None,
        description="0: the file of --config is not read again, the models alone are; by default "
        "1, and 0 for callers that may use some models alone",
        json_schema_extra=optional,
    )


class MetricsQuery(Document):
    """What is left out of the metrics."""

    triton: Literal["0", "1"] = Field("1", description="with Triton's nv_inference_*")


class AuditEntry(Document):
    """One change."""

    id: int = Field(ge=1)
    at: float | str = Field(description="seconds since 1970; a text only where `fault` says so")
    who: str = Field(description="a user or principal")
    door: str = Field(description="cli, admin, data, signal or automatic")
    origin: str = Field(description="an address, or host, process and terminal")
    action: str
    subject: str
    before: Any = Field(description="what the change replaced")
    after: Any = Field(description="what it put there")
    hash: str = Field(description="over the hash of the entry before and all the above")
    fault: str | None = Field(None, description="what it holds that no entry has: it was changed")


class AuditPage(Document):
    """Entries of the audit, ascending."""

    entries: list[AuditEntry]
    next: int | None = Field(description="`after` of the next page; null where this was the last")


class AuditQuery(Document):
    """Which entries."""

    after: Number = Field(0, description="an entry's id; those past it are told")
    limit: PageSize = 100


class OpenApi(BaseModel):
    """This document."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]

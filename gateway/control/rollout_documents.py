"""What the admin API takes and answers about rollouts, as models.

Knows fields. Knows nothing of how a rollout goes on.
"""

from __future__ import annotations

from pydantic import Field

from gateway.config.rollout import RolloutPlan
from gateway.control.documents import ModelName, Number
from gateway.control.operations import Document
from gateway.control.route_documents import MAX_WHY
from gateway.names import MAX_VERSION
from gateway.rollouts.judgements import Verdict
from gateway.rollouts.stand import State


class RolloutPath(Document):
    """Which rollout."""

    number: Number


class RolloutQuery(Document):
    """Of which route."""

    model: ModelName | None = Field(None, description="the route; none: all that may be seen")


class StartWanted(Document):
    """A version that is to take a route over."""

    to: int = Field(ge=1, le=MAX_VERSION, description="the candidate")
    plan: RolloutPlan | None = Field(
        None, description="none: 1, 5, 25, 50 and 100 %, five minutes each at least"
    )
    why: str = Field("", max_length=MAX_WHY, description="for whoever reads the story")


class WhyWanted(Document):
    """Why something is done to a rollout."""

    why: str = Field("", max_length=MAX_WHY, description="for whoever reads the story")


class JudgementLine(Document):
    """What a guard says, and by which figures."""

    guard: str
    verdict: Verdict
    says: str
    figures: dict[str, float | None]


class EventLine(Document):
    """One line of the story."""

    at: float = Field(description="seconds since 1970")
    kind: str
    state: State
    step: int = Field(description="of the plan, from 1 on")
    who: str = Field(description="who decided it; empty: the rollout by itself")
    says: str
    judgements: list[JudgementLine] = Field(description="what it was decided on")


class RolloutLine(Document):
    """A rollout, and how far it has come."""

    number: int
    route: str
    candidate: int
    baseline: int
    state: State
    step: int = Field(description="under way, or the last: from 1 on")
    steps: int
    percent: float = Field(description="of the baseline's requests that the candidate gets")
    waits: bool = Field(description="for somebody's approval")
    over: bool = Field(description="nothing follows any more")
    started_at: float = Field(description="seconds since 1970")
    started_by: str
    why: str


class RolloutList(Document):
    """Rollouts, the newest first."""

    rollouts: list[RolloutLine]


class RolloutShown(RolloutLine):
    """A rollout with its plan, its story and what its guards say now."""

    plan: RolloutPlan
    warnings: list[str] = Field(description="why guards may not come to a verdict in time")
    awaits: str = Field(description="what has to come before it goes on; empty: nothing follows")
    judgements: list[JudgementLine] = Field(description="of the last look; empty: none, or over")
    story: list[EventLine] = Field(description="what happened, when, why, and by which figures")
    unwritten: str | None = Field(
        description="why the end of its story is in force and not written down yet; null: all is"
    )

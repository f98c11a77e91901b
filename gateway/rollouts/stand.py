"""How far a rollout has come, what is seen of it from outside, and what is told of it.

Knows the words, and how they are kept as plain values. Knows nothing of how one follows another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from gateway.rollouts.judgements import Judgement, Verdict


class State(StrEnum):
    """What a rollout does."""

    PENDING = "pending"
    """The candidate is tried out and loaded."""
    SHADOWING = "shadowing"
    """It runs beside the baseline; nobody gets its answers."""
    STEPPING = "stepping"
    """It has a share of the baseline's requests."""
    PAUSED = "paused"
    """It keeps its share, and time stands still."""
    PROMOTED = "promoted"
    """It has all of them; until the watch is over it can still be rolled back."""
    ROLLED_BACK = "rolled_back"
    """The guards, a fault or time took it back."""
    ABORTED = "aborted"
    """A person took it back."""


TAKEN_BACK = frozenset({State.ROLLED_BACK, State.ABORTED})


@dataclass(frozen=True, slots=True)
class Stand:
    """How far a rollout has come.

    Attributes:
        state: what it does.
        step: which one is under way; the first while it is pending.
        resumes: what a paused one goes on with.
        waits: the step is done but for somebody's approval.
        baked_s: of this step, as far as somebody watched.
        rows: that the candidate had in this step.
        spent_s: of the longest that the rollout may take.
        watched_s: since its promotion.
        failing: how many times in a row each guard has failed until now.
        verdicts: what each guard last said.
        promoted: it was, whatever became of it.
        ended: nothing follows any more.
        looked_at: seconds since 1970 when time was last counted; None: not yet.
    """

    state: State = State.PENDING
    step: int = 0
    resumes: State = State.PENDING
    waits: bool = False
    baked_s: float = 0.0
    rows: int = 0
    spent_s: float = 0.0
    watched_s: float = 0.0
    failing: Mapping[str, int] = field(default_factory=dict)
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    promoted: bool = False
    ended: bool = False
    looked_at: float | None = None

    @property
    def doing(self) -> State:
        """Its state, or what it would do if it were not paused."""
        return self.resumes if self.state is State.PAUSED else self.state

    @property
    def taken_back(self) -> bool:
        """The candidate is to have nothing any more."""
        return self.state in TAKEN_BACK

    def as_json(self) -> dict[str, Any]:
        """Plain values; `read_stand` is the inverse."""
        return asdict(self)


def read_stand(values: Mapping[str, Any]) -> Stand:
    """What `Stand.as_json` wrote."""
    verdicts = {name: Verdict(said) for name, said in values["verdicts"].items()}
    return Stand(
        **{
            **values,
            "state": State(values["state"]),
            "resumes": State(values["resumes"]),
            "verdicts": verdicts,
        }
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known from outside when a rollout is looked at.

    Attributes:
        serves: every worker has the candidate.
        followed: every worker divides requests as the stand says; time does not count before.
        refusal: why it cannot serve; empty where nothing is known against it.
        held_up: why nothing can go on now; empty where it can.
        rows: that the candidate had since the last look.
        judgements: one for each guard; none where nobody judges (yet).
    """

    serves: bool = True
    followed: bool = True
    refusal: str = ""
    held_up: str = ""
    rows: int = 0
    judgements: Sequence[Judgement] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a rollout's story.

    Attributes:
        at: seconds since 1970.
        kind: what happened, in a word: `started`, `step`, `verdict`, `waits`, `approved`, `paused`,
            `resumed`, `promoted`, `watched`, `rolled_back`, `aborted`, `noted`.
        state, step: of the rollout from then on.
        who: decided it; empty: the rollout by itself.
        says: a sentence for a person.
        judgements: the figures that it was decided on.
    """

    at: float
    kind: str
    state: State
    step: int
    who: str
    says: str
    judgements: Sequence[Judgement] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values; `read_event` is the inverse."""
        return asdict(self)


def read_event(values: Mapping[str, Any]) -> Event:
    """What `Event.as_json` wrote."""
    judgements = tuple(
        Judgement(**{**one, "verdict": Verdict(one["verdict"])}) for one in values["judgements"]
    )
    return Event(**{**values, "state": State(values["state"]), "judgements": judgements})

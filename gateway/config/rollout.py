"""The plan of a rollout: by which steps a candidate takes a route over, and what it is judged by.

Knows steps, times and guards. Knows nothing of versions, or of what a verdict is followed by. See
docs/rollouts.md.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from gateway.config.faults import fault_text, place_text
from gateway.config.guards import DEFAULT_GUARDS, Guards
from gateway.config.words import Section
from gateway.errors import ConfigInvalid
from gateway.yaml_text import read

MAX_STEPS: Final = 50
# A plan for longer than a month is a plan for another plan.
MAX_S: Final = 31 * 86_400.0


class Step(Section):
    """How much of the baseline's traffic a candidate has, and for how long at least."""

    percent: float | None = Field(
        None, gt=0, le=100, description="of the baseline's requests, answered by the candidate"
    )
    shadow_percent: float | None = Field(
        None, gt=0, le=100, description="of the requests, run by the candidate aside: no answers"
    )
    # Long enough for what comes by once a minute; short enough that five steps are a coffee break.
    bake_s: float = Field(300.0, ge=0, le=MAX_S, description="lasts at least so long")
    min_rows: int = Field(
        100, ge=0, le=1_000_000_000, description="lasts until the candidate has had so many rows"
    )
    require: Literal["no_fail", "pass"] = Field(
        "no_fail", description="pass: lasts until every guard has passed, too"
    )
    approval: bool = Field(
        False, description="lasts until somebody has approved it who did not start the rollout"
    )

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        if (self.percent is None) == (self.shadow_percent is None):
            given = "neither" if self.percent is None else "both"
            raise ValueError(f"expected either percent or shadow_percent, got {given}")
        return self

    @property
    def is_shadow(self) -> bool:
        """Whether nobody gets the candidate's answers."""
        return self.percent is None


DEFAULT_STEPS: Final = tuple(Step(percent=percent) for percent in (1, 5, 25, 50, 100))


class RolloutPlan(Section):
    """By which steps a candidate takes over, and what takes it back."""

    steps: list[Step] = Field(
        default_factory=lambda: list(DEFAULT_STEPS), min_length=1, max_length=MAX_STEPS
    )
    guards: Guards = Field(default_factory=lambda: list(DEFAULT_GUARDS))
    # A verdict is as sure the first time as the third: it is made for being looked at often.
    failure_limit: int = Field(
        1, ge=1, le=1000, description="how many times in a row a guard must fail; one look a second"
    )
    max_duration_s: float = Field(
        86_400.0,
        gt=0,
        le=MAX_S,
        description="rolled back if not promoted within; pauses and approvals do not count",
    )
    watch_s: float = Field(
        600.0, ge=0, le=MAX_S, description="after promotion: failing still rolls back"
    )

    @field_validator("steps")
    @classmethod
    def _ascending(cls, steps: list[Step]) -> list[Step]:
        if any(not a.is_shadow and b.is_shadow for a, b in pairwise(steps)):
            raise ValueError("expected shadow steps before the others, got one after them")
        shares = [step.percent for step in steps if step.percent is not None]
        for before, after in pairwise(shares):
            if after <= before:
                raise ValueError(f"expected ascending percents, got {after:g} after {before:g}")
        return steps

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        baking = sum(step.bake_s for step in self.steps)
        if baking > self.max_duration_s:
            raise ValueError(
                f"expected max_duration_s of at least what the steps bake, got"
                f" {self.max_duration_s:g} s for {baking:g} s"
            )
        return self


def parse_plan(text: str, source: str) -> RolloutPlan:
    """Reads and checks a plan in YAML or JSON.

    Raises:
        ConfigInvalid: with one line per fault: path, what is wrong, what was given.
    """
    values, faults = read(text, source)
    plan = RolloutPlan()
    try:
        plan = RolloutPlan.model_validate({} if values is None else values)
    except ValidationError as error:
        faults += [f"{place_text(fault['loc'])}: {fault_text(fault)}" for fault in error.errors()]
    if faults:
        raise ConfigInvalid("\n".join(f"{source}: {fault}" for fault in faults))
    return plan

"""What an experiment is: which variants of a route are compared, by what, and when that ends.

Knows names and numbers. Knows nothing of which routes and metrics there are. See
docs/experiments.md.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError, ValidationInfo, field_validator

from gateway.config.faults import fault_text, place_text
from gateway.config.routes import MAX_VARIANTS, MAX_WEIGHT, VariantName
from gateway.config.words import MetricName, Seconds, Section
from gateway.errors import ConfigInvalid
from gateway.yaml_text import read

Figure = Literal["outcome", "accuracy", "error_rate", "squared_error", "absolute_error"]
Weight = Annotated[float, Field(gt=0, le=MAX_WEIGHT)]

LOWER_IS_BETTER: Final = frozenset({"error_rate", "squared_error", "absolute_error"})
MAX_GUARDRAILS: Final = 8
MAX_DURATION_S: Final = 366 * 86_400.0


class Measure(Section):
    """What is compared: a figure of outcomes, or a business metric, of each row."""

    figure: Figure | None = None
    metric: MetricName | None = Field(None, validate_default=True)
    better: Literal["higher", "lower"] | None = Field(
        None, description="none: lower of errors, higher of all else"
    )
    absent: Literal["unknown", "zero"] = Field(
        "unknown", description="what a row without a number is: left out, or a 0 after `wait_s`"
    )
    wait_s: float = Field(
        0.0, ge=0, le=MAX_DURATION_S, description="a row counts once it was answered so long ago"
    )

    @field_validator("metric")
    @classmethod
    def _one_of_the_two(cls, metric: str | None, info: ValidationInfo) -> str | None:
        if "figure" in info.data and (metric is None) == (info.data["figure"] is None):
            given = "neither" if metric is None else "both"
            raise ValueError(f"expected a figure or a metric, got {given}")
        return metric

    @property
    def name(self) -> str:
        """Of the figure or metric."""
        return self.figure or self.metric or ""

    @property
    def sign(self) -> float:
        """1 where higher is better, else -1."""
        lower = self.name in LOWER_IS_BETTER and self.metric is None
        return -1.0 if (self.better or ("lower" if lower else "higher")) == "lower" else 1.0


class Guardrail(Measure):
    """What must not become worse, whatever else becomes better."""

    margin: float = Field(0.0, ge=0, description="harm that is no more than this is none")
    on_harm: Literal["stop", "tell"] = "stop"


class AbTest(Section):
    """Variants with fixed shares, until one is shown to be better."""

    kind: Literal["ab"] = "ab"
    arms: dict[VariantName, Weight] = Field(
        default_factory=dict,
        max_length=MAX_VARIANTS,
        description="variants of the route and their weights; none: all of them, alike",
    )
    control: VariantName | None = Field(None, description="none: the route's fallback")
    measure: Measure
    guardrails: list[Guardrail] = Field(default_factory=list, max_length=MAX_GUARDRAILS)
    alpha: float = Field(
        0.05, ge=0.0001, le=0.2, description="how often a difference may be shown that is none"
    )
    min_effect: float = Field(
        0.0, ge=0, description="a smaller gain is of no use: shown to be less, it is futile"
    )
    expected_rows: int = Field(
        10_000, ge=100, description="of all arms, about which intervals are narrowest"
    )
    max_duration_s: float | None = Field(None, gt=0, le=MAX_DURATION_S)
    at_end: Literal["restore", "winner"] = Field(
        "restore", description="what becomes of the route: as before, or the winner has all"
    )

    @field_validator("arms")
    @classmethod
    def _two_at_least(cls, arms: dict[str, float]) -> dict[str, float]:
        if len(arms) == 1:
            raise ValueError("expected two arms or more, got one")
        return arms


class Bandit(Section):
    """Variants whose shares follow what they are found to be worth."""

    kind: Literal["bandit"]
    arms: list[VariantName] = Field(
        default_factory=list, max_length=MAX_VARIANTS, description="none: all of the route"
    )
    measure: Measure
    policy: Literal["thompson", "epsilon_greedy", "ucb"] = "thompson"
    rewards: Literal["bernoulli", "gaussian"] = Field(
        "bernoulli", description="0 or 1 each, or any numbers"
    )
    half_life_s: Seconds | None = Field(
        None, description="a reward counts half as much after so long; none: always the same"
    )
    floor: float = Field(0.05, gt=0, le=0.5, description="share that no arm falls below")
    epsilon: float = Field(0.1, ge=0, le=1, description="of epsilon-greedy: share of chance")
    every_s: float = Field(10.0, ge=1, le=86_400, description="how often shares are set")
    max_duration_s: float | None = Field(None, gt=0, le=MAX_DURATION_S)

    @field_validator("arms")
    @classmethod
    def _each_once(cls, arms: list[str]) -> list[str]:
        if len(set(arms)) < len(arms) or len(arms) == 1:
            raise ValueError("expected two arms or more, each once")
        return arms


Experiment = Annotated[AbTest | Bandit, Field(discriminator="kind")]
EXPERIMENT: Final[TypeAdapter[AbTest | Bandit]] = TypeAdapter(Experiment)


def parse_experiment(text: str, source: str) -> AbTest | Bandit:
    """Reads and checks an experiment in YAML or JSON.

    Raises:
        ConfigInvalid: with one line per fault: path, what is wrong, what was given.
    """
    values, faults = read(text, source)
    try:
        found = EXPERIMENT.validate_python({} if values is None else values)
    except ValidationError as error:
        faults += [f"{place_text(fault['loc'])}: {fault_text(fault)}" for fault in error.errors()]
    if faults:
        raise ConfigInvalid("\n".join(f"{source}: {fault}" for fault in faults))
    return found

"""What is told of a rollout, in sentences for people.

Knows plans and how far one has come. Knows nothing of what follows.
"""

from __future__ import annotations

from gateway.config.rollout import RolloutPlan, Step
from gateway.rollouts.judgements import Judgement
from gateway.rollouts.stand import Stand


def because(what: str, why: str) -> str:
    """What was done, and why where somebody said it."""
    return f"{what}: {why}" if why else what


def said(one: Judgement) -> str:
    """What a guard says, with its name where that is not its first word."""
    return one.says if one.says.startswith(one.guard) else f"{one.guard}: {one.says}"


def gets(step: Step) -> str:
    """What a candidate has in a step."""
    if step.percent is None:
        return f"the candidate runs beside {step.shadow_percent:g} % of requests"
    return f"the candidate gets {step.percent:g} % of the baseline's requests"


def stood(plan: RolloutPlan, stand: Stand) -> str:
    """How long a step lasted and what it saw."""
    place = f"step {stand.step + 1} of {len(plan.steps)}"
    return f"{place} stood {span(stand.baked_s)} and {stand.rows:,} rows"


def span(seconds: float) -> str:
    """A time as people say it: 90 s, 5 min, 24 h."""
    for unit, length_s in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.3g} {unit}"
    return f"{seconds:.3g} s"

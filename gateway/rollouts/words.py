"""What is told of a rollout, in sentences for people.

Knows plans and how far one has come. Knows nothing of what follows.
"""

from __future__ import annotations

from gateway.config.rollout import RolloutPlan, Step
from gateway.rollouts.judgements import Judgement, Verdict
from gateway.rollouts.stand import Stand, State


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


def awaits(plan: RolloutPlan, stand: Stand) -> str:
    """What has to come before it goes on; empty where nothing follows."""
    if stand.ended or stand.taken_back:
        return ""
    match stand.state:
        case State.PAUSED:
            return "somebody who resumes it"
        case State.PENDING:
            return "the candidate to serve"
        case State.PROMOTED:
            return f"the end of the watch in {span(max(plan.watch_s - stand.watched_s, 0.0))}"
    if stand.waits:
        return "approval, by somebody who did not start it"
    return ", ".join(_left(plan, stand)) or "the next look"


def _left(plan: RolloutPlan, stand: Stand) -> list[str]:
    """What the step under way lacks."""
    step, left = plan.steps[stand.step], []
    if stand.baked_s < step.bake_s:
        left.append(f"{span(step.bake_s - stand.baked_s)} more")
    if stand.rows < step.min_rows:
        left.append(f"{step.min_rows - stand.rows:,} more rows of the candidate's")
    if stand.failing:
        left.append(f"{', '.join(stand.failing)} to fail no more")
    if step.require == "pass":
        said = stand.verdicts
        undecided = [one.called for one in plan.guards if said.get(one.called) is not Verdict.PASS]
        left += [f"{', '.join(undecided)} to pass"] if undecided else []
    return left


def span(seconds: float) -> str:
    """A time as people say it: 90 s, 5 min, 24 h."""
    for unit, length_s in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.3g} {unit}"
    return f"{seconds:.3g} s"

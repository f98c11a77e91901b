"""How a rollout wants its model's requests divided, by how far it has come.

Knows routes. Knows nothing of what is in force or of how it gets there.

The candidate's share is a part of its baseline's, and other variants keep theirs. The baseline
stands for the route throughout: a stop, or a candidate that does not serve, leaves all to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway import config
from gateway.config.rollout import RolloutPlan
from gateway.rollouts.stand import Stand, State

CANDIDATE = "candidate"


@dataclass(frozen=True, slots=True)
class Given:
    """What a rollout is of; it does not change.

    Attributes:
        model: the route.
        candidate: the version that is to take over.
        baseline: the version that has the traffic.
        variant: the baseline's name in the route.
        alias: that names the baseline and moves with a promotion; empty: a route is set then.
        basis: the route as it was before.
        plan: steps and guards.
        starter: who started it.
        why: in their words.
        at: seconds since 1970 when it was started.
        release: number of the baseline's monitoring release then; None: it had none.
        warnings: what may keep guards from ever coming to a verdict.
    """

    model: str
    candidate: int
    baseline: int
    variant: str
    alias: str
    basis: config.Route
    plan: RolloutPlan
    starter: str
    why: str = ""
    at: float = 0.0
    release: int | None = None
    # Aliases of other variants may name the candidate already: by name, their versions then.
    others: Mapping[str, int | None] = field(default_factory=dict)
    warnings: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values; `read_given` is the inverse."""
        return {
            "model": self.model,
            "candidate": self.candidate,
            "baseline": self.baseline,
            "variant": self.variant,
            "alias": self.alias,
            "basis": self.basis.model_dump(mode="json", exclude_none=True),
            "plan": self.plan.model_dump(mode="json"),
            "starter": self.starter,
            "why": self.why,
            "at": self.at,
            "release": self.release,
            "others": dict(self.others),
            "warnings": list(self.warnings),
        }


def read_given(values: Mapping[str, Any]) -> Given:
    """What `Given.as_json` wrote."""
    return Given(
        **{
            **values,
            "basis": config.Route.model_validate(values["basis"]),
            "plan": RolloutPlan.model_validate(values["plan"]),
            "warnings": tuple(values.get("warnings", ())),
        }
    )


def percent(given: Given, stand: Stand) -> float:
    """How much of the baseline's requests the candidate is to have."""
    if stand.doing is State.PROMOTED:
        return 100.0
    if stand.doing is not State.STEPPING:
        return 0.0
    return given.plan.steps[stand.step].percent or 0.0


def route(given: Given, stand: Stand) -> config.Route:
    """How requests are to be divided now."""
    share = percent(given, stand)
    name = _candidate_name(given)
    variants = []
    for one in _others_kept(given):
        if one.name == given.variant:
            stays, moves = one.weight * (100.0 - share) / 100.0, one.weight * share / 100.0
            variants += [
                config.Variant(name=one.name, version=given.baseline, weight=stays),
                config.Variant(name=name, version=given.candidate, weight=moves),
            ]
        else:
            variants.append(one)
    return given.basis.model_copy(
        update={
            "variants": variants,
            "fallback": given.variant,
            "shadows": _shadows(given, stand),
        }
    )


def _shadows(given: Given, stand: Stand) -> list[config.Shadow]:
    """Those of the route; its candidate is one in shadow steps alone."""
    kept = [one for one in given.basis.shadows if one.version != given.candidate]
    share = given.plan.steps[stand.step].shadow_percent
    if stand.doing is not State.SHADOWING or share is None:
        return kept
    return [*kept, config.Shadow(version=given.candidate, share=share / 100.0)]


def afterwards(given: Given) -> config.Route | None:
    """The route to set once the candidate is promoted for good; None: its alias says it."""
    if given.alias:
        return None
    variants = [
        one.model_copy(update={"version": given.candidate}) if one.name == given.variant else one
        for one in _others_kept(given)
    ]
    shadows = [one for one in given.basis.shadows if one.version != given.candidate]
    return given.basis.model_copy(
        update={"variants": variants, "fallback": given.variant, "shadows": shadows}
    )


def _others_kept(given: Given) -> list[config.Variant]:
    """The variants of the route, but for one that is the candidate already."""
    return [
        one
        for one in given.basis.variants
        if one.name == given.variant or _version(given, one) != given.candidate
    ]


def _version(given: Given, one: config.Variant) -> int | None:
    return given.others.get(one.name) if one.version is None else one.version


def _candidate_name(given: Given) -> str:
    """What the route calls it already, or a name that is not taken."""
    for one in given.basis.variants:
        if one.name != given.variant and _version(given, one) == given.candidate:
            return one.name
    taken = {one.name for one in given.basis.variants}
    return CANDIDATE if CANDIDATE not in taken else f"{CANDIDATE}-{given.candidate}"

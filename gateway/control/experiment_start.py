"""Looks at an experiment before it begins: whether it can be, and can ever show anything.

Knows routes, models' ledgers and metrics. Knows nothing of what is done about it.

What could never come is refused, by what is wrong and what would be right; what may yet come is a
warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gateway import config
from gateway.config import Config
from gateway.config.experiments import AbTest, Bandit, Measure
from gateway.control.experiment_store import Given
from gateway.control.splits import Aliases, Wanted, fault, targets
from gateway.control.unseen import unseen
from gateway.errors import Conflict, InvalidParameter
from gateway.experiments.assessment import measures
from gateway.experiments.values import KINDS
from gateway.names import MAX_METRICS
from gateway.plan import Plan


class Checked(NamedTuple):
    """An experiment that can be.

    Attributes:
        route: that it changes.
        versions: by arm.
        control: the arm that others are compared with.
        shares: by arm, to begin with.
        warnings: what may keep it from ever showing anything.
    """

    route: config.Route
    versions: Mapping[str, int]
    control: str
    shares: Mapping[str, float]
    warnings: tuple[str, ...]


def check(
    model: str,
    spec: AbTest | Bandit,
    wanted: Wanted,
    aliases: Aliases,
    document: Config,
    known: Mapping[str, int],
) -> Checked:
    """What an experiment comes to on a route.

    Args:
        model: of the route.
        spec: what was asked for.
        wanted: of the model's requests.
        aliases: that it has.
        document: in force.
        known: metrics that ever had a number.

    Raises:
        Conflict: the route is none for it.
        InvalidParameter: it asks for what there is not.
    """
    route = _route(model, spec, wanted)
    names = [one.name for one in route.variants]
    weights = dict(spec.arms) if isinstance(spec, AbTest) else dict.fromkeys(spec.arms, 1.0)
    weights = weights or dict.fromkeys(names, 1.0)
    if len(weights) < 2:
        raise Conflict(f"route '{model}' has one variant alone: nothing can be compared")
    for name in weights:
        if name not in names:
            told = ", ".join(names)
            raise InvalidParameter(f"arms: route '{model}' has no variant '{name}'; it has: {told}")
    versions = _versions(model, route, aliases, list(weights))
    control = _control(spec, route, weights)
    if isinstance(spec, Bandit) and spec.floor * len(weights) >= 1.0:
        raise InvalidParameter(
            f"floor: expected less than 1/{len(weights)} of {len(weights)} arms, got {spec.floor}"
        )
    warnings = _check_measures(model, spec, document, known)
    total = sum(weights.values())
    shares = {name: weight / total for name, weight in weights.items()}
    return Checked(route, versions, control, shares, tuple(warnings))


def check_figures(model: str, spec: AbTest | Bandit, kind: str) -> None:
    """Looks whether the model has the figures that are to be added up.

    Args:
        model: its name.
        spec: what was asked for.
        kind: of its scores; empty: not known, and nothing is refused.

    Raises:
        InvalidParameter: scores of its kind have no such figure.
    """
    for measure in measured(spec):
        if kind and measure.figure is not None and kind not in KINDS[measure.figure]:
            some = ", ".join(figure for figure, kinds in KINDS.items() if kind in kinds)
            raise InvalidParameter(
                f"measure: '{measure.figure}' is no figure of {kind} scores, which '{model}' has;"
                f" these are: {some}"
            )


def measured(spec: AbTest | Bandit) -> list[Measure]:
    """What is to be added up."""
    return measures(spec) if isinstance(spec, AbTest) else [spec.measure]


def led(
    route: config.Route, versions: Mapping[str, int], shares: Mapping[str, float]
) -> config.Route:
    """The route while an experiment leads it: arms by their shares, and nobody else by chance.

    Arms stay at the versions that they began with, wherever their aliases go meanwhile.

    Args:
        route: as it was.
        versions: of each arm.
        shares: of each arm.
    """
    variants = [
        one.model_copy(
            update={"version": versions[one.name], "alias": None, "weight": shares[one.name]}
            if one.name in versions
            else {"weight": 0.0}
        )
        for one in route.variants
    ]
    return route.model_copy(update={"variants": variants, "fallback": route.main.name})


def divides(route: config.Route | None, shares: Mapping[str, float]) -> bool:
    """Whether a route gives its arms these shares."""
    variants = () if route is None else route.variants
    return {one.name: one.weight for one in variants if one.name in shares} == dict(shares)


def given_to(route: config.Route, winner: str, version: int, aliases: Aliases) -> config.Route:
    """The route with one variant that has all.

    Args:
        route: as it was.
        winner: the variant.
        version: that it was shown to be best with. It stays at that where its alias names another
            one by now, which was never compared.
        aliases: that the model has.
    """
    moved = targets(route, aliases)[winner] not in (version, None)
    stays = {"version": version, "alias": None} if moved else {}
    variants = [
        one.model_copy(update={"weight": 1.0, **stays} if one.name == winner else {"weight": 0.0})
        for one in route.variants
    ]
    return route.model_copy(update={"variants": variants, "fallback": winner})


def base_of(beneath: config.Route | None, given: Given) -> config.Route:
    """The route that an experiment changes; where that went with the document, its arms alone."""
    names = () if beneath is None else {variant.name for variant in beneath.variants}
    if beneath is not None and all(arm in names for arm in given.versions):
        return beneath
    variants = [
        config.Variant(name=name, version=version) for name, version in given.versions.items()
    ]
    return config.Route(variants=variants, fallback=given.control)


def not_serving(model: str, wanted: Wanted, aliases: Aliases, plan: Plan) -> str:
    """Why a route is not as it is wanted; empty where it is."""
    if wanted.route is None:
        return ""
    serving = next((route for route in plan.routes if route.name == model), None)
    reasons = {one.version: one.reason for one in plan.absent if one.name == model}
    deployments = {} if serving is None else serving.deployments
    return fault(wanted.route, aliases, deployments, reasons)


def _route(model: str, spec: AbTest | Bandit, wanted: Wanted) -> config.Route:
    if wanted.route is None:
        raise Conflict(f"model '{model}' has no route: set one with two variants or more")
    if wanted.leader:
        raise Conflict(f"route '{model}' is led by {wanted.leader}")
    if wanted.stop is not None:
        raise Conflict(f"route '{model}' is stopped: resume it first")
    if isinstance(spec, AbTest) and wanted.route.sticky is None:
        raise Conflict(
            f"route '{model}' is not sticky: one who asks twice would get both arms; set `sticky`"
        )
    return wanted.route


def _versions(model: str, route: config.Route, aliases: Aliases, arms: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, version in targets(route, aliases).items():
        if name not in arms:
            continue
        if version is None:
            raise Conflict(f"route '{model}': the alias of variant '{name}' names no version")
        if version in found.values():
            raise Conflict(
                f"route '{model}': two arms are version {version}: rows could not be told apart"
            )
        found[name] = version
    return {name: found[name] for name in arms}


def _control(spec: AbTest | Bandit, route: config.Route, weights: Mapping[str, float]) -> str:
    if isinstance(spec, AbTest) and spec.control is not None:
        if spec.control not in weights:
            told = ", ".join(weights)
            raise InvalidParameter(f"control: expected one of {told}, got '{spec.control}'")
        return spec.control
    return route.main.name if route.main.name in weights else next(iter(weights))


def _check_measures(
    model: str, spec: AbTest | Bandit, document: Config, known: Mapping[str, int]
) -> list[str]:
    if not document.has_ledger(model):
        raise InvalidParameter(
            f"model '{model}' has no ledger, and no outcome could be joined: set ledger.enabled or"
            f" models.{model}.ledger"
        )
    warnings = []
    for measure in measured(spec):
        warnings += _check_measure(model, measure, document, known)
    return warnings


def _check_measure(
    model: str, measure: Measure, document: Config, known: Mapping[str, int]
) -> list[str]:
    if measure.figure is not None:
        return []
    listed = document.metrics_of(model)
    if listed is not None and measure.name not in listed:
        raise InvalidParameter(
            f"measure: outcomes of '{model}' have no '{measure.name}': set ledger.metrics"
        )
    if measure.name in known:
        return []
    told = ", ".join(sorted(known)) or "none"
    if len(known) >= MAX_METRICS:
        raise InvalidParameter(
            f"measure: there is no metric '{measure.name}', and no room for another; known: {told}"
        )
    return [unseen(measure.name, known)]

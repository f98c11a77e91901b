"""Finds out what a rollout would be of, or why it cannot be.

Knows routes, aliases and what serves. Knows nothing of steps and guards, or of what is kept.
"""

from __future__ import annotations

from gateway.config.rollout import RolloutPlan
from gateway.control.entries import CHAMPION
from gateway.control.routes import Routes
from gateway.control.splits import Aliases, basis, targets
from gateway.errors import Conflict, ModelNotFound
from gateway.plan import Plan
from gateway.rollouts.shares import Given


def find_given(
    routes: Routes,
    plan: Plan,
    aliases: Aliases,
    model: str,
    version: int,
    wanted: RolloutPlan,
    starter: str,
    why: str,
) -> Given:
    """What a rollout of a version would be of.

    Args:
        routes: as they are wanted.
        plan: what serves.
        aliases: that the model has.
        model: its route.
        version: the candidate; some source has it.
        wanted: steps and guards.
        starter: who asks.
        why: in their words.

    Raises:
        ModelNotFound: nothing of it serves.
        Conflict: the route is led or stopped, its baseline has no traffic or does not serve, or is
            the candidate.
    """
    if leader := routes.leader(model):
        raise Conflict(f"route '{model}' is led by {leader}: it has to end first")
    found = routes.beneath(model)
    if found.stop is not None:
        raise Conflict(f"route '{model}' is stopped by {found.stop.who}: resume it first")
    serving = next((one for one in plan.routes if one.name == model), None)
    if serving is None:
        raise ModelNotFound(f"route '{model}': no version of it serves, so there is no baseline")
    route = basis(found, serving.version)
    main = route.main
    versions = targets(route, aliases)
    baseline = versions[main.name]
    if baseline is None or baseline not in serving.deployments:
        named = f"alias '{main.alias}'" if baseline is None else f"version {baseline}"
        raise Conflict(f"route '{model}': its baseline, {named}, does not serve")
    if baseline == version:
        raise Conflict(f"route '{model}': version {version} is its baseline already")
    if not main.weight:
        raise Conflict(f"route '{model}': its baseline, variant '{main.name}', has no traffic")
    alias = main.alias or ""
    if found.route is None and aliases.get(CHAMPION) == baseline:
        alias = CHAMPION
    others = {name: versions[name] for name in versions if name != main.name}
    return Given(
        model, version, baseline, main.name, alias, route, wanted, starter, why, others=others
    )

"""What serves after a change and did not before, and the other way round, for the audit.

Knows plans. Knows nothing of how they come about.
"""

from __future__ import annotations

from typing import Any

from gateway.plan import Plan, Route

# Models that one entry of the audit names; a whole repository would be longer than anybody reads.
MAX_LISTED = 100

Side = dict[str, Any]


def difference(old: Plan, new: Plan) -> tuple[Side, Side] | None:
    """The models whose routes differ, as they were and as they are; None where all are the same."""
    before, after = _by_name(old), _by_name(new)
    names = sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )
    if not names:
        return None
    sides = [
        {
            "plan": plan.number,
            "models": {n: _serving(routes[n]) for n in names[:MAX_LISTED] if n in routes},
        }
        for plan, routes in ((old, before), (new, after))
    ]
    if len(names) > MAX_LISTED:
        sides[1]["not_listed"] = len(names) - MAX_LISTED
    return sides[0], sides[1]


def _by_name(plan: Plan) -> dict[str, Route]:
    return {route.name: route for route in plan.routes}


def _serving(route: Route) -> dict[str, Any]:
    """The version that answers by default, the deployment behind each, and who shares requests."""
    found: Side = {
        "default": route.version,
        "versions": {str(version): held for version, held in route.deployments.items()},
    }
    if route.split is not None:
        found["variants"] = {one.name: [one.version, one.weight] for one in route.split.variants}
    return found

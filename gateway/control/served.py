"""What serves after a change and did not before, and the other way round, for the audit.

Knows plans. Knows nothing of how they come about.
"""

from __future__ import annotations

from typing import Any

from gateway.plan import Plan

# Models that one entry of the audit names; a whole repository would be longer than anybody reads.
MAX_LISTED = 100

Side = dict[str, Any]


def difference(old: Plan, new: Plan) -> tuple[Side, Side] | None:
    """The models whose routes differ, as they were and as they are; None where all are the same."""
    before, after = _serving(old), _serving(new)
    names = sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )
    if not names:
        return None
    sides = [
        {
            "plan": plan.number,
            "models": {name: models[name] for name in names[:MAX_LISTED] if name in models},
        }
        for plan, models in ((old, before), (new, after))
    ]
    if len(names) > MAX_LISTED:
        sides[1]["not_listed"] = len(names) - MAX_LISTED
    return sides[0], sides[1]


def _serving(plan: Plan) -> dict[str, Any]:
    """By model: the version that answers by default, and the deployment behind each version."""
    return {
        route.name: {
            "default": route.version,
            "versions": {str(version): held for version, held in route.deployments.items()},
        }
        for route in plan.routes
    }

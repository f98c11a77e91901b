"""What control shows of itself: processes, workers, and every model version with its state.

Knows the plan, the links and the arena's rows. Changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from gateway.control.freezing import Progress
from gateway.control.links import Links
from gateway.monitor.arena import CONNECTIONS, EPOCH, PID, RESTARTS, STATE, STATES, Arena
from gateway.plan import Plan
from gateway.profiles.values import Profile


def status(arena: Arena, links: Links, plan: Plan, ready: bool, draining: bool) -> dict[str, Any]:
    """Process ids, states and the plan each worker follows."""
    return {
        "supervisor": os.getppid(),
        "control": os.getpid(),
        "ready": ready and not draining,
        "draining": draining,
        "plan": plan.number,
        "workers": [_worker(arena, links, slot) for slot in range(arena.workers)],
    }


def _worker(arena: Arena, links: Links, slot: int) -> dict[str, Any]:
    row = arena.row(slot)
    return {
        "slot": slot,
        "pid": row[PID],
        "epoch": row[EPOCH],
        "state": STATES[row[STATE]],
        "restarts": row[RESTARTS],
        "connections": row[CONNECTIONS],
        "plan": links.acked[slot],
        "refused": [
            {"deployment": held, "reason": one.reason, "tries": one.tries}
            for held, one in sorted(links.refused[slot].items())
        ],
    }


def models(
    plan: Plan, references: Mapping[tuple[str, int], dict[str, Any]] = MappingProxyType({})
) -> list[dict[str, Any]]:
    """Every version known, with its state: first those that serve.

    Args:
        plan: the newest.
        references: what each version is held against, by name and version.
    """
    serving = {(route.name, v) for route in plan.routes for v in route.deployments}
    defaults = {(route.name, route.version) for route in plan.routes}
    reasons = {(a.name, a.version): a.reason for a in plan.absent}
    lines: list[dict[str, Any]] = [
        {
            "name": n,
            "version": v,
            "state": "READY",
            "default": (n, v) in defaults,
            "reason": reasons.get((n, v), ""),
            "reference": references.get((n, v)),
        }
        for n, v in sorted(serving)
    ]
    lines += [asdict(a) for a in plan.absent if (a.name, a.version) not in serving]
    return lines


def reference(digest: str, profile: Profile) -> dict[str, Any]:
    """What a version's traffic is held against."""
    return {
        "digest": digest,
        "rows": profile.rows,
        "self_referenced": profile.self_referenced,
        "wanted_rows": profile.rows,
    }


def waiting(progress: Progress) -> dict[str, Any]:
    """What it will be held against, once there are enough rows of its own."""
    return {
        "digest": None,
        "rows": progress.rows,
        "self_referenced": True,
        "wanted_rows": progress.wanted,
    }

"""Has versions that share a route counted by one profile, beside their own, so that they compare.

Knows plans, profiles and blocks. Knows nothing of how values are counted, or of what is compared.

It is the profile of the oldest of them that has one: whatever moves weights, stops the route or
promotes a candidate leaves it as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from gateway.control.blocks import Blocks
from gateway.control.references import Reference
from gateway.errors import GatewayError
from gateway.monitor import layout
from gateway.plan import Plan, Route
from gateway.profiles.values import Profile
from gateway.taken import Watched

log = logging.getLogger("penstock.control")

# More than a server holds at once.
_MAX_KNOWN: Final = 1000


class CommonProfiles:
    """Those of one server. Lives in control."""

    def __init__(self, blocks: Blocks, watch: Callable[[str, Profile], None]) -> None:
        """Takes its collaborators.

        Args:
            blocks: of the arena.
            watch: told of every block that is counted into from now on.
        """
        self._blocks = blocks
        self._watch = watch
        self._known: dict[str, Reference] = {}
        self._full: set[str] = set()  # what found no room, and was told of

    def know(self, reference: Reference) -> None:
        """A version is about to be counted by this profile."""
        self._known.pop(reference.digest, None)
        self._known[reference.digest] = reference
        if len(self._known) > _MAX_KNOWN:
            del self._known[next(iter(self._known))]

    def place(self, plan: Plan) -> Plan:
        """The plan, with what its deployments count into beside what it says already."""
        watched = dict(plan.watched)
        for route in plan.routes:
            for held_id, version, reference in self._shared(plan, route):
                key = layout.sketch_key(route.name, version, reference.digest, part=layout.COMMON)
                try:
                    block = self._blocks.allocate_sketch(key, reference.words)
                except GatewayError as error:
                    if key not in self._full:  # plans follow one another every few seconds
                        log.error("model '%s' version %d: %s", route.name, version, error)
                    self._full.add(key)
                    continue
                self._full.discard(key)
                self._watch(key, reference.profile)
                more = Watched(reference.digest, str(reference.path), block, common=True)
                watched[held_id] = (*watched.get(held_id, ()), more)
        return plan if watched == plan.watched else replace(plan, watched=watched)

    def _shared(self, plan: Plan, route: Route) -> Iterator[tuple[str, int, Reference]]:
        """Whom the oldest one's profile is another's: deployment, version and that profile."""
        if route.split is None or len(route.split.variants) < 2:
            return
        own = _own(plan, route)
        common = next((digest for digest in own.values() if digest), "")
        reference = self._known.get(common)
        if reference is None:
            return
        for version, digest in own.items():
            if digest != common:
                yield route.deployments[version], version, reference


def _own(plan: Plan, route: Route) -> Mapping[int, str]:
    """The digest of the profile of each version that shares a route, the oldest first."""
    variants = () if route.split is None else route.split.variants
    return {
        version: next(
            (
                one.digest
                for one in plan.watched.get(route.deployments[version], ())
                if isinstance(one, Watched)
            ),
            "",
        )
        for version in sorted({one.version for one in variants})
        if version in route.deployments
    }

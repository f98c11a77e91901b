"""The blocks that the values of each group's rows are counted into, beside those of all rows.

Knows slicings and blocks. Knows nothing of how rows are told apart, or of what is counted.

They are bounded: each group is another set of counts, of histories and of evaluations. What finds
no room has no drift of its own, and the log says so; its performance it has all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from gateway.config.slices import Slicing as Configured
from gateway.control.blocks import Blocks
from gateway.control.references import Reference
from gateway.control.slices import part_of, slicings
from gateway.errors import GatewayError
from gateway.monitor import layout
from gateway.profiles.values import Profile
from gateway.taken import Part, Slicing

log = logging.getLogger("penstock.control")

MAX_PARTS: Final = 16
"""Groups of one version whose values are counted; whole slicings, in their order."""


class Parts:
    """Those of one server. Lives in control."""

    def __init__(self, blocks: Blocks, watch: Callable[[str, Profile], None]) -> None:
        """Takes its collaborators.

        Args:
            blocks: of the arena.
            watch: told of every block that is counted into from now on.
        """
        self._blocks = blocks
        self._watch = watch
        self._told: set[tuple[str, int, tuple[str, ...]]] = set()

    def take(
        self, name: str, version: int, configured: Mapping[str, Configured], reference: Reference
    ) -> tuple[Part, ...]:
        """A block for each group of a version that has room."""
        there = list(_within(configured))
        left = [one for one in configured if configured[one].drift and one not in there]
        if left:
            self._tell(name, version, tuple(left))
        parts: list[Part] = []
        for grouping, slicing in enumerate(slicings(configured)):
            if slicing.name in there:
                try:
                    parts += self._of(name, version, grouping, slicing, reference)
                except GatewayError as error:
                    log.error("models.%s.slices.%s has no drift: %s", name, slicing.name, error)
        return tuple(parts)

    def _of(
        self, name: str, version: int, grouping: int, slicing: Slicing, reference: Reference
    ) -> Iterator[Part]:
        for group in range(1, len(slicing.names) + 1):
            part = part_of(slicing, group)
            key = layout.sketch_key(name, version, reference.digest, part=part)
            yield Part(grouping, group, self._blocks.allocate_sketch(key, reference.words))
            self._watch(key, reference.profile)

    def _tell(self, name: str, version: int, left: tuple[str, ...]) -> None:
        if (name, version, left) not in self._told:
            self._told.add((name, version, left))
            log.warning(
                "model '%s' version %d: slices %s have no drift: values of %d groups are counted"
                " at most",
                *(name, version, ", ".join(left), MAX_PARTS),
            )


def _within(configured: Mapping[str, Configured]) -> Iterator[str]:
    """The slicings whose groups find room, in their order."""
    room = MAX_PARTS
    for name, one in configured.items():
        if one.drift and len(one.names) <= room:
            room -= len(one.names)
            yield name

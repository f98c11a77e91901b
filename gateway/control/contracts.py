"""Contracts as control has them: out of the newest release, into plans, and what was counted.

Knows releases, blocks of breaches and policies. Knows nothing of how a value is held against a
contract, or of HTTP.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gateway.config import Config
from gateway.contracts import document as contract_document
from gateway.contracts.values import RULES, names_of
from gateway.control.blocks import Blocks
from gateway.control.references import Agreement, Reference, References
from gateway.control.release import Offer, Release, thresholds_of
from gateway.control.releases import Releases
from gateway.errors import ContractInvalid, GatewayError, StoreFailed
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.contracts import block_words
from gateway.monitor.directory import Block, Words
from gateway.plan import Plan
from gateway.taken import Agreed, Watched

log = logging.getLogger("penstock.control")

# More than a server holds at once are read anew at each look.
MAX_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Breaches:
    """What the inputs of a version broke of its contract, in some time.

    Attributes:
        model, version: identity.
        policy: what becomes of a breach.
        digest: of the contract.
        rows: that were held against it.
        skipped_rows: that could not be.
        names: of the columns.
        counts: (columns, RULES) breaches.
    """

    model: str
    version: int
    policy: str
    digest: str
    rows: int
    skipped_rows: int
    names: list[str]
    counts: Words

    def lines(self) -> Iterator[tuple[str, str, int]]:
        """Feature, rule and count of what was broken."""
        for column, rule in np.argwhere(self.counts).tolist():
            yield self.names[column], RULES[rule], int(self.counts[column, rule])

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "digest": self.digest,
            "policy": self.policy,
            "rows": self.rows,
            "skipped_rows": self.skipped_rows,
            "violations": [
                {"feature": feature, "rule": rule, "count": count}
                for feature, rule, count in self.lines()
            ],
        }


class Contracts:
    """Those of one server. Lives in control; `released` is called on a thread, once at a time."""

    def __init__(self, arena: Arena, blocks: Blocks, releases: Releases) -> None:
        """Takes its collaborators."""
        self._arena = arena
        self._blocks = blocks
        self._releases = releases
        self._references = References()
        # Files are named by what they hold, and so are read once.
        self._load = lru_cache(MAX_REMEMBERED)(contract_document.load)

    def released(
        self, model: str, version: int, found: Reference, config: Config
    ) -> tuple[Reference, Agreement | None]:
        """What a version is held against, given the reference that was found for it. Blocks.

        Where a new release cannot be kept the newest one goes on; where there is none that can be
        read, values are counted by what was found and nothing is held against a contract.
        """
        offer = Offer(found.profile, found.digest, thresholds_of(config.alerts, model))
        try:
            release = self._settled(model, version, offer)
            contract = self._load(self._releases.contract_file(release))
        except GatewayError as error:
            log.error("model '%s' version %d has no contract: %s", model, version, error)
            return found, None
        if release.profile != found.digest:
            found = self._references.read(self._releases.profile_file(release)) or found
        path, policy = self._releases.contract_file(release), config.contract_of(model)
        return found, Agreement(path, release.contract, contract, policy)

    def _settled(self, model: str, version: int, offer: Offer) -> Release:
        try:
            return self._releases.settle(model, version, offer)
        except StoreFailed as error:
            log.error("model '%s' version %d: no new monitoring release: %s", model, version, error)
            return self._releases.get(model, version)

    def take(self, model: str, version: int, agreement: Agreement | None) -> Agreed | None:
        """What goes into the plan, with a block for it; none where nothing is asked of any column.

        Nor where there is no room.
        """
        if agreement is None or not agreement.contract.tensors:
            return None
        names = names_of(agreement.contract)
        key = layout.contract_key(model, version, _digest(names))
        try:
            block = self._blocks.allocate_contract(key, block_words(names))
        except GatewayError as error:
            log.error("model '%s' version %d has no contract: %s", model, version, error)
            return None
        return Agreed(agreement.digest, str(agreement.path), agreement.policy, block)

    def breaches(
        self, plan: Plan, counted: Callable[[Block], Words] | None = None
    ) -> tuple[Breaches, ...]:
        """Of every version that a plan holds against a contract; those that can be read. Blocks.

        Args:
            plan: which.
            counted: a block's words; None: all that was counted since the server started.
        """
        counted = counted or self._summed
        blocks = {block.offset: block for block in self._arena.blocks(layout.CONTRACT)}
        found = []
        for held in plan.held:
            for taken in plan.watched.get(held.id, ()):
                agreed = taken.contract if isinstance(taken, Watched) else None
                if agreed is None or agreed.block not in blocks:
                    continue
                try:
                    names = names_of(self._load(Path(agreed.path)))
                except ContractInvalid:  # the home was lost: its workers have it in memory
                    continue
                words = counted(blocks[agreed.block])
                first = layout.CONTRACT_FIRST
                counts = words[first : first + len(names) * layout.CONTRACT_RULES]
                found.append(
                    Breaches(
                        held.name,
                        held.version,
                        agreed.policy,
                        agreed.digest,
                        int(words[layout.CONTRACT_ROWS]),
                        int(words[layout.SKETCH_SKIPPED]),
                        names,
                        counts.reshape(len(names), layout.CONTRACT_RULES),
                    )
                )
        return tuple({(one.model, one.version): one for one in found}.values())

    def of_version(
        self,
        plan: Plan,
        model: str,
        version: int,
        counted: Callable[[Block], Words] | None = None,
    ) -> Breaches | None:
        """Those of one version; None where nothing is held against a contract. Blocks."""
        held = tuple(one for one in plan.held if (one.name, one.version) == (model, version))
        found = self.breaches(replace(plan, held=held), counted)
        return found[0] if found else None

    def _summed(self, block: Block) -> Words:
        summed: Words = self._arena.slots(block).sum(axis=0)
        return summed


def _digest(names: list[str]) -> str:
    return hashlib.sha256("\0".join(names).encode()).hexdigest()[:16]

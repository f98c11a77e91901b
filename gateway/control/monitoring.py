"""What control makes of live values: histories, verdicts, references, alarms.

Knows which room does what with counts, and the one thread that histories belong to. Knows nothing
of plans beyond reading the newest, of HTTP, or of how anything is counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from gateway.alerts.notices import Notice
from gateway.config import Config
from gateway.control import (
    alert_operations,
    concept_operations,
    drift_operations,
    fairness_operations,
    llm_blocks,
    llm_operations,
    outcome_operations,
    release_operations,
    shadow_operations,
    views,
)
from gateway.control.alert_store import AlertStore
from gateway.control.alerting import Alerting
from gateway.control.blocks import Blocks
from gateway.control.capture import Capture
from gateway.control.common_profiles import CommonProfiles
from gateway.control.contract_history import ContractHistory
from gateway.control.contracts import Contracts
from gateway.control.deliveries import Deliveries
from gateway.control.desired import Candidate
from gateway.control.drift import Drift
from gateway.control.freezing import Freezing
from gateway.control.gauges import Gauges
from gateway.control.llm_troubles import SEVERITY as UPSTREAM_SEVERITY
from gateway.control.llm_troubles import LlmTroubles
from gateway.control.operations import Operation
from gateway.control.outcomes import Outcomes
from gateway.control.panes import Base, PaneStore
from gateway.control.parts import Parts
from gateway.control.references import kept, watched
from gateway.control.releases import Releases
from gateway.control.rollout_evidence import RolloutEvidence
from gateway.control.rollout_notices import SEVERITY, notice
from gateway.control.rollout_sources import Sources
from gateway.control.rollout_store import Rollout
from gateway.control.self_references import SelfReferences
from gateway.control.shadows import Shadows
from gateway.control.sketches import Series, Sketches
from gateway.control.slices import part_asked, slicings
from gateway.control.store import Store
from gateway.control.troubles import Troubles
from gateway.control.watched_series import part_of
from gateway.drift.panes import Pane, Vector
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.directory import Block
from gateway.monitor.upstreams import UpstreamCounts, read_standings, read_upstreams
from gateway.plan import Plan
from gateway.profiles.values import Calibration
from gateway.rollouts.stand import Event
from gateway.taken import Kept, Part, Sliced, Taken, Watched

_MINUTE_S: Final = 60
Job = tuple[str, Callable[[], Awaitable[None]]]


class Monitoring:
    """Lives on control's event loop.

    Attributes:
        gauges: figures for `/metrics`.
        alerting: alarms.
        deliveries: who is told of them.
        contracts: what inputs may hold, and what they broke.
        capture: inputs and outputs that are kept.
        outcomes: the ledger, and what comes of it.
        common: profiles that versions of one route are counted by for them to compare.
        shadows: what they say beside what was answered.
    """

    def __init__(
        self,
        arena: Arena,
        blocks: Blocks,
        store: Store,
        home: Path,
        own: SelfReferences,
        releases: Releases,
        config: Callable[[], Config],
        plan: Callable[[], Plan],
        troubles: Troubles,
        outcomes: Outcomes,
        capture: Capture,
        shadows: Shadows,
    ) -> None:
        """Makes the rooms.

        Args:
            arena: shared memory.
            blocks: of it, allocated here for what is counted.
            store: the home's database.
            home: the home.
            own: references that models make of their first rows.
            releases: what each version is watched by.
            config: what is in force.
            plan: the newest.
            troubles: told of what goes wrong again and again.
            outcomes: the ledger, and what comes of it.
            capture: inputs and outputs that are kept.
            shadows: what they say.
        """
        self._arena = arena
        self._blocks = blocks
        self._plan = plan
        self.outcomes = outcomes
        self._config = config
        self.capture = capture
        self.shadows = shadows
        self._releases = releases
        self._counting = ThreadPoolExecutor(1, "counting")
        self._panes = PaneStore(home)
        self._sketches = Sketches(arena, self._panes, time.monotonic, time.time)
        self._parts = Parts(blocks, self._sketches.watch)
        self.common = CommonProfiles(blocks, self._sketches.watch)
        self._freezing = Freezing(arena, own, plan, time.monotonic)
        self._drift = Drift(self._series, self._freezing.progress, past=self._panes)
        self._alarms = AlertStore(store)
        self.gauges = Gauges(self._drift, lambda: config().metrics.window_s, self._counting)
        self.deliveries = Deliveries(self._alarms, lambda: config().alerts.sinks, troubles)
        self.alerting = Alerting(
            self._drift,
            outcomes.standings,
            self._alarms,
            self.deliveries,
            lambda: config().alerts,
            lambda: self._sketches.now,
            troubles,
            self._counting,
            rules_of=releases.rules_of,
        )
        self.contracts = Contracts(arena, blocks, releases)
        self._broken = ContractHistory(arena, self._panes)
        self._llm_troubles = LlmTroubles()
        self.settled = False
        """It is known what should run: alarms may be evaluated."""

    def take(self, candidate: Candidate) -> tuple[Taken, ...]:
        """What a version's values go into, and where its answers are written down or kept."""
        llm_blocks.allocate(self._blocks, candidate)
        counted = self._counted(candidate)
        recorded = self.outcomes.take(candidate)
        captured = self.capture.take(candidate.name, candidate.version, candidate.capture)
        self.shadows.know(candidate.name, candidate.version, candidate.capture)
        return (*counted, *recorded, *self._sliced(candidate, counted, recorded), *captured)

    def upstreams(self) -> list[UpstreamCounts]:
        """What language models had from their upstreams."""
        return list(read_upstreams(self._arena))

    def _sliced(
        self, candidate: Candidate, counted: Sequence[Taken], recorded: Sequence[Taken]
    ) -> tuple[Sliced, ...]:
        """How rows are told apart, where anything comes of it."""
        config = self._config()
        slices = config.slices_of(candidate.name)
        if not slices:
            return ()
        parts: tuple[Part, ...] = ()
        if candidate.reference is not None and counted:
            parts = self._parts.take(candidate.name, candidate.version, slices, candidate.reference)
        if not parts and not recorded:
            return ()
        names, _ = config.features_of(candidate.name)
        return (Sliced(slicings(slices), names, parts),)

    def _counted(self, candidate: Candidate) -> tuple[Watched | Kept, ...]:
        if candidate.wish is not None:
            return kept(self._blocks, candidate.name, candidate.version, candidate.wish)
        agreed = self.contracts.take(candidate.name, candidate.version, candidate.agreement)
        found = watched(
            self._blocks, candidate.name, candidate.version, candidate.reference, agreed
        )
        if found and candidate.reference is not None:
            key = layout.sketch_key(candidate.name, candidate.version, found[0].digest)
            self._sketches.watch(key, candidate.reference.profile)
            self.common.know(candidate.reference)
        return found

    def jobs(self) -> tuple[Job, ...]:
        """What is to be done about once a second, each by its name for the log."""
        return (
            ("counts", self._count),
            ("first rows", self._freezing.look),
            ("alarms", self._alert),
            ("the ledger", self.outcomes.look),
            ("captured rows", self.capture.look),
            ("shadows", self.shadows.look),
            ("upstreams", self._look_at_upstreams),
        )

    def operations(
        self,
        follow: release_operations.Follow,
        record: llm_operations.Record,
        tell: llm_operations.Tell,
    ) -> tuple[Operation, ...]:
        """What can be asked through the control port.

        Args:
            follow: brings the workers to what a model is watched by now.
            record: the audit.
            tell: tells every worker something.
        """
        return (
            *release_operations.operations(self._releases, self.contracts, self._plan, follow),
            *drift_operations.operations(self._drift, self._counting, self._breaches, self._part),
            *alert_operations.operations(self.alerting, self._alarms, self.deliveries),
            *outcome_operations.operations(self.outcomes, self._calibration, record),
            *fairness_operations.operations(self.outcomes),
            *concept_operations.operations(self.outcomes),
            *shadow_operations.operations(self.shadows),
            *llm_operations.operations(self._arena, self._plan, record, tell),
        )

    async def tell_of_rollout(self, rollout: Rollout, event: Event) -> None:
        """Tells sinks of a candidate that was taken back."""
        await self.tell(notice(rollout, event), SEVERITY)

    async def tell(self, told: Notice, severity: str) -> None:
        """Tells sinks of something that is no alarm of a rule."""
        sinks = [one for one in self._config().alerts.sinks if severity in one.severities]
        letters = [(one.name, told) for one in sinks]
        self.deliveries.put(await asyncio.to_thread(self._alarms.save, {}, letters))

    async def _look_at_upstreams(self) -> None:
        found = await asyncio.to_thread(lambda: list(read_standings(self._arena)))
        for told in self._llm_troubles.look(found):
            await self.tell(told, UPSTREAM_SEVERITY)

    def evidence(self, scores: Callable[[str, int], str]) -> RolloutEvidence:
        """What judges candidates of rollouts; `scores` is as `Sources` has it."""

        def pairs(model: str, answered: int, shadow: int) -> tuple[int, int]:
            found = self.shadows.sums(model, shadow, answered)
            unanswered = found.failed + found.unlike  # which is not the same label, either
            return found.rows + unanswered, found.disagreeing + unanswered

        return RolloutEvidence(
            Sources(
                self._arena,
                self._drift,
                self._counting,
                self.outcomes,
                lambda *version: self.contracts.of_version(self._plan(), *version),
                self.collecting,
                self._config,
                pairs,
                scores,
            )
        )

    def collecting(self) -> list[tuple[str, int]]:
        """Versions whose first rows are being kept for a reference."""
        return list(self._freezing.progress())

    def references(self) -> dict[tuple[str, int], dict[str, Any]]:
        """What each version's traffic is held against, or how far it is from that."""
        found = {key: views.waiting(one) for key, one in self._freezing.progress().items()}
        for series in self._own():
            name, version, _, _, digest = layout.sketch_of(series.name)
            found[name, version] = views.reference(digest, series.profile)
        return found

    async def close(self) -> None:
        """Keeps what has been counted until now."""
        await self.deliveries.close()
        self._counting.shutdown()
        self._sketches.look()
        self._broken.look(self._sketches.now)
        panes, bases = self._due(everything=True)
        self._panes.save(panes, bases, self._sketches.now, self._drift.learnt())
        self._panes.close()

    # ---- once a second --------------------------------------------------------------------------

    async def _count(self) -> None:
        """Takes what workers counted, judges it and keeps it, on the thread that histories have."""
        await asyncio.get_running_loop().run_in_executor(self._counting, self._tick)

    def _tick(self) -> None:
        self._sketches.look()
        self._broken.look(self._sketches.now)
        self._drift.look()
        panes, bases = self._due()
        if panes:
            # Once a minute is enough of what hardly changes from one to the next.
            longer = {n for n, some in panes.items() if any(p.length_s >= _MINUTE_S for p in some)}
            self._panes.save(panes, bases, self._sketches.now, self._drift.learnt(longer))

    def _due(self, everything: bool = False) -> tuple[dict[str, list[Pane]], dict[str, Base]]:
        (panes, bases), (more, stood) = self._sketches.due(everything), self._broken.due(everything)
        return panes | more, bases | stood

    async def _alert(self) -> None:
        if not self.alerting.started:
            await self.alerting.start()
        if self.settled:
            held = self._plan().held
            await self.alerting.look({(one.name, one.version) for one in held})
            firing = {(model, int(version)) for (_, _, model, version), _ in self.alerting.firing()}
            self.capture.alarm(firing)

    def _part(self, model: str, asked: str) -> str:
        """What the block of a slice is called."""
        return part_asked(slicings(self._config().slices_of(model)), asked)

    def _breaches(self, model: str, version: int, window_s: float) -> dict[str, Any] | None:
        """On the thread of histories."""

        def counted(block: Block) -> Vector:
            return self._broken.window(block, window_s)

        found = self.contracts.of_version(self._plan(), model, version, counted)
        return None if found is None else found.as_json()

    def _calibration(self, model: str, version: int) -> Calibration | None:
        for series in self._own():
            if layout.sketch_of(series.name)[:2] == (model, version):
                return series.profile.calibration
        return None

    def _own(self) -> list[Series]:
        """Those that are of a version's own profile."""
        return [one for one in self._series() if part_of(one) != layout.COMMON]

    def _series(self) -> tuple[Series, ...]:
        """Those that deployments count into by the newest plan."""
        named = {block.offset: block.name for block in self._arena.blocks(layout.SKETCH)}
        taken = (one for some in self._plan().watched.values() for one in some)
        names = {named.get(block) for one in taken for block in one.blocks}
        return tuple(one for one in self._sketches.series() if one.name in names)

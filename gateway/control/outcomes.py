"""The ledger of one server: drains what workers write down, and joins outcomes to it.

Knows the arena, the plan's versions, and the one thread that the ledger lives on. Knows nothing of
how records lie on the disk, or of HTTP.

Nothing is opened as long as no model has a ledger and the home holds none.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np

from gateway.config import Config
from gateway.control.desired import Candidate
from gateway.control.ledger_store import LedgerStore, Series
from gateway.control.standings import ConceptReport, Standings, Version
from gateway.errors import GatewayError, NotFound, StoreFailed
from gateway.monitor import layout
from gateway.monitor.arena import EPOCH, Arena
from gateway.monitor.directory import Words
from gateway.outcomes.arrivals import Arrival
from gateway.outcomes.concept import Settings
from gateway.outcomes.estimate import UNCHECKED, Calibrator
from gateway.outcomes.figures import Performance, performance
from gateway.outcomes.joins import RESULTS, About, Joined, Joins, Models
from gateway.outcomes.ledger import Ledger, of_ring
from gateway.plan import Recorded
from gateway.profiles.calibrating import table_of
from gateway.profiles.values import Calibration
from kernels import ring
from kernels.performance import BINS

log = logging.getLogger("penstock.control")

FOLDER: Final = "ledger"
_NEVER_MS: Final = 1 << 62  # clocks that were set back must not hide what was answered
T = TypeVar("T")


class Report(NamedTuple):
    """How right a version was.

    Attributes:
        series: its answers.
        window_s: how far it looks back; None: at all.
        now: seconds since 1970.
        oldest_ms: of all records that are there; None where there is none.
        found: every figure.
        classes: names of classes by their numbers.
    """

    series: Series
    window_s: float | None
    now: float
    oldest_ms: int | None
    found: Performance
    classes: Mapping[int, str]


class Outcomes:
    """Lives on control's event loop; all that touches files happens on its thread.

    Attributes:
        standings: how versions that serve stand by their outcomes.
        seen: what `status` last told within a second or two; None: there is no ledger.
    """

    def __init__(
        self,
        arena: Arena,
        home: Path,
        config: Callable[[], Config],
        stream: Callable[[int, int], str],
        wall: Callable[[], float],
    ) -> None:
        """Takes its collaborators.

        Args:
            arena: shared memory.
            home: the home.
            config: what is in force.
            stream: what the ids of a worker's requests begin with, by slot and epoch.
            wall: seconds since 1970.
        """
        self._arena = arena
        self._folder = home / FOLDER
        self._config = config
        self._stream = stream
        self._wall = wall
        self._thread = ThreadPoolExecutor(1, "ledger")
        self._opening = threading.Lock()
        self._store: LedgerStore | None = None
        self._opened: tuple[Ledger, Joins] | None = None
        self.standings = Standings(
            self._kept, self._concept_settings, self._now_ms, threshold=self._threshold
        )
        self.seen: Mapping[str, Any] | None = None
        self._serving: dict[Version, int] = {}
        self._sure: set[str] = set()
        """Streams of which nothing that a ring holds was taken before."""
        self._counts: Counter[str] = Counter()

    # ---- what is written down -------------------------------------------------------------------

    def take(self, candidate: Candidate) -> tuple[Recorded, ...]:
        """Where a version's answers are written down; nowhere where that is not wanted."""
        config = self._config()
        if not config.has_ledger(candidate.name):
            return ()
        scores = config.scores_of(candidate.name)
        try:
            block = self._arena.allocate(layout.LEDGER, layout.LEDGER_BLOCK)
            series = self._kept().number(candidate.name, candidate.version, scores.reading)
        except GatewayError as error:
            log.error("model '%s' has no ledger: %s", candidate.name, error)
            return ()
        self._serving[candidate.name, candidate.version] = series
        held = config.hold_out_of(candidate.name)
        share, policy = (0.0, "") if held is None else (held.share, held.policy)
        reading = scores.kind, scores.output, scores.positive
        return (Recorded(block, series, *reading, share, policy),)

    async def look(self) -> None:
        """Drains what was written down. Call it about once a second."""
        if self._arena.find(layout.LEDGER, layout.LEDGER_BLOCK) is not None or self._is_there():
            await self._aside(self._look)

    # ---- what comes of it -----------------------------------------------------------------------

    async def receive(self, arrivals: Sequence[Arrival], models: Models) -> Joined:
        """Joins outcomes to their records.

        Args:
            arrivals: the outcomes.
            models: whose they may be; None: everybody's.

        Raises:
            StoreFailed: the ledger cannot be read.
        """
        return await self._aside(self._receive, arrivals, models)

    async def received(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """What a worker passes on: the verdict that it waits for."""
        verdict: dict[str, Any] = {"type": "verdict", "ticket": message["ticket"], "ok": True}
        models = message["models"]
        arrivals = [Arrival(*one) for one in message["outcomes"]]
        try:
            found = await self.receive(arrivals, None if models is None else frozenset(models))
            return verdict | {"counts": found.counts, "faults": found.faults}
        except GatewayError as error:
            refused = {"status": error.status, "code": error.code, "error": str(error)}
        except Exception:
            log.exception("outcomes")
            refused = {"status": 500, "code": GatewayError.code, "error": "internal error"}
        return verdict | {"ok": False} | refused

    async def performance(
        self,
        model: str,
        version: int,
        window_s: float | None,
        calibration: Calibration | None = None,
    ) -> Report:
        """How right a version was.

        Args:
            model: its name.
            version: its number.
            window_s: of what was answered so long ago at most; None: of all that ever was.
            calibration: of the version's scores, for estimates; one that is of scores that were
                read in another way is left alone.

        Raises:
            NotFound: nothing of such a version was ever written down.
            StoreFailed: the ledger cannot be read.
        """
        return await self._aside(self._performance, model, version, window_s, calibration)

    async def concept(self, model: str, version: int) -> ConceptReport:
        """Whether a version is still as right as it was.

        Raises:
            NotFound: nothing of such a version was ever written down.
            StoreFailed: the ledger cannot be read.
        """
        return await self._aside(self._concept, model, version)

    async def status(self) -> dict[str, Any]:
        """What the ledger holds, what it lost, and what became of outcomes."""
        return await self._aside(self._status)

    async def close(self) -> None:
        """Drains once more, and closes the files."""
        if self._opened is not None:
            try:
                await self._aside(self._drain)
                await self._aside(self.standings.save)
            except StoreFailed as error:
                log.error("%s", error)
        self._thread.shutdown()
        if self._store is not None:
            self._store.close()

    # ---- on the thread --------------------------------------------------------------------------

    def _look(self) -> None:
        ledger, joins = self._open()
        now_ms = self._now_ms()
        self._drain()
        joins.again(now_ms)
        settings = self._config().ledger
        oldest_ms = now_ms - int(settings.max_age_s * 1000.0)
        ledger.tidy(settings.max_bytes, oldest_ms, self._live(), now_ms)
        # Last: where the disk takes nothing more, old files are to go all the same.
        self.standings.want(self._config().metrics.outcomes_window_s)  # whoever scrapes
        self.standings.look(self._serving.copy())
        self.seen = self._status()

    def _receive(self, arrivals: Sequence[Arrival], models: Models) -> Joined:
        if not self._is_there():
            return Joined(dict.fromkeys(RESULTS, 0) | {"unknown": len(arrivals)}, [])
        _, joins = self._open()
        # Most outcomes that seem early are of answers that only had not been drained. Those that
        # did wait go first: what comes now is newer.
        if self._drain():
            joins.again(self._now_ms())
        found = joins.join(arrivals, models, self._now_ms())
        self._counts.update(found.counts)
        return found

    def _drain(self) -> int:
        """Takes what every worker wrote down; how many records that were."""
        offset = self._arena.find(layout.LEDGER, layout.LEDGER_BLOCK)
        if offset is None:
            return 0
        taken = 0
        for slot in range(self._arena.workers):
            words = self._arena.array(offset, slot)
            drained = ring.read(words)
            epochs = ring.lower(drained.records[:, ring.TOP_AND_EPOCH])
            for epoch in np.unique(epochs).tolist():
                self._keep(self._stream(slot, epoch), drained.records[epochs == epoch])
            ring.done(words, drained)
            taken += len(drained.records)
        return taken

    def _keep(self, stream: str, records: Words) -> None:
        ledger, _ = self._open()
        # A predecessor may have been killed, or a disk full, after some of them were taken.
        anew = stream not in self._sure
        self._sure.discard(stream)
        taken = ledger.append(stream, of_ring(records), anew)
        self._sure.add(stream)
        self.standings.answered(taken)

    def _concept(self, model: str, version: int) -> ConceptReport:
        series, settings = self._series_of(model, version), self._concept_settings()
        return ConceptReport(series, self._wall(), settings, self.standings.concept(series.id))

    def _concept_settings(self) -> Settings:
        told = self._config().concept
        return Settings(told.baseline_outcomes, told.error_floor, told.calibration_floor)

    def _series_of(self, model: str, version: int) -> Series:
        if not self._is_there():
            raise NotFound(f"model '{model}' has no ledger")
        some = [
            one for one in self._kept().series() if (one.model, one.version) == (model, version)
        ]
        if not some:
            raise NotFound(f"model '{model}' version {version} has no ledger")
        # Of what scores are now, where they once were read in another way.
        now_read = self._config().scores_of(model).reading
        return next((one for one in some if one.scores == now_read), some[-1])

    def _performance(
        self, model: str, version: int, window_s: float | None, calibration: Calibration | None
    ) -> Report:
        series = self._series_of(model, version)
        ledger, _ = self._open()
        self._drain()
        now = self._wall()
        first_ms = 0 if window_s is None else int((now - window_s) * 1000.0)
        sums = ledger.sums(series.id, first_ms, _NEVER_MS)
        calibrator = _calibrator(calibration, series.scores)
        found = performance(sums, self._threshold(series.id), calibrator)
        oldest_ms = ledger.facts().first_ms
        return Report(series, window_s, now, oldest_ms, found, self._classes(model))

    def _classes(self, model: str) -> dict[int, str]:
        names = self._config().scores_of(model).numbers
        return {number: name for name, number in names.items()}

    def _status(self) -> dict[str, Any]:
        lost = skipped = 0
        offset = self._arena.find(layout.LEDGER, layout.LEDGER_BLOCK)
        if offset is not None:
            slots = [self._arena.array(offset, slot) for slot in range(self._arena.workers)]
            lost = sum(int(words[ring.LOST]) for words in slots)
            skipped = sum(int(words[layout.SKETCH_SKIPPED]) for words in slots)
        found: dict[str, Any] = {
            "records": 0,
            "bytes": 0,
            "oldest": None,
            "forgotten_records": 0,
            "waiting": 0,
        }
        late: Mapping[str, int] = {}
        if self._is_there():
            ledger, joins = self._open()
            facts = ledger.facts()
            found = {
                "records": facts.records,
                "bytes": facts.nbytes,
                "oldest": None if facts.first_ms is None else facts.first_ms / 1000.0,
                "forgotten_records": self._kept().records_forgotten(),
                "waiting": joins.waiting,
            }
            late = joins.late
        counts = {name: self._counts[name] + late.get(name, 0) for name in RESULTS}
        return found | {"lost_records": lost, "skipped_rows": skipped, "outcomes": counts}

    # ---- what is open ---------------------------------------------------------------------------

    def _is_there(self) -> bool:
        return self._opened is not None or self._folder.is_dir()

    def _kept(self) -> LedgerStore:
        with self._opening:  # here, for a plan, and on the thread
            if self._store is None:
                self._store = LedgerStore(self._folder)
            return self._store

    def _open(self) -> tuple[Ledger, Joins]:
        if self._opened is None:
            self.standings.want(self._config().metrics.outcomes_window_s)
            ledger = Ledger(self._folder, self._kept(), threshold=self._threshold)
            early_ms = lambda: int(self._config().ledger.early_s * 1000.0)  # noqa: E731
            joins = Joins(
                ledger,
                self._about,
                lambda one: one in self._live(),
                early_ms,
                labelled=self.standings.labelled,
            )
            self._opened = ledger, joins
        return self._opened

    def _about(self, series: int) -> About:
        for one in self._kept().series():
            if one.id == series:
                return About(one.model, self._config().scores_of(one.model).numbers)
        return About("", {})

    def _threshold(self, series: int) -> float:
        names = (one.model for one in self._kept().series() if one.id == series)
        return self._config().scores_of(next(names, "")).threshold

    def _live(self) -> set[str]:
        """Streams whose records may still come."""
        arena = self._arena
        return {self._stream(slot, arena.row(slot)[EPOCH]) for slot in range(arena.workers)}

    def _now_ms(self) -> int:
        return int(self._wall() * 1000.0)

    async def _aside(self, work: Callable[..., T], *arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, work, *arguments)


def _calibrator(calibration: Calibration | None, scores: Mapping[str, object]) -> Calibrator:
    if calibration is None or (calibration.scores, calibration.bins) != (scores, BINS):
        return UNCHECKED
    steps = calibration.upto, calibration.probabilities
    return Calibrator(True, table_of(*steps) if calibration.upto else None)

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
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np

from gateway.config import Config
from gateway.control.desired import Candidate
from gateway.control.ledger_server import LedgerServer
from gateway.control.ledger_store import LedgerStore, Series
from gateway.control.slices import (
    ByGroup,
    group_of,
    scores_of,
    slicings,
    slicings_of,
    words_of,
)
from gateway.control.standings import ConceptReport, Standings, Version
from gateway.errors import GatewayError, NotFound, StoreFailed
from gateway.monitor import layout
from gateway.monitor.arena import EPOCH, Arena
from gateway.monitor.directory import Words
from gateway.outcomes.address import Address
from gateway.outcomes.arrivals import Arrivals, of_message
from gateway.outcomes.concept import Settings
from gateway.outcomes.drained import of_ring
from gateway.outcomes.early import Early, Models
from gateway.outcomes.estimate import UNCHECKED, Calibrator
from gateway.outcomes.figures import Performance, performance
from gateway.outcomes.joins import Joins
from gateway.outcomes.ledger import Ledger
from gateway.outcomes.metric_sums import Metrics
from gateway.outcomes.metrics import Metric, metric
from gateway.outcomes.results import RESULTS, Joined, nothing
from gateway.plan import Recorded
from gateway.profiles.calibrating import table_of
from gateway.profiles.values import Calibration
from kernels import ring
from kernels.metrics import merge as merge_numbers
from kernels.metrics import no_sums as no_numbers
from kernels.performance import BINS, merge

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
        metrics: what is known of each metric.
    """

    series: Series
    window_s: float | None
    now: float
    oldest_ms: int | None
    found: Performance
    classes: Mapping[int, str]
    metrics: Sequence[Metric]


class Opened(NamedTuple):
    """The files, and what is done with them."""

    ledger: Ledger
    joins: Joins
    metrics: Metrics


@dataclass(slots=True)
class ErasedRecords:
    """What was erased of the ledger.

    Attributes:
        records: rows.
        waiting: outcomes that waited for their record.
        versions: that answered, by model and number.
    """

    records: int = 0
    waiting: int = 0
    versions: set[tuple[str, int]] = field(default_factory=set)


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
        # Of reports, which may take seconds of ten million records, one at a time has the thread:
        # what comes in meanwhile waits for one at most, and no ring overflows behind many.
        self._reporting = asyncio.Lock()
        self._opening = threading.Lock()
        self._store: LedgerStore | None = None
        self._opened: Opened | None = None
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
            words = words_of(scores.reading, slicings(config.slices_of(candidate.name)))
            series = self._kept().number(candidate.name, candidate.version, words)
        except GatewayError as error:
            log.error("model '%s' has no ledger: %s", candidate.name, error)
            return ()
        self._serving[candidate.name, candidate.version] = series
        held = config.hold_out_of(candidate.name)
        held_out, policy = (0.0, "") if held is None else (held.share, held.policy)
        reading = scores.kind, scores.output, scores.positive
        share, client_ids = config.ledger_share_of(candidate.name), config.ledger.client_ids
        return (Recorded(block, series, *reading, held_out, policy, share, client_ids),)

    async def look(self) -> None:
        """Drains what was written down. Call it about once a second."""
        if self._arena.find(layout.LEDGER, layout.LEDGER_BLOCK) is not None or self._is_there():
            await self._aside(self._look)

    # ---- what comes of it -----------------------------------------------------------------------

    async def receive(self, arrivals: Arrivals, models: Models) -> Joined:
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
        try:
            arrivals = of_message(message["outcomes"])
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
        asked: str | None = None,
    ) -> Report:
        """How right a version was.

        Args:
            model: its name.
            version: its number.
            window_s: of what was answered so long ago at most; None: of all that ever was.
            calibration: of the version's scores, for estimates; one that is of scores that were
                read in another way is left alone.
            asked: of the rows of one slice, `SLICING:GROUP`; None: of all.

        Raises:
            NotFound: nothing of such a version was ever written down, or it has no such slice.
            InvalidParameter: a slice is asked for in another way.
            StoreFailed: the ledger cannot be read.
        """
        async with self._reporting:
            return await self._aside(
                self._performance, model, version, window_s, calibration, asked
            )

    async def by_group(
        self, model: str, version: int, window_s: float | None, work: Callable[[ByGroup], T]
    ) -> tuple[ByGroup, T]:
        """What the rows of each of a version's groups add up to, and what is made of that.

        Args:
            model: its name.
            version: its number.
            window_s: as `performance` has it.
            work: done aside.

        Raises:
            NotFound: nothing of such a version was ever written down.
            StoreFailed: the ledger cannot be read.
        """

        def find() -> tuple[ByGroup, T]:
            found = self._by_group(model, version, window_s)
            return found, work(found)

        async with self._reporting:
            return await self._aside(find)

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

    async def erase(self, requests: Collection[Address]) -> ErasedRecords:
        """Empties the records of requests, and forgets what waits for them.

        Raises:
            StoreFailed: the ledger cannot be read or written; the same again goes on.
        """
        return await self._aside(self._erase, requests)

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
        ledger, joins, _ = self._open()
        now_ms = self._now_ms()
        fault = self._drained()
        joins.again(now_ms)
        settings = self._config().ledger
        oldest_ms = now_ms - int(settings.max_age_s * 1000.0)
        ledger.tidy(settings.max_bytes, oldest_ms, self._live(), now_ms)
        # Last: where the disk takes nothing more, old files are to go all the same.
        self.standings.want(self._config().metrics.outcomes_window_s)  # whoever scrapes
        self.standings.look(self._serving.copy())
        self.seen = self._status()
        if fault is not None:
            raise fault

    def _receive(self, arrivals: Arrivals, models: Models) -> Joined:
        if not self._is_there():
            found = nothing()
            found.counts["unknown"] = len(arrivals)
            return found
        _, joins, _ = self._open()
        # Most outcomes that seem early are of answers that only had not been drained.
        self._drained()
        found = joins.join(arrivals, models, self._now_ms())
        self._counts.update(found.counts)
        return found

    def _erase(self, requests: Collection[Address]) -> ErasedRecords:
        if not self._is_there():
            return ErasedRecords()
        ledger, joins, _ = self._open()
        self._drain()
        erased = erase_records(ledger, self._kept().series(), requests)
        erased.waiting = joins.forget(requests)
        return erased

    def _drained(self) -> StoreFailed | None:
        """Takes what there is room for; why the rest stays where it is."""
        try:
            self._drain()
        except StoreFailed as fault:
            return fault
        return None

    def _drain(self) -> None:
        """Takes what every worker wrote down.

        Raises:
            StoreFailed: some of it stays where it is.
        """
        offset = self._arena.find(layout.LEDGER, layout.LEDGER_BLOCK)
        if offset is None:
            return
        faults = []
        for slot in range(self._arena.workers):
            try:
                self._drain_slot(slot, self._arena.array(offset, slot))
            except StoreFailed as fault:
                faults.append(fault)
        if faults:
            raise faults[0]

    def _drain_slot(self, slot: int, words: Words) -> None:
        drained = ring.read(words)
        epochs = ring.lower(drained.records[:, ring.TOP_AND_EPOCH])
        for epoch in np.unique(epochs).tolist():
            self._keep(self._stream(slot, epoch), drained.records[epochs == epoch])
        ring.done(words, drained)

    def _keep(self, stream: str, records: Words) -> None:
        ledger, _, _ = self._open()
        taken = of_ring(records)
        # A predecessor may have been killed, or a disk full, after some of them were taken.
        anew = stream not in self._sure
        self._sure.discard(stream)
        came = ledger.append(stream, taken.records, anew, taken.named)
        self._sure.add(stream)
        self.standings.answered(came)

    def _concept(self, model: str, version: int) -> ConceptReport:
        (_, series, _), settings = self._find(model, version), self._concept_settings()
        return ConceptReport(series, self._wall(), settings, self.standings.concept(series.id))

    def _concept_settings(self) -> Settings:
        told = self._config().concept
        return Settings(told.baseline_outcomes, told.error_floor, told.calibration_floor)

    def _performance(
        self,
        model: str,
        version: int,
        window_s: float | None,
        calibration: Calibration | None,
        asked: str | None,
    ) -> Report:
        ledger, series, more = self._find(model, version)
        mask, marks = (0, 0) if asked is None else group_of(series, asked)
        self._drained()
        now = self._wall()
        first_ms = _first_ms(now, window_s)
        sums = ledger.sums(series.id, first_ms, _NEVER_MS, mask, marks)
        # Other slices are another series, of the same answers as far as all of them go.
        for one in more if asked is None else ():
            merge(sums, ledger.sums(one.id, first_ms, _NEVER_MS))
        oldest_ms = ledger.facts().first_ms
        calibrator = _calibrator(calibration, scores_of(series))
        found = performance(sums, self._threshold(series.id), calibrator)
        all_of_it = [series, *(more if asked is None else ())]
        metrics = self._metrics_of(all_of_it, first_ms, found.records, mask, marks)
        return Report(series, window_s, now, oldest_ms, found, self._classes(model), metrics)

    def _by_group(self, model: str, version: int, window_s: float | None) -> ByGroup:
        ledger, series, _ = self._find(model, version)
        self._drained()
        now = self._wall()
        groupings = len(slicings_of(series))
        cells = ledger.cells(series.id, groupings, _first_ms(now, window_s), _NEVER_MS)
        return ByGroup(series, window_s, now, cells)

    def _find(self, model: str, version: int) -> tuple[Ledger, Series, list[Series]]:
        """The answers of a version that are now written down, and others with the same scores."""
        if not self._is_there():
            raise NotFound(f"model '{model}' has no ledger")
        some = [
            one for one in self._kept().series() if (one.model, one.version) == (model, version)
        ]
        if not some:
            raise NotFound(f"model '{model}' version {version} has no ledger")
        # Of what scores are now, where they once were read in another way.
        config = self._config()
        read = config.scores_of(model).reading
        alike = [one for one in some if scores_of(one) == read] or some[-1:]
        now = words_of(read, slicings(config.slices_of(model)))
        series = next((one for one in alike if one.scores == now), alike[-1])
        ledger, _, _ = self._open()
        return ledger, series, [one for one in alike if one is not series]

    def _metrics_of(
        self, some: Sequence[Series], first_ms: int, records: int, mask: int, marks: int
    ) -> Sequence[Metric]:
        metrics, found = self._open().metrics, []
        for name, number in metrics.names.items():
            sums = no_numbers()
            for one in some:
                its = metrics.sums(number, one.id, first_ms, _NEVER_MS, mask, marks)
                merge_numbers(sums, its)
            found.append(metric(name, sums, records))
        return [one for one in found if one is not None]

    def _classes(self, model: str) -> dict[int, str]:
        names = self._config().scores_of(model).numbers
        return {number: name for name, number in names.items()}

    def _status(self) -> dict[str, Any]:
        lost = skipped = unsampled = 0
        offset = self._arena.find(layout.LEDGER, layout.LEDGER_BLOCK)
        if offset is not None:
            slots = [self._arena.array(offset, slot) for slot in range(self._arena.workers)]
            lost = sum(int(words[ring.LOST]) for words in slots)
            skipped = sum(int(words[layout.SKETCH_SKIPPED]) for words in slots)
            unsampled = sum(int(words[layout.LEDGER_UNSAMPLED]) for words in slots)
        found: dict[str, Any] = {
            "records": 0,
            "bytes": 0,
            "oldest": None,
            "forgotten_records": 0,
            "waiting": 0,
        }
        late: Mapping[str, int] = {}
        if self._is_there():
            ledger, joins, _ = self._open()
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
        rows = {"lost_records": lost, "skipped_rows": skipped, "unsampled_rows": unsampled}
        return found | rows | {"outcomes": counts}

    # ---- what is open ---------------------------------------------------------------------------

    def _is_there(self) -> bool:
        return self._opened is not None or self._folder.is_dir()

    def _kept(self) -> LedgerStore:
        with self._opening:  # here, for a plan, and on the thread
            if self._store is None:
                self._store = LedgerStore(self._folder)
            return self._store

    def _open(self) -> Opened:
        if self._opened is None:
            self.standings.want(self._config().metrics.outcomes_window_s)
            ledger = Ledger(self._folder, self._kept(), threshold=self._threshold)
            early, metrics = Early(self._kept()), Metrics(ledger.segments, self._kept())
            server = LedgerServer(self._kept(), self._config, self._live)
            joins = Joins(ledger, metrics, early, server, self.standings.labelled)
            self._opened = Opened(ledger, joins, metrics)
        return self._opened

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


def _first_ms(now: float, window_s: float | None) -> int:
    return 0 if window_s is None else int((now - window_s) * 1000.0)


def erase_records(
    ledger: Ledger, series: Iterable[Series], requests: Iterable[Address]
) -> ErasedRecords:
    """Empties the records of requests. Blocking.

    Raises:
        StoreFailed: a file cannot be written; the same again goes on.
    """
    versions = {one.id: (one.model, one.version) for one in series}
    streams: dict[str, list[int]] = {}
    for one in requests:
        streams.setdefault(one.stream, []).append(one.sequence)
    found = ErasedRecords()
    for stream, sequences in streams.items():
        erased = ledger.erase(stream, np.array(sequences, np.int64))
        found.records += len(erased)
        found.versions |= {versions[number] for number in set(erased) & versions.keys()}
    return found

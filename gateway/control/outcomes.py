"""The ledger of one server: drains what workers write down, and joins outcomes to it.

Knows the plan's versions, what is done with records and when, and the one thread that the ledger
lives on. Knows nothing of how records lie in memory or on the disk, of figures, or of HTTP.

Nothing is opened as long as no model has a ledger and the home holds none.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np

from gateway.config import Config
from gateway.control.desired import Candidate
from gateway.control.erased_records import ErasedRecords, erase_records
from gateway.control.ledger_rings import LedgerRings
from gateway.control.ledger_server import LedgerServer
from gateway.control.ledger_store import LedgerStore
from gateway.control.outcome_reports import Known, Report, Reports
from gateway.control.slices import ByGroup, scores_of, slicings, slicings_of, words_of
from gateway.control.standings import ConceptReport, Standings, Version
from gateway.errors import GatewayError, NotFound, StoreFailed
from gateway.monitor.arena import Arena
from gateway.monitor.directory import Words
from gateway.outcomes.address import Address
from gateway.outcomes.arrivals import Arrivals, of_message
from gateway.outcomes.concept import Settings
from gateway.outcomes.early import Early, Models
from gateway.outcomes.joins import Joins
from gateway.outcomes.ledger import Ledger
from gateway.outcomes.metric_sums import Metrics
from gateway.outcomes.results import RESULTS, Joined, nothing
from gateway.outcomes.segment import Segment
from gateway.profiles.values import Calibration
from gateway.taken import Recorded
from kernels.ledger import FILE, NOT_THERE, OUTCOME, SEQUENCE, wanted

log = logging.getLogger("penstock.control")

FOLDER: Final = "ledger"
# A worker writes a record down within a second of its answer, or two where a thread does it.
LATE_MS: Final = 5000
_NO_LEDGER: Final = "nothing was ever written down here: set ledger.enabled"
T = TypeVar("T")


class Opened(NamedTuple):
    """The files, and what is done with them."""

    ledger: Ledger
    metrics: Metrics
    joins: Joins
    reports: Reports


class Outcomes:
    """Lives on control's event loop; all that touches files happens on its thread.

    Attributes:
        standings: how versions that serve stand by their outcomes.
        seen: what `status` last told within a second or two; None: there is no ledger.
        forgetting: is shown each file on the ledger's thread before it is forgotten; where it
            raises, the file stays.
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
        self._rings = LedgerRings(arena, stream)
        self._folder = home / FOLDER
        self._config = config
        self._wall = wall
        self._thread = ThreadPoolExecutor(1, "ledger")
        # Of reports, which may take seconds of ten million records, one at a time has the thread:
        # what comes in meanwhile waits for one at most, and no ring overflows behind many.
        self._reporting = asyncio.Lock()
        self._opening = threading.Lock()
        self._store: LedgerStore | None = None
        self._opened: Opened | None = None
        self.standings = Standings(
            self._kept,
            self._concept_settings,
            self._now_ms,
            threshold=self._threshold,
            counted_as=self._first_alike,
        )
        self.seen: Mapping[str, Any] | None = None
        self.forgetting: Callable[[Segment, Metrics, LedgerStore], None] | None = None
        self._serving: dict[Version, int] = {}
        self._counts: Counter[str] = Counter()
        self._erased: list[tuple[int, Collection[Address]]] = []
        """Requests that are erased once more, and when."""
        self._complained = ""

    # ---- what is written down -------------------------------------------------------------------

    def take(self, candidate: Candidate) -> tuple[Recorded, ...]:
        """Where a version's answers are written down; nowhere where that is not wanted."""
        config = self._config()
        if not config.has_ledger(candidate.name):
            return ()
        scores = config.scores_of(candidate.name)
        try:
            block = self._rings.block()
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
        if self._rings.there or self._is_there():
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
            told = self._complaint(error) if isinstance(error, StoreFailed) else str(error)
            refused = {"status": error.status, "code": error.code, "error": told}
        except Exception:
            log.exception("outcomes")
            refused = {"status": 500, "code": GatewayError.code, "error": "internal error"}
        return verdict | {"ok": False} | refused

    def _complaint(self, error: StoreFailed) -> str:
        """What clients are told: where files lie is for the log, and there only once in a row."""
        if str(error) != self._complained:
            self._complained = str(error)
            log.error("outcomes: %s", error)
        return "the ledger can be neither read nor written now"

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

        def find() -> Report:
            reports = self._reports(model)
            return reports.performance(model, version, window_s, calibration, asked)

        async with self._reporting:
            return await self._aside(find)

    def known(
        self, model: str, version: int, since: float, asked: str | None, alpha: float
    ) -> Future[Known]:
        """As `Reports.known` has it; from any thread, which may do something else meanwhile."""

        def find() -> Known:
            return self._reports(model).known(model, version, since, asked, alpha)

        return self._thread.submit(find)

    def metrics(self) -> Future[Sequence[str]]:
        """The metrics that ever had a number; from any thread."""

        def find() -> Sequence[str]:
            return list(self._open().metrics.names) if self._is_there() else []

        return self._thread.submit(find)

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
            found = self._reports(model).by_group(model, version, window_s)
            return found, work(found)

        async with self._reporting:
            return await self._aside(find)

    async def read(self, work: Callable[[Ledger, Metrics, LedgerStore], T]) -> T | None:
        """What is made of all records, on the ledger's thread; None: there is no ledger.

        Raises:
            StoreFailed: the ledger cannot be read.
        """

        def find() -> T | None:
            if not self._is_there():
                return None
            opened = self._open()
            self._drained()
            return work(opened.ledger, opened.metrics, self._kept())

        async with self._reporting:
            return await self._aside(find)

    async def of(self, rows: Sequence[tuple[str, int, int]]) -> list[float | None]:
        """What came of rows, by stream, sequence and row; None where that is not known.

        Raises:
            StoreFailed: the ledger cannot be read.
        """
        if not rows or not self._is_there():
            return [None] * len(rows)
        return await self._aside(self._of, rows)

    async def concept(self, model: str, version: int) -> ConceptReport:
        """Whether a version is still as right as it was.

        Raises:
            NotFound: nothing of such a version was ever written down.
            StoreFailed: the ledger cannot be read.
        """
        return await self._aside(self._concept, model, version)

    async def forget_metric(self, name: str) -> None:
        """Forgets a metric with all its numbers, which makes room for another.

        Raises:
            NotFound: there is none of that name.
            StoreFailed: the ledger cannot be written; the same again goes on.
        """
        await self._aside(self._forget_metric, name)

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
        ledger, _, joins, _ = self._open()
        now_ms = self._now_ms()
        fault = self._drained()
        self._erase_late(ledger, joins, now_ms)
        joins.again(now_ms)
        settings = self._config().ledger
        oldest_ms = now_ms - int(settings.max_age_s * 1000.0)
        ledger.tidy(settings.max_bytes, oldest_ms, self._rings.live(), now_ms)
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
            found.faults.append(_NO_LEDGER)
            return found
        joins = self._open().joins
        # Most outcomes that seem early are of answers that only had not been drained.
        self._drained()
        found = joins.join(arrivals, models, self._now_ms())
        self._counts.update(found.counts)
        return found

    def _of(self, rows: Sequence[tuple[str, int, int]]) -> list[float | None]:
        ledger = self._open().ledger
        streams, sequences, numbers = zip(*rows, strict=True)
        found, files = wanted(np.array(sequences), np.array(numbers)), list[Segment]()
        for stream in set(streams):
            some = np.array([place for place, one in enumerate(streams) if one == stream])
            some = some[np.argsort(found[some, SEQUENCE], kind="stable")]
            ledger.find(stream, some, found, files)
        outcomes = found.view(np.float64)[:, OUTCOME]
        known = (found[:, FILE] != NOT_THERE) & ~np.isnan(outcomes)
        return [float(outcomes[n]) if known[n] else None for n in range(len(rows))]

    def _erase(self, requests: Collection[Address]) -> ErasedRecords:
        if not self._is_there():
            return ErasedRecords()
        ledger, _, joins, _ = self._open()
        self._drain()
        erased = erase_records(ledger, self._kept().series(), requests, joins.forget)
        self._kept().empty_log()
        self._erased.append((self._now_ms() + LATE_MS, requests))
        return erased

    def _erase_late(self, ledger: Ledger, joins: Joins, now_ms: int) -> None:
        """A worker writes records once they are answered, and may be late; who erases is not."""
        for due_ms, requests in self._erased:
            if due_ms <= now_ms:
                its = self._kept().series(), requests
                if erase_records(ledger, *its, joins.forget).waiting:
                    self._kept().empty_log()
        self._erased = [one for one in self._erased if one[0] > now_ms]

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
        self._rings.drain(self._keep)

    def _keep(self, stream: str, records: Words, anew: bool, named: Words) -> None:
        self.standings.answered(self._open().ledger.append(stream, records, anew, named))

    def _reports(self, model: str) -> Reports:
        """Of all that was answered until now.

        Raises:
            NotFound: no model has a ledger.
        """
        if not self._is_there():
            raise NotFound(f"model '{model}': {_NO_LEDGER}")
        reports = self._open().reports
        self._drained()
        return reports

    def _concept(self, model: str, version: int) -> ConceptReport:
        series, settings = self._reports(model).series(model, version)[0], self._concept_settings()
        return ConceptReport(series, self._wall(), settings, self.standings.concept(series.id))

    def _concept_settings(self) -> Settings:
        told = self._config().concept
        return Settings(told.baseline_outcomes, told.error_floor, told.calibration_floor)

    def _forget_metric(self, name: str) -> None:
        if not self._is_there() or not self._open().metrics.forget(name):
            raise NotFound(f"metric '{name}': there is none of that name")

    def _status(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "records": 0,
            "bytes": 0,
            "oldest": None,
            "forgotten_records": 0,
            "waiting": 0,
            "metrics": [],
            "refused_numbers": 0,
        }
        late: Mapping[str, int] = {}
        if self._is_there():
            ledger, metrics, joins, _ = self._open()
            facts = ledger.facts()
            found = {
                "records": facts.records,
                "bytes": facts.nbytes,
                "oldest": None if facts.first_ms is None else facts.first_ms / 1000.0,
                "forgotten_records": self._kept().records_forgotten(),
                "waiting": joins.waiting,
                "metrics": sorted(metrics.names),
                "refused_numbers": joins.refused_numbers,
            }
            late = joins.late
        counts = {name: self._counts[name] + late.get(name, 0) for name in RESULTS}
        return found | self._rings.missing() | {"outcomes": counts}

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
            ledger = Ledger(
                self._folder,
                self._kept(),
                threshold=self._threshold,
                groupings=self._groupings,
                forgetting=self._forget,
            )
            early, metrics = Early(self._kept()), Metrics(ledger.segments, self._kept())
            server = LedgerServer(self._kept(), self._config, self._rings.live)
            joins = Joins(ledger, metrics, early, server, self.standings.labelled)
            reports = Reports(ledger, metrics, self._kept(), self._config, self._wall)
            self._opened = Opened(ledger, metrics, joins, reports)
        return self._opened

    def _threshold(self, series: int) -> float:
        names = (one.model for one in self._kept().series() if one.id == series)
        return self._config().scores_of(next(names, "")).threshold

    def _forget(self, segment: Segment) -> None:
        if self.forgetting is not None:
            self.forgetting(segment, self._open().metrics, self._kept())

    def _groupings(self, series: int) -> int:
        its = (len(slicings_of(one)) for one in self._kept().series() if one.id == series)
        return next(its, 0)

    def _first_alike(self, series: int) -> int:
        """The first series of the same scores: slices change nothing of how right these are."""
        some = self._kept().series()
        its = [one for one in some if one.id == series]
        alike = (
            one.id
            for one in some
            for other in its
            if one[1:3] == other[1:3] and scores_of(one) == scores_of(other)
        )
        return next(alike, series)

    def _now_ms(self) -> int:
        return int(self._wall() * 1000.0)

    async def _aside(self, work: Callable[..., T], *arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, work, *arguments)

"""What the ledger says of experiments: their arms by now, and what other shares would have come to.

Knows the ledger's thread, what is in force, and what time it is. Knows nothing of how records are
added up (`experiment_evidence`), or of what follows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from gateway.config import Config
from gateway.config.experiments import AbTest, Measure
from gateway.control.experiment_evidence import Wanted, add_up, replayed
from gateway.control.experiment_store import Experiment, ExperimentStore
from gateway.control.ledger_store import LedgerStore
from gateway.control.outcomes import Outcomes
from gateway.errors import NotFound
from gateway.experiments.assessment import Evidence, measures
from gateway.experiments.replay import Replayed
from gateway.outcomes.ledger import Ledger
from gateway.outcomes.metric_sums import Metrics
from gateway.outcomes.segment import Segment

ALPHA: Final = 0.05  # of a replay


class Readings:
    """Used on control's event loop."""

    def __init__(
        self,
        outcomes: Outcomes,
        store: ExperimentStore,
        document: Callable[[], Config],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Takes the ledger, experiments, the document in force, and seconds since 1970."""
        self._outcomes = outcomes
        self._store = store
        self._document = document
        self._wall = wall

    async def metrics(self) -> Mapping[str, int]:
        """Those that ever had a number.

        Raises:
            StoreFailed: the ledger cannot be read.
        """
        return await self._outcomes.read(lambda _, metrics, kept: dict(metrics.names)) or {}

    async def evidence(self, one: Experiment) -> Evidence:
        """What an experiment's arms add up to.

        Raises:
            StoreFailed: the ledger cannot be read.
        """
        wanted = self._wanted(one)

        def read(ledger: Ledger, metrics: Metrics, kept: LedgerStore) -> Evidence:
            files, remains = self._store.remains(one)
            there = [each for each in ledger.segments() if each.path.stem not in files]
            found = add_up(wanted, there, metrics, kept.series())
            found.merge(remains)
            return found

        nothing = Evidence.of(wanted.versions, len(wanted.measures))
        return await self._outcomes.read(read) or nothing

    def forget(self, segment: Segment, metrics: Metrics, kept: LedgerStore) -> None:
        """Keeps what a file of the ledger adds up to for tests under way, before it goes.

        On the ledger's thread. Asked twice, as after a kill, it keeps that once. A bandit goes on
        from what there is.

        Raises:
            StoreFailed: it cannot be kept; the file is to stay.
        """
        for one in self._store.under_way():
            wanted = self._wanted(one)
            if isinstance(one.given.spec, AbTest) and segment.last_ms >= wanted.first_ms:
                files, remains = self._store.remains(one)
                if segment.path.stem not in files:
                    remains.merge(add_up(wanted, [segment], metrics, kept.series()))
                    self._store.keep_remains(one, files | {segment.path.stem}, remains)

    async def replay(
        self,
        model: str,
        versions: Mapping[str, int],
        measure: Measure,
        policy: Mapping[str, float],
        window_s: float | None,
    ) -> Replayed:
        """What other shares would have come to.

        Args:
            model: of a route.
            versions: by variant.
            measure: by which it is judged.
            policy: shares by variant; they add up to 1.
            window_s: of what was answered so long ago at most; None: of all records there are.

        Raises:
            NotFound: there is no ledger.
            StoreFailed: it cannot be read.
        """
        now_ms = self._now_ms()
        first_ms = 0 if window_s is None else now_ms - int(window_s * 1000.0)
        wanted = Wanted(model, versions, [measure], first_ms, now_ms, self._threshold(model))
        found = await self._outcomes.read(
            lambda ledger, metrics, kept: replayed(
                wanted, policy, list(ledger.segments()), metrics, kept.series()
            )
        )
        if found is None:
            raise NotFound("nothing was ever written down here: set ledger.enabled")
        return found.found(ALPHA)

    def _wanted(self, one: Experiment) -> Wanted:
        given, spec = one.given, one.given.spec
        some = measures(spec) if isinstance(spec, AbTest) else [spec.measure]
        half_life_s = None if isinstance(spec, AbTest) else spec.half_life_s
        return Wanted(
            one.model,
            given.versions,
            some,
            int(given.at * 1000.0),
            self._now_ms(),
            self._threshold(one.model),
            given.shares if isinstance(spec, AbTest) else None,
            None if half_life_s is None else half_life_s * 1000.0,
        )

    def _threshold(self, model: str) -> float:
        return self._document().scores_of(model).threshold

    def _now_ms(self) -> int:
        return int(self._wall() * 1000.0)

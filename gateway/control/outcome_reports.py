"""How right versions were, by the records of a ledger: all rows, a slice, a group, those held out.

Knows which series are a version's answers, what is in force, and figures. Knows nothing of how
records come in, of threads, or of HTTP. Blocking.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from gateway.config import Config
from gateway.control.ledger_rows import Series
from gateway.control.ledger_store import LedgerStore
from gateway.control.slices import ByGroup, group_of, scores_of, slicings, slicings_of, words_of
from gateway.errors import NotFound
from gateway.outcomes.estimate import UNCHECKED, Calibrator
from gateway.outcomes.figures import Performance, performance
from gateway.outcomes.intervals import ALPHA
from gateway.outcomes.ledger import Ledger
from gateway.outcomes.metric_sums import Metrics
from gateway.outcomes.metrics import Metric, metric
from gateway.profiles.calibrating import table_of
from gateway.profiles.values import Calibration
from kernels.marks import BY_CHANCE, chosen
from kernels.metrics import merge as merge_numbers
from kernels.metrics import no_sums as no_numbers
from kernels.performance import BINS, Sums, merge, no_sums

_NEVER_MS: Final = 1 << 62  # clocks that were set back must not hide what was answered


class HeldOut(NamedTuple):
    """How right a version was about those that were held out.

    Attributes:
        share: of requests, by which they were chosen.
        policy: that whoever asked was told to follow.
        found: every figure.
    """

    share: float
    policy: str
    found: Performance


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
        held_out: those that are held out by what is in force; None: nobody is.
    """

    series: Series
    window_s: float | None
    now: float
    oldest_ms: int | None
    found: Performance
    classes: Mapping[int, str]
    metrics: Sequence[Metric]
    held_out: HeldOut | None = None


class Known(NamedTuple):
    """What outcomes say, as surely as was asked for.

    Attributes:
        found: every figure.
        metrics: by name, those that have any number.
    """

    found: Performance
    metrics: Mapping[str, Metric]


class _Chosen(NamedTuple):
    """Which records a report is of.

    Attributes:
        series: theirs.
        first_ms: when the first may have been answered, wall clock, milliseconds.
        mask, marks: all of them have these marks under this mask (`kernels.marks`).
    """

    series: Sequence[Series]
    first_ms: int
    mask: int = 0
    marks: int = 0

    @property
    def marked(self) -> tuple[int, int]:
        """Mask and marks."""
        return self.mask, self.marks


class Reports:
    """Of one ledger, as far as it was drained."""

    def __init__(
        self,
        ledger: Ledger,
        metrics: Metrics,
        store: LedgerStore,
        config: Callable[[], Config],
        wall: Callable[[], float],
    ) -> None:
        """Takes its collaborators.

        Args:
            ledger: records, and outcomes in them.
            metrics: their numbers.
            store: knows the series.
            config: what is in force.
            wall: seconds since 1970.
        """
        self._ledger = ledger
        self._metrics = metrics
        self._store = store
        self._config = config
        self._wall = wall

    def performance(
        self,
        model: str,
        version: int,
        window_s: float | None,
        calibration: Calibration | None,
        asked: str | None,
    ) -> Report:
        """How right a version was: arguments and errors as `Outcomes.performance` has them."""
        some = self.series(model, version)
        now = self._wall()
        which = _Chosen(some, _first_ms(now, window_s))
        if asked is not None:  # another series' slices are others
            which = _Chosen(some[:1], which.first_ms, *group_of(some[0], asked))
        calibrator = _calibrator(calibration, scores_of(some[0]))
        found = performance(self._sums(which), self._threshold(model), calibrator)
        return Report(
            some[0],
            window_s,
            now,
            self._ledger.facts().first_ms,
            found,
            self._classes(model),
            self._metric_lines(which, found.records),
            self._held_out(model, which),
        )

    def known(
        self, model: str, version: int, since: float, asked: str | None, alpha: float
    ) -> Known:
        """What is known of what a version answered since a moment.

        Args:
            model: its name.
            version: its number.
            since: seconds since 1970.
            asked: of the rows of one slice, `SLICING:GROUP`; None: of all.
            alpha: how often what a figure is of may ever lie outside of its interval.

        Raises:
            NotFound: nothing of it was ever written down, or it has no such slice.
            InvalidParameter: a slice is asked for in another way.
            StoreFailed: the ledger cannot be read.
        """
        some = self.series(model, version)
        which = _Chosen(some, int(since * 1000.0))
        if asked is not None:
            which = _Chosen(some[:1], which.first_ms, *group_of(some[0], asked))
        found = performance(self._sums(which), self._threshold(model), alpha=alpha)
        metrics = self._metric_lines(which, found.records, alpha)
        return Known(found, {one.name: one for one in metrics})

    def by_group(self, model: str, version: int, window_s: float | None) -> ByGroup:
        """What the rows of each group add up to; errors as `Outcomes.by_group` has them."""
        series = self.series(model, version)[0]
        now = self._wall()
        groupings = len(slicings_of(series))
        cells = self._ledger.cells(series.id, groupings, _first_ms(now, window_s), _NEVER_MS)
        return ByGroup(series, window_s, now, cells)

    def series(self, model: str, version: int) -> Sequence[Series]:
        """The answers of a version that are now written down, and others with the same scores.

        Other slices are another series, of the same answers as far as all of them go.

        Raises:
            NotFound: nothing of such a version was ever written down.
        """
        some = [one for one in self._store.series() if (one.model, one.version) == (model, version)]
        if not some:
            raise NotFound(
                f"model '{model}' version {version}: none of its answers was ever written"
                " down: set ledger.enabled"
            )
        # Of what scores are now, where they once were read in another way.
        config = self._config()
        read = config.scores_of(model).reading
        alike = [one for one in some if scores_of(one) == read] or some[-1:]
        now = words_of(read, slicings(config.slices_of(model)))
        newest = next((one for one in alike if one.scores == now), alike[-1])
        return [newest, *(one for one in alike if one is not newest)]

    def _sums(self, which: _Chosen) -> Sums:
        sums = no_sums()
        for one in which.series:
            merge(sums, self._ledger.sums(one.id, which.first_ms, _NEVER_MS, *which.marked))
        return sums

    def _held_out(self, model: str, which: _Chosen) -> HeldOut | None:
        """Of those that another share chose, another share of requests would have to be known."""
        held = self._config().hold_out_of(model)
        if held is None:
            return None
        theirs = which._replace(
            mask=which.mask | BY_CHANCE, marks=which.marks | chosen(held.share, held_out=True)
        )
        found = performance(self._sums(theirs), self._threshold(model))
        return HeldOut(held.share, held.policy, found)

    def _metric_lines(self, which: _Chosen, records: int, alpha: float = ALPHA) -> Sequence[Metric]:
        found = []
        for name, number in self._metrics.names.items():
            sums = no_numbers()
            for one in which.series:
                ends = which.first_ms, _NEVER_MS
                merge_numbers(sums, self._metrics.sums(number, one.id, *ends, *which.marked))
            found.append(metric(name, sums, records, alpha))
        return [one for one in found if one is not None]

    def _threshold(self, model: str) -> float:
        return self._config().scores_of(model).threshold

    def _classes(self, model: str) -> dict[int, str]:
        names = self._config().scores_of(model).numbers
        return {number: name for name, number in names.items()}


def _calibrator(calibration: Calibration | None, scores: Mapping[str, object]) -> Calibrator:
    if calibration is None or (calibration.scores, calibration.bins) != (scores, BINS):
        return UNCHECKED
    steps = calibration.upto, calibration.probabilities
    return Calibrator(True, table_of(*steps) if calibration.upto else None)


def _first_ms(now: float, window_s: float | None) -> int:
    return 0 if window_s is None else int((now - window_s) * 1000.0)

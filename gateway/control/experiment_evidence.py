"""Adds up what the ledger says of an experiment's arms.

Knows records, series and columns of metrics. Knows nothing of what is made of the sums. Blocking.

Rows count that were left to chance: by the chances that the experiment gave them (an A/B test), or
by any (a bandit, whose shares move; a replay). All of it is read anew each time, so that outcomes
that come late or are corrected count as they are, and a restart changes nothing; what the ledger
has to forget is added up once more before (`experiment_readings`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gateway.config.experiments import Measure
from gateway.control.ledger_rows import Series
from gateway.experiments.assessment import Evidence
from gateway.experiments.replay import Replay
from gateway.experiments.sums import CLUSTERS, Reals
from gateway.experiments.values import which
from gateway.outcomes.metric_sums import Metrics
from gateway.outcomes.segment import Segment
from kernels import lots
from kernels.arms import NOBODY, Rows
from kernels.arms import rows as find
from kernels.ledger import TIME_MS

Flags = np.ndarray[Any, np.dtype[np.bool_]]
_NO_NUMBERS: Final = np.empty(0)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be added up.

    Attributes:
        model: of all arms.
        versions: by arm; each its own.
        measures: in this order.
        first_ms: when the first may have been answered, wall clock, milliseconds.
        now_ms: the same; of a measure that waits, rows count up to so long before. So do those of
            later: they were answered before the clock was set back.
        threshold: above which a positive class is predicted.
        shares: by arm, that the experiment gave; None: whatever chance counts.
        half_life_ms: a row weighs half as much after so long; None: all weigh the same.
    """

    model: str
    versions: Mapping[str, int]
    measures: Sequence[Measure]
    first_ms: int
    now_ms: int
    threshold: float
    shares: Mapping[str, float] | None = None
    half_life_ms: float | None = None


def add_up(
    wanted: Wanted, segments: Sequence[Segment], metrics: Metrics, series: Sequence[Series]
) -> Evidence:
    """What arms add up to.

    Raises:
        StoreFailed: a file cannot be mapped.
    """
    found = Evidence.of(wanted.versions, len(wanted.measures))
    for place, (measure, by_arm) in enumerate(zip(wanted.measures, found.sums, strict=True)):
        for segment, rows in _rows(wanted, measure, segments, metrics, series):
            assigned = _assigned(wanted, rows)
            if place == 0:
                _count(found, rows, assigned)
            weights = _weights(wanted, segment, rows)
            for arm, own in enumerate(by_arm.values()):
                its = assigned & (rows.arms == arm)
                its_weights = None if weights is None else weights[its]
                own.add(rows.values[its], rows.clusters[its], its_weights)
    return found


def replayed(
    wanted: Wanted,
    policy: Mapping[str, float],
    segments: Sequence[Segment],
    metrics: Metrics,
    series: Sequence[Series],
) -> Replay:
    """What another policy would have come to by the first measure.

    Args:
        wanted: which rows.
        policy: the share that it gives each arm.
        segments: with all records.
        metrics: all numbers.
        series: what records are of.

    Raises:
        StoreFailed: a file cannot be mapped.
    """
    replay, (measure, *_) = Replay(), wanted.measures
    given = np.array([policy.get(name, 0.0) for name in wanted.versions])
    for _, rows in _rows(wanted, measure, segments, metrics, series):
        some = _assigned(wanted, rows)
        chances = lots.chances(rows.codes[some])
        replay.add(rows.values[some], chances, given[rows.arms[some]], rows.clusters[some])
    return replay


def _count(found: Evidence, rows: Rows, assigned: Flags) -> None:
    found.others += int((~assigned).sum())
    firsts = assigned & (rows.firsts == 1)
    for arm, counts in enumerate(found.requests.values()):
        counts += np.bincount(rows.clusters[firsts & (rows.arms == arm)], minlength=CLUSTERS)


def _weights(wanted: Wanted, segment: Segment, rows: Rows) -> Reals | None:
    if wanted.half_life_ms is None:
        return None
    age_ms = np.maximum(wanted.now_ms - segment.records()[rows.places, TIME_MS], 0)
    found: Reals = np.exp2(-age_ms / wanted.half_life_ms)
    return found


def _assigned(wanted: Wanted, rows: Rows) -> Flags:
    found: Flags = rows.codes > 0
    if wanted.shares is not None:
        told = [lots.code_of(wanted.shares[name]) for name in wanted.versions]
        found = rows.codes == np.array(told)[rows.arms]
    return found


def _rows(
    wanted: Wanted,
    measure: Measure,
    segments: Sequence[Segment],
    metrics: Metrics,
    series: Sequence[Series],
) -> Iterator[tuple[Segment, Rows]]:
    places = {version: place for place, version in enumerate(wanted.versions.values())}
    known = [one for one in series if one.model == wanted.model and one.version in places]
    arm_of = np.full(max((one.id for one in known), default=0) + 1, NOBODY)
    for one in known:
        arm_of[one.id] = places[one.version]
    until_ms = wanted.now_ms - int(measure.wait_s * 1000.0)
    absent = int(measure.absent == "zero")
    some = (wanted.first_ms, until_ms, which(measure), absent, wanted.now_ms)
    asked = np.array(some, np.int64)
    for segment in segments:
        if segment.count and segment.last_ms >= wanted.first_ms:
            numbers = _numbers(metrics, segment, measure.metric)
            yield segment, find(segment.records(), numbers, arm_of, asked, wanted.threshold)


def _numbers(metrics: Metrics, segment: Segment, name: str | None) -> Reals:
    number = None if name is None else metrics.names.get(name)
    if number is None or number not in segment.columns:
        return _NO_NUMBERS
    return segment.columns.values(number)[: segment.count]

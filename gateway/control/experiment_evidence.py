"""Adds up what the ledger says of an experiment's arms.

Knows records, series and columns of metrics. Knows nothing of what is made of the sums. Blocking.

Rows count that were left to chance: by the chances that the experiment gave them (an A/B test), or
by any (a bandit, whose shares move; a replay). All of it is read anew each time, so that outcomes
that come late or are corrected count as they are, and a restart changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gateway.config.experiments import Measure
from gateway.control.ledger_store import Series
from gateway.experiments.assessment import Evidence
from gateway.experiments.replay import Replay
from gateway.experiments.sums import CLUSTERS, Reals, Sums
from gateway.experiments.values import values_of
from gateway.outcomes.ledger import Ledger
from gateway.outcomes.metric_sums import Metrics
from gateway.outcomes.segment import Segment
from kernels import lots
from kernels.ledger import TIME_MS, Words, rows_of, series_of

Flags = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be added up.

    Attributes:
        model: of all arms.
        versions: by arm; each its own.
        measures: in this order.
        first_ms: when the first may have been answered, wall clock, milliseconds.
        now_ms: the same; of a measure that waits, rows count up to so long before.
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


class _Rows(NamedTuple):
    """Rows of one file that are of some arm.

    Attributes:
        records: of them.
        arms: (rows,) places of their arms.
        lots, clusters: (rows,) as `kernels.lots` has them.
        numbers: of a metric, (rows,) NaN where nothing is known; None: of no row.
    """

    records: Words
    arms: Words
    lots: Words
    clusters: Words
    numbers: Callable[[str | None], Reals | None]


def add_up(wanted: Wanted, ledger: Ledger, metrics: Metrics, series: Sequence[Series]) -> Evidence:
    """What arms add up to.

    Raises:
        StoreFailed: a file cannot be mapped.
    """
    found = Evidence.of(wanted.versions, len(wanted.measures))
    for rows in _rows(wanted, ledger, metrics, series):
        assigned = _assigned(wanted, rows)
        found.others += int((~assigned).sum())
        firsts = assigned & (rows_of(rows.records) == 0)
        for place, counts in enumerate(found.requests.values()):
            its = rows.clusters[firsts & (rows.arms == place)]
            counts += np.bincount(its, minlength=CLUSTERS)
        for measure, by_arm in zip(wanted.measures, found.sums, strict=True):
            _add(wanted, measure, rows, assigned, list(by_arm.values()))
    return found


def replayed(
    wanted: Wanted,
    policy: Mapping[str, float],
    ledger: Ledger,
    metrics: Metrics,
    series: Sequence[Series],
) -> Replay:
    """What another policy would have come to by the first measure.

    Args:
        wanted: which rows.
        policy: the share that it gives each arm.
        ledger: all records.
        metrics: all numbers.
        series: what records are of.

    Raises:
        StoreFailed: a file cannot be mapped.
    """
    replay, (measure, *_) = Replay(), wanted.measures
    given = np.array([policy.get(name, 0.0) for name in wanted.versions])
    for rows in _rows(wanted, ledger, metrics, series):
        some = _assigned(wanted, rows) & _old_enough(wanted, measure, rows)
        rewards = values_of(rows.records, measure, rows.numbers(measure.metric), wanted.threshold)
        chances = lots.chances(rows.lots[some])
        replay.add(rewards[some], chances, given[rows.arms[some]], rows.clusters[some])
    return replay


def _add(
    wanted: Wanted, measure: Measure, rows: _Rows, assigned: Flags, sums: Sequence[Sums]
) -> None:
    values = values_of(rows.records, measure, rows.numbers(measure.metric), wanted.threshold)
    some = assigned & _old_enough(wanted, measure, rows)
    weights = None
    if wanted.half_life_ms is not None:
        age_ms = np.maximum(wanted.now_ms - rows.records[:, TIME_MS], 0)
        weights = np.exp2(-age_ms / wanted.half_life_ms)
    for place, own in enumerate(sums):
        its = some & (rows.arms == place)
        own.add(values[its], rows.clusters[its], None if weights is None else weights[its])


def _old_enough(wanted: Wanted, measure: Measure, rows: _Rows) -> Flags:
    until_ms = wanted.now_ms - int(measure.wait_s * 1000.0)
    found: Flags = rows.records[:, TIME_MS] <= until_ms
    return found


def _assigned(wanted: Wanted, rows: _Rows) -> Flags:
    codes = lots.codes(rows.lots)
    found: Flags = codes > 0
    if wanted.shares is not None:
        told = [lots.lot(wanted.shares[name]) for name in wanted.versions]
        found = codes == lots.codes(np.array(told, np.int64))[rows.arms]
    return found


def _rows(
    wanted: Wanted, ledger: Ledger, metrics: Metrics, series: Sequence[Series]
) -> Iterator[_Rows]:
    places = {version: place for place, version in enumerate(wanted.versions.values())}
    known = [one for one in series if one.model == wanted.model and one.version in places]
    if not known:
        return
    arm_of = np.full(max(one.id for one in known) + 2, -1)
    for one in known:
        arm_of[one.id] = places[one.version]
    for segment in ledger.segments():
        if not segment.count or segment.last_ms < wanted.first_ms:
            continue
        records = segment.records()
        # Series beyond those that are known have the last place, which is nobody's.
        arms = arm_of[np.minimum(series_of(records), len(arm_of) - 1)]
        chosen = np.flatnonzero((arms >= 0) & (records[:, TIME_MS] >= wanted.first_ms))
        if len(chosen):
            some = records[chosen]
            its = lots.lots_of(some)
            numbers = partial(_numbers, metrics, segment, chosen)
            yield _Rows(some, arms[chosen], its, lots.clusters(some, its), numbers)


def _numbers(metrics: Metrics, segment: Segment, chosen: Words, name: str | None) -> Reals | None:
    number = None if name is None else metrics.names.get(name)
    if number is None or number not in segment.columns:
        return None
    found: Reals = segment.columns.values(number)[chosen]
    return found

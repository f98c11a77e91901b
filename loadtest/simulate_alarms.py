"""Simulated days of traffic, looked at every second: how often do alarms come, and how soon?

    python -m loadtest.simulate_alarms --days 500                       # independent rows
    python -m loadtest.simulate_alarms --days 500 --correlation 0.9
    python -m loadtest.simulate_alarms --days 200 --shift 0.25 --after 3600 --seconds 7200
    python -m loadtest.simulate_alarms --days 500 --categories 8        # 8 of equal shares a column

Each day has a fresh reference and a fresh start: nothing is known yet of how rows depend on each
other. Columns are standard normal, or the category that such a number falls
into, and independent of each other; rows follow each other as AR(1) with the same marginal. A
shifted day moves the first column for good, `after` seconds into it.

Every statistic is the product's, by its kernels; a test holds a day's verdict against
`gateway.drift`. What is left out is only work that cannot change the outcome: a window is not
judged while its chi-square says that its e-value cannot have reached the threshold.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np

from gateway.drift import rules as defaults
from gateway.drift.baseline import Baseline
from gateway.drift.rules import LOOKBACK_ROWS, Rules
from kernels import dependence, evidence
from loadtest.report import LATEST, tell

BINS, CELLS, SPAN = 60, 512, 4.5
PANE_S = int(defaults.PANE_S)
KEPT = LATEST.with_name("alarms.jsonl")
Floats = np.ndarray[Any, np.dtype[np.float64]]

_draw = numba.njit(nogil=True)
# Compiled code has the one generator that NumPy calls legacy: hence the noqa's.


@_draw
def _edges(rows: int, correlation: float, bins: int) -> Any:
    """A column's edges, at order statistics of a reference drawn as live rows are."""
    values = np.empty(rows)
    state, fresh = np.random.standard_normal(), math.sqrt(1.0 - correlation * correlation)  # noqa: NPY002
    for row in range(rows):
        state = correlation * state + fresh * np.random.standard_normal()  # noqa: NPY002
        values[row] = state
    values.sort()
    edges = np.empty(bins - 1)
    counts = np.empty(bins, np.int64)
    before = 0
    for bin in range(bins - 1):
        upto = rows * (bin + 1) // bins
        edges[bin] = values[upto - 1]
        counts[bin] = upto - before
        before = upto
    counts[bins - 1] = rows - before
    return edges, counts


@_draw
def _cells(edges: Any) -> Any:
    """The first bin that a value in each cell of an even grid can lie in."""
    first = np.zeros(CELLS + 2, np.int64)
    for cell in range(1, CELLS + 2):
        start = -SPAN + (cell - 1) * (2 * SPAN / CELLS)
        while first[cell] < len(edges) and edges[first[cell]] < start:
            first[cell] += 1
    return first


@_draw
def _distance(counts: Any, reference: Any, rows: int, reference_rows: int, ordered: bool) -> float:
    """KS of bins; of categories the largest difference of a share."""
    largest, live, expected = 0.0, 0, 0
    for bin in range(len(counts)):
        if not ordered:
            live, expected = 0, 0
        live += counts[bin]
        expected += reference[bin]
        largest = max(largest, abs(live / rows - expected / reference_rows))
    return largest


@_draw
def least_chi_square(rows: float, log_e: float, reference_rows: float) -> float:
    """The chi-square against the reference's shares below which ln e stays below `log_e`.

    By its quadratic form ln e is at most half of chi-square / (1 + rows / reference rows), less a
    few for what the groups' scatter costs. Few rows can be further from equal shares than that form
    is good for.
    """
    return log_e * (1.0 + rows / reference_rows) / (0.5 if rows >= 500.0 else 1.0)


@_draw
def simulate_column(
    seed: int,
    seconds: int,
    rate: int,
    correlation: float,
    reference_rows: int,
    reference_correlation: float,
    reference_effect: float,
    shift: float,
    points: float,
    after: int,
    bins: int,
    ordered: bool,
    lookback: Any,
    group_of: Any,
    groups: int,
    scores: Any,
    candidate: float,
    min_rows: int,
    min_pairs: int,
    min_batch: float,
    caution: float,
    margin: float,
    concentration: float,
) -> Any:
    """One column's day: every look at which it could be part of an alarm, and the last effect.

    Returns:
        (n, 4) of second, window, natural log of e, distance; and the design effect at the end.
    """
    np.random.seed(seed)  # noqa: NPY002
    edges, reference = _edges(reference_rows, reference_correlation, bins)
    first = _cells(edges)
    width = scores.shape[1]
    expected = np.zeros(width, np.int64)
    for bin in range(bins):
        expected[group_of[bin]] += reference[bin]
    shares = expected / reference_rows
    each_share, each_score = shares.reshape(1, -1), scores.reshape(1, 2, -1)
    panes = seconds // PANE_S + 1
    upto = np.zeros((panes + 1, bins), np.int64)  # at the start of each pane
    grouped_upto = np.zeros((panes + 1, width), np.int64)
    now, grouped = np.zeros(bins, np.int64), np.zeros(width, np.int64)
    learnt = np.zeros(width, np.int64)  # what the design effect has seen
    live, window = np.zeros(width, np.int64), np.zeros(bins, np.int64)
    filling = np.zeros((dependence.SCALES, 1, width), np.int64)
    previous = np.zeros_like(filling)
    sums = np.zeros((dependence.SCALES, 1, dependence.READINGS))
    pairs = np.zeros((dependence.SCALES, 1), np.int64)
    matrices = np.zeros((dependence.SCALES, 1, groups, groups))
    places = np.full(1, -1 if ordered else 0)
    fresh_counts = np.zeros((1, width), np.int64)
    one = np.full(1, groups)
    effect = np.full(1, np.nan)
    trusted = np.nan  # what the effect will not fall below before windows are looked at anew
    next_look = np.zeros(len(lookback), np.int64)
    found = [(0.0, 0.0, 0.0, 0.0)]
    found.clear()
    null = reference_rows / reference_effect + groups / 2
    reach = math.sqrt(1.0 / shares[:groups].min() - 1.0)
    state = np.random.standard_normal()  # noqa: NPY002
    innovation = math.sqrt(1.0 - correlation * correlation)
    for second in range(seconds):
        moved = shift if second >= after else 0.0
        # Of rows that become the first category: so many raise its share by `points`.
        moved_points = points / (1.0 - reference[0] / reference_rows) if second >= after else 0.0
        for _ in range(rate):
            state = correlation * state + innovation * np.random.standard_normal()  # noqa: NPY002
            value = state + moved
            place = (value + SPAN) * (CELLS / (2 * SPAN)) + 1.0
            bin = first[int(min(max(place, 0.0), CELLS + 1.0))]
            while bin < bins - 1 and edges[bin] < value:
                bin += 1
            if moved_points > 0.0 and np.random.random() < moved_points:  # noqa: NPY002
                bin = 0
            now[bin] += 1
            grouped[group_of[bin]] += 1
        rows = (second + 1) * rate
        pane = second // PANE_S
        for group in range(width):
            fresh_counts[0, group] = grouped[group] - learnt[group]
        learnt[:] = grouped
        dependence.tick(
            second + 1,
            fresh_counts,
            one,
            each_share,
            each_score,
            places,
            filling,
            previous,
            sums,
            pairs,
            matrices,
        )
        dependence.estimate(sums, pairs, min_pairs, min_batch, caution, effect)
        effect[0] = 1.0 + margin * (effect[0] - 1.0)
        if not math.isnan(effect[0]) and (math.isnan(trusted) or effect[0] < trusted):
            next_look[:] = 0  # a smaller effect makes more of what was passed over
            trusted = effect[0] * 0.7
        if not math.isnan(effect[0]):
            d = effect[0]
            for at in range(len(lookback)):
                if second < next_look[at]:
                    continue
                # The latest pane from whose start on there are enough rows; else all there are.
                start = max(0, (rows - lookback[at]) // (rate * PANE_S))
                n = rows - start * rate * PANE_S
                if n < min_rows or (start == 0 and at > 0 and rows < lookback[at - 1]):
                    continue  # a longer look back sees the same rows
                apart = 0.0
                for group in range(groups):
                    live[group] = grouped[group] - grouped_upto[start, group]
                    off = live[group] - n * shares[group]
                    apart += off * off / shares[group]
                # One row moves the root of `apart` by `reach` at most.
                n_least = min(n, lookback[at])
                least = least_chi_square(n_least / trusted, candidate, null)
                spare = math.sqrt(n_least * trusted * least) - math.sqrt(apart)
                if spare > 0.0:
                    changed = spare / reach  # rows that come or go before it matters
                    next_look[at] = second + max(1, int((changed / rate - PANE_S) / 2))
                    continue
                log_e = evidence.column_log_e(
                    expected, live, groups, reference_effect, d, concentration
                )
                if log_e >= candidate:
                    for bin in range(bins):
                        window[bin] = now[bin] - upto[start, bin]
                    found.append(
                        (
                            float(second),
                            float(at),
                            log_e,
                            _distance(window, reference, n, reference_rows, ordered),
                        )
                    )
        if second % PANE_S == PANE_S - 1:
            upto[pane + 1] = now
            grouped_upto[pane + 1] = grouped
    return found, effect[0]


def baseline(rows: int, categories: int = 0) -> Baseline:
    """What every reference of so many rows comes to: its edges differ, its counts do not."""
    bins = categories or BINS
    counts = np.diff(rows * np.arange(bins + 1) // bins)
    return Baseline.of(counts[None], np.array([bins]), np.array([not categories]))


def simulate_day(day: int, options: argparse.Namespace, rules: Rules) -> dict[str, Any]:
    """A day's first alarm, as the product's rules give it: its second, rows and columns."""
    plan = baseline(options.reference, options.categories)
    lookback = np.array(LOOKBACK_ROWS)
    candidate = -rules.log10_level * math.log(10.0)  # less cannot be part of an alarm
    found, effects = [], []
    for column in range(options.columns):
        looks, effect = simulate_column(
            options.seed + day * options.columns + column,
            options.seconds,
            options.rate,
            options.correlation,
            options.reference,
            options.reference_correlation,
            options.reference_effect,
            options.shift if column == 0 else 0.0,
            options.points if column == 0 else 0.0,
            options.after,
            options.categories or BINS,
            not options.categories,
            lookback,
            plan.group_of[0],
            int(plan.groups[0]),
            plan.scores[0],
            candidate,
            rules.min_rows,
            rules.min_pairs,
            rules.min_batch,
            rules.caution,
            rules.margin,
            evidence.CONCENTRATION,
        )
        found += [(*look, column) for look in looks]
        effects.append(effect)
    alarm = first_alarm(found, options.columns, rules)
    return {"day": day, "effects": effects, "alarm": alarm}


def first_alarm(
    looks: Sequence[tuple[float, float, float, float, int]], columns: int, rules: Rules
) -> dict[str, Any] | None:
    """The first second at which e-BH over one look-back names a column that is far away."""
    together: dict[tuple[float, float], list[tuple[float, float, int]]] = {}
    for second, at, log_e, ks, column in looks:
        together.setdefault((second, at), []).append((log_e, ks, column))
    for (second, _), named in sorted(together.items()):
        values = np.full(columns, -np.inf)
        for log_e, _, column in named:
            values[column] = log_e / math.log(10.0)
        sure = evidence.e_bh(values, rules.log10_level)
        drifted = [column for _, ks, column in named if sure[column] and ks >= rules.ks_floor]
        if drifted:
            return {"second": int(second), "columns": sorted(drifted)}
    return None


def exact_interval(events: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's interval for a probability."""

    def tail(p: float, most: int) -> float:
        """P(at most so many of the trials)."""
        logs = [
            math.lgamma(trials + 1)
            - math.lgamma(k + 1)
            - math.lgamma(trials - k + 1)
            + k * math.log(p)
            + (trials - k) * math.log1p(-p)
            for k in range(most + 1)
        ]
        return math.fsum(map(math.exp, logs))

    def root(most: int, wanted: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if tail(middle, most) > wanted else (low, middle)
        return low

    spare = (1.0 - confidence) / 2
    low = 0.0 if events == 0 else root(events - 1, 1.0 - spare)
    high = 1.0 if events == trials else root(events, spare)
    return low, high


def report(days: Sequence[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """What the days come to."""
    alarms = [day["alarm"] for day in days if day["alarm"]]
    effects = np.array([day["effects"] for day in days])
    said: dict[str, Any] = {
        "days": len(days),
        "rows": len(days) * options.seconds * options.rate,
        "alarmed": len(alarms),
        "effect_quartiles": np.round(np.nanquantile(effects, [0.05, 0.5, 0.95]), 2).tolist(),
    }
    if options.shift or options.points:
        before = [a for a in alarms if a["second"] < options.after]
        after = [a["second"] for a in alarms if a["second"] >= options.after]
        rows = [(second + 1 - options.after) * options.rate for second in after]
        missing = [math.inf] * (len(days) - len(before) - len(rows))
        said |= {
            "alarmed_before": len(before),
            "rows_to_alarm": np.quantile(rows + missing, [0.1, 0.5, 0.9], method="lower").tolist(),
            "others_named": sum(a["columns"] != [0] for a in alarms),
        }
    else:
        low, high = exact_interval(len(alarms), len(days))
        share = len(alarms) / len(days)
        said |= {"share": share, "interval_95": [round(low, 6), round(high, 6)]}
        said["alarms_at"] = [a["second"] for a in alarms][:20]
    return said


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.simulate_alarms",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--days", type=int, default=100)
    add("--seconds", type=int, default=86_400, help="of a day, each of them looked at")
    add("--rate", type=int, default=1, help="rows a second")
    add("--columns", type=int, default=30)
    add("--categories", type=int, default=0, help="of equal shares; 0: numbers in bins")
    add("--correlation", type=float, default=0.0, help="of a row with the next")
    add("--reference", type=int, default=5000, help="rows of it")
    add("--reference-correlation", type=float, default=0.0)
    add("--reference-effect", type=float, default=1.0, help="that its rows are given")
    add("--shift", type=float, default=0.0, help="of the first column, in standard deviations")
    add("--points", type=float, default=0.0, help="by which its first category's share rises")
    add("--after", type=int, default=0, help="second of the shift")
    add("--seed", type=int, default=1)
    add("--keep", action="store_true", help="for the page, which adds up all that was kept")
    for name in ("min_pairs", "min_batch", "caution", "margin", "ks_floor", "false_alarms_per_day"):
        kind = type(getattr(defaults.DEFAULT, name))
        add("--" + name.replace("_", "-"), type=kind, default=getattr(defaults.DEFAULT, name))
    options = parser.parse_args(argv)
    rules = Rules(
        false_alarms_per_day=options.false_alarms_per_day,
        ks_floor=options.ks_floor,
        min_pairs=options.min_pairs,
        min_batch=options.min_batch,
        caution=options.caution,
        margin=options.margin,
    )
    began, days = time.monotonic(), []
    for day in range(options.days):
        days.append(simulate_day(day, options, rules))
        if day % 50 == 49:
            alarmed = sum(bool(d["alarm"]) for d in days)
            took = time.monotonic() - began
            print(f"{day + 1} days, {alarmed} alarmed, {took:.0f} s", file=sys.stderr, flush=True)
    tell(vars(options) | report(days, options), KEPT if options.keep else None)
    return 0


if __name__ == "__main__":
    sys.exit(main())

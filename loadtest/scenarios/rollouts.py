"""How often candidates are rolled back, rightly and wrongly, as kept runs of the simulation say.

Knows what `python -m loadtest.simulate_rollouts --keep` has written. Runs none itself: rollouts in
the thousands take long.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from loadtest.bench import Bench
from loadtest.servers import CannotRun
from loadtest.simulate_alarms import exact_interval
from loadtest.simulate_rollouts import KEPT
from loadtest.turns import Measure, Result

# What tells runs apart that are added up.
ABOUT: Final = (
    *("errors", "candidate_errors", "non_finite", "candidate_non_finite", "candidate_cost"),
    *("burst", "percent", "rows", "rate", "bake", "alpha"),
)
FIXED_SAMPLE: Final = 2315
"""Rows of each side by which 2 % are told from 1 %, at 5 %, in 80 of 100 tests of a fixed size."""


def rollouts(_: Bench) -> list[Result]:
    """Candidates that are rolled back, and after how many rows, of all rollouts that were kept."""
    if not KEPT.exists():
        raise CannotRun("no simulation was kept: python -m loadtest.simulate_rollouts --keep")
    return of_runs([json.loads(line) for line in KEPT.read_text(encoding="utf-8").splitlines()])


def of_runs(runs: Sequence[dict[str, Any]]) -> list[Result]:
    """One line for all runs of a kind."""
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in runs:
        found.setdefault(tuple(run[name] for name in ABOUT), []).append(run)
    return [_result(some) for some in found.values()]


def _result(runs: Sequence[dict[str, Any]]) -> Result:
    of, ended, back = runs[0], _sum(runs, "ended"), _sum(runs, "rolled_back")
    low, high = (100 * end for end in exact_interval(back, ended))
    detail = {
        "rollouts": ended,
        "rolled_back": back,
        "interval_95_percent": [low, high],
        "by_guard": dict(sum((Counter(run["by_guard"]) for run in runs), Counter())),
        "simulated_at": sorted({f"{run['commit']}{' and changes' * run['dirty']}" for run in runs}),
    }
    if of["candidate_errors"] == of["errors"]:
        kind = "independent" if of["burst"] == 1 else f"in bursts of {of['burst']}"
        title = f"{ended:,} simulated rollouts of identical candidates, failures {kind}"
        label = "% rolled back, upper end of the exact 95 % interval"
        # No target is set for failures that come together: they are estimated, not known.
        target = ("<=", 1.0) if of["burst"] == 1 else ("", 0.0)
        measure = Measure(label, [high], *target, unit="%")
        return Result(f"rollouts-identical-{of['burst']}", title, [measure], detail=detail)
    where = "the default steps" if of["percent"] is None else f"{of['percent']:g} % of traffic"
    title = (
        f"{ended:,} simulated candidates with {100 * of['candidate_errors']:g} % errors against"
        f" {100 * of['errors']:g} %, at {where}"
    )
    detail["rows_at_10_50_90_percent"] = of["rows_to_rollback"]
    medians = [run["rows_to_rollback"][1] for run in runs]
    measures = [
        Measure("% rolled back, lower end of the exact 95 % interval", [low], ">=", 95.0, "%"),
        Measure("candidate's rows, median", medians, "<=", 2 * FIXED_SAMPLE, "rows"),
    ]
    return Result(f"rollouts-worse-{of['candidate_errors']:g}", title, measures, detail=detail)


def _sum(runs: Sequence[dict[str, Any]], name: str) -> int:
    return sum(run[name] for run in runs)

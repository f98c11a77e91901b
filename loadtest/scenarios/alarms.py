"""False alarms, and how soon a shift is found, as kept runs of the simulation say.

Knows what `python -m loadtest.simulate_alarms --keep` has written. Runs none itself: days in the
thousands take hours.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from loadtest.bench import Bench
from loadtest.servers import CannotRun
from loadtest.simulate_alarms import KEPT, exact_interval
from loadtest.turns import Measure, Result

# What tells runs apart that are added up.
ABOUT = ("correlation", "rate", "shift", "seconds", "columns", "reference", "categories", "points")


def alarms(_: Bench) -> list[Result]:
    """Days with a false alarm, and rows to an alarm, of all simulated days that were kept."""
    if not KEPT.exists():
        raise CannotRun("no simulation was kept: python -m loadtest.simulate_alarms --keep")
    return of_runs([json.loads(line) for line in KEPT.read_text(encoding="utf-8").splitlines()])


def of_runs(runs: Sequence[dict[str, Any]]) -> list[Result]:
    """One line for all runs of a kind."""
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in runs:
        found.setdefault(tuple(run.get(name, 0) for name in ABOUT), []).append(run)
    return [
        _shifted(some) if some[0]["shift"] or some[0].get("points") else _quiet(some)
        for some in found.values()
    ]


def _quiet(runs: Sequence[dict[str, Any]]) -> Result:
    days, alarmed = _sum(runs, "days"), _sum(runs, "alarmed")
    low, high = (100 * end for end in exact_interval(alarmed, days))
    dependent = runs[0]["correlation"] > 0
    kind = f"AR(1) {runs[0]['correlation']:g}" if dependent else "independent"
    title = f"{days:,} simulated days without drift, {kind} rows, looked at every second"
    if categories := runs[0].get("categories", 0):
        title, kind = f"{title}, columns of {categories} categories", f"categories-{kind}"
    label = "% of days with a false alarm, upper end of the exact 95 % interval"
    measure = Measure(label, [high], "<=", 3.0 if dependent else 1.0, "%")
    detail = {"alarmed": alarmed, "days": days, "interval_95_percent": [low, high]}
    return Result(f"alarms-{kind}", title, [measure], detail=detail | _origin(runs))


def _shifted(runs: Sequence[dict[str, Any]]) -> Result:
    of = runs[0]
    medians = [run["rows_to_alarm"][1] for run in runs]
    what, name = f"A shift by {of['shift']:g} standard deviations", f"shift-{of['rate']}"
    if points := of.get("points", 0.0):
        what = f"{100 * points:g} points more of 1 of {of['categories']} categories"
        name = f"share-{of['rate']}-{of['correlation']:g}"
        what += f" (AR(1) {of['correlation']:g} rows)" if of["correlation"] else ""
    title = f"{what} in 1 of {of['columns']} features, {of['rate']} rows a second"
    detail = {
        "days": _sum(runs, "days"),
        "rows_at_10_50_90_percent": of["rows_to_alarm"],
        "days_that_named_others": _sum(runs, "others_named"),
    }
    measure = Measure("rows to the alarm, median", medians, "<=", 2000, "rows")
    return Result(f"alarms-{name}", title, [measure], detail=detail | _origin(runs))


def _sum(runs: Sequence[dict[str, Any]], name: str) -> int:
    return sum(run[name] for run in runs)


def _origin(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    commits = {str(run["commit"]) + (" and changes" if run["dirty"] else "") for run in runs}
    return {"simulated_at": sorted(commits)}

"""What can be asked of the ledger and of outcomes through the control port.

Knows parameters and answers. Knows nothing of how records are kept or figures are made.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

from gateway.access.durations import read_duration
from gateway.access.roles import Permission
from gateway.access.scopes import principal_of
from gateway.control.audit import Actor
from gateway.control.drift_documents import VersionPath
from gateway.control.operations import Asked, Operation
from gateway.control.outcome_documents import (
    MetricForgotten,
    MetricPath,
    OutcomeList,
    OutcomesStatus,
    PerformanceQuery,
    PerformanceReport,
    Received,
)
from gateway.control.outcome_reports import HeldOut, Report
from gateway.control.outcomes import Outcomes
from gateway.drift.history import MAX_WINDOW_S, MIN_WINDOW_S
from gateway.errors import InvalidParameter, NotFound, StoreFailed
from gateway.outcomes.documents import MAX_BODY_BYTES, read_values
from gateway.outcomes.intervals import Interval
from gateway.outcomes.results import document
from gateway.profiles.values import Calibration

Record = Callable[[Actor, str, str, None, None], Awaitable[None]]
"""Writes an entry of the audit; returns when it is on disk."""


def operations(
    outcomes: Outcomes, calibration: Callable[[str, int], Calibration | None], record: Record
) -> tuple[Operation, ...]:
    """The table.

    Args:
        outcomes: the ledger.
        calibration: of a version's scores, in its profile.
        record: the audit.
    """

    async def receive_outcomes(asked: Asked) -> Any:
        given: OutcomeList = asked.body
        principal = principal_of(asked.request.scope)
        found = read_values(given.outcomes)
        models = None if principal is None else principal.models
        return document(found.faults, await outcomes.receive(found.arrivals, models))

    async def show_performance(asked: Asked) -> Any:
        query: PerformanceQuery = asked.query
        path: VersionPath = asked.path
        window_s = read_window(query.window)
        known = calibration(path.model, path.version)
        found = await outcomes.performance(path.model, path.version, window_s, known, query.slice)
        return _report(found) | {"slice": query.slice}

    async def outcomes_status(_: Asked) -> Any:
        return await outcomes.status()

    async def forget_metric(asked: Asked) -> Any:
        name = asked.path.metric
        if name not in (await outcomes.status())["metrics"]:
            raise NotFound(f"metric '{name}': there is none of that name")
        await record(asked.actor, "metric forget", f"metric/{name}", None, None)
        await outcomes.forget_metric(name)
        return {"metric": name}

    return (
        Operation(
            "GET",
            "/api/models/{model}/versions/{version}/performance",
            show_performance,
            "How right a version was, by the outcomes that are known",
            Permission.READ,
            scope="model",
            answer=PerformanceReport,
            path_parameters=VersionPath,
            query=PerformanceQuery,
            bulky=True,
            errors=(NotFound, InvalidParameter, StoreFailed),
        ),
        Operation(
            "POST",
            "/api/outcomes",
            receive_outcomes,
            "Join outcomes to what was answered",
            Permission.OPERATE,
            scope="caller",
            answer=Received,
            body=OutcomeList,
            max_body_bytes=MAX_BODY_BYTES,
            errors=(StoreFailed,),
        ),
        Operation(
            "GET",
            "/api/outcomes",
            outcomes_status,
            "What the ledger holds, what it lost, and what became of outcomes",
            Permission.READ,
            answer=OutcomesStatus,
            errors=(StoreFailed,),
        ),
        Operation(
            "DELETE",
            "/api/outcomes/metrics/{metric}",
            forget_metric,
            "Forget a business metric with all its numbers, which makes room for another",
            Permission.ADMINISTER,
            answer=MetricForgotten,
            path_parameters=MetricPath,
            errors=(NotFound, StoreFailed),
        ),
    )


def read_window(text: str | None) -> float | None:
    """Seconds that a window looks back; None where none was asked for.

    Raises:
        InvalidParameter: it is none, or too short or too long.
    """
    if text is None:
        return None
    window_s = read_duration(text, "window")
    if not MIN_WINDOW_S <= window_s <= MAX_WINDOW_S:
        raise InvalidParameter(f"window: expected 1m to 30d, got '{text}'")
    return window_s


def _report(report: Report) -> dict[str, Any]:
    since = report.oldest_ms
    found = asdict(report.found)
    for line in found["classes"]:
        line["name"] = report.classes.get(line["number"])
        line["intervals"] = _ends(line["intervals"])
    found["intervals"] = _ends(report.found.intervals)
    if report.found.estimate is not None:
        found["estimate"]["bands"] = _ends(report.found.estimate.bands)
    return {
        "model": report.series.model,
        "version": report.series.version,
        "window_s": report.window_s,
        "end": report.now,
        "ledger_since": None if since is None else since / 1000.0,
        **found,
        "metrics": [asdict(one) for one in report.metrics],
        "held_out": None if report.held_out is None else _held_out(report.held_out),
    }


def _held_out(held: HeldOut) -> dict[str, Any]:
    found = held.found
    return {
        "share": held.share,
        "policy": held.policy,
        "records": found.records,
        "labelled": found.labelled,
        "coverage": found.coverage,
        "figures": found.figures,
        "n": found.n,
        "intervals": _ends(found.intervals),
        "without_interval": found.without_interval,
    }


def _ends(intervals: Mapping[str, Interval | None]) -> dict[str, Any]:
    return {
        name: None if ends is None else {"low": ends[0], "high": ends[1]}
        for name, ends in intervals.items()
    }

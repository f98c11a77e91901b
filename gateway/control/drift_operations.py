"""What can be asked of drift through the control port.

Knows parameters and answers. Knows nothing of how figures are made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any

from gateway.access.durations import read_duration
from gateway.access.roles import Permission
from gateway.config.against import read_against
from gateway.control.drift import Drift
from gateway.control.drift_documents import DriftQuery, DriftReport, VersionPath
from gateway.control.operations import Asked, Operation
from gateway.control.watched_series import ALL
from gateway.drift.history import MAX_WINDOW_S, MIN_WINDOW_S
from gateway.errors import InvalidParameter, NotFound


def operations(
    drift: Drift,
    counting: Executor,
    breaches: Callable[[str, int, float], dict[str, Any] | None],
    part_asked: Callable[[str, str], str],
) -> tuple[Operation, ...]:
    """The table.

    Args:
        drift: makes reports.
        counting: the one thread that histories are read and written on.
        breaches: what a version's inputs broke of its contract in the last seconds; None: it has
            none. On `counting`.
        part_asked: what a model's slice (`SLICING:GROUP`) is called where it is counted.
    """

    async def show_drift(asked: Asked) -> Any:
        query: DriftQuery = asked.query
        window_s = read_duration(query.window, "window")
        if not MIN_WINDOW_S <= window_s <= MAX_WINDOW_S:
            raise InvalidParameter(f"window: expected 1m to 30d, got '{query.window}'")
        against = read_against(query.reference, window_s)
        path: VersionPath = asked.path
        bins = query.bins == "1"
        name, version = path.model, path.version
        part = ALL if query.slice is None else part_asked(name, query.slice)
        if query.against is not None:
            _alone("against", query, {"rows", "variant", "slice", "reference"})
            ask = partial(drift.report_against, name, version, query.against, window_s, bins)
        elif query.rows is None:
            variant = query.variant
            ask = partial(drift.report, name, version, window_s, variant, bins, against, part)
        else:
            # Windows by rows are of all variants, against the profile.
            _alone("rows", query, {"window", "variant", "reference"})
            ask = partial(drift.report_of_rows, name, version, query.rows, bins, part)

        def find() -> tuple[dict[str, Any], dict[str, Any] | None]:
            report = ask()
            looked_s = window_s if query.rows is None else report["end"] - report["start"]
            return report, breaches(name, version, looked_s)

        report, found = await asyncio.get_running_loop().run_in_executor(counting, find)
        return {**report, "slice": query.slice, "contract": found}

    return (
        Operation(
            "GET",
            "/api/models/{model}/versions/{version}/drift",
            show_drift,
            "How a window of live traffic compares with the reference",
            Permission.READ,
            scope="model",
            answer=DriftReport,
            path_parameters=VersionPath,
            query=DriftQuery,
            bulky=True,
            errors=(NotFound, InvalidParameter),
        ),
    )


def _alone(what: str, query: DriftQuery, others: set[str]) -> None:
    given = sorted(query.model_fields_set & others)
    if given:
        raise InvalidParameter(f"{what}: expected alone, got {given[0]} beside it")

"""What can be asked of drift through the control port.

Knows parameters and answers. Knows nothing of how figures are made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from gateway.access.durations import read_duration
from gateway.access.roles import Permission
from gateway.control.drift import Drift
from gateway.control.drift_documents import DriftQuery, DriftReport, VersionPath
from gateway.control.operations import Asked, Operation
from gateway.drift.history import MAX_WINDOW_S, MIN_WINDOW_S
from gateway.errors import InvalidParameter, NotFound


def operations(
    drift: Drift, counting: Executor, breaches: Callable[[str, int], dict[str, Any] | None]
) -> tuple[Operation, ...]:
    """The table.

    Args:
        drift: makes reports.
        counting: the one thread that histories are read and written on.
        breaches: what a version's inputs broke of its contract; None: it has none. Blocks.
    """

    async def show_drift(asked: Asked) -> Any:
        query: DriftQuery = asked.query
        window_s = read_duration(query.window, "window")
        if not MIN_WINDOW_S <= window_s <= MAX_WINDOW_S:
            raise InvalidParameter(f"window: expected 1m to 30d, got '{query.window}'")
        rolling_s = _rolling_s(query.reference)
        if not window_s + rolling_s <= MAX_WINDOW_S:
            raise InvalidParameter(
                f"reference: expected at most 30d with the window, got '{query.reference}'"
            )
        path: VersionPath = asked.path
        bins = query.bins == "1"
        report = await asyncio.get_running_loop().run_in_executor(
            counting,
            drift.report,
            path.model,
            path.version,
            window_s,
            query.variant,
            bins,
            rolling_s,
        )
        found = await asyncio.to_thread(breaches, path.model, path.version)
        return {**report, "contract": found}

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


def _rolling_s(reference: str) -> float:
    """Seconds of a rolling reference; 0 for the fixed one."""
    if reference == "fixed":
        return 0.0
    kind, _, length = reference.partition(":")
    if kind != "rolling" or not length:
        raise InvalidParameter(f"reference: expected fixed or rolling:7d, got '{reference}'")
    return read_duration(length, "reference")

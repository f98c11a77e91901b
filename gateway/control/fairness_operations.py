"""What can be asked of groups of rows through the control port.

Knows parameters and answers. Knows nothing of how records are kept or figures are made.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gateway.access.roles import Permission
from gateway.control.drift_documents import VersionPath
from gateway.control.fairness_documents import (
    FairnessQuery,
    FairnessReport,
    GroupQuery,
    WorstQuery,
    WorstReport,
)
from gateway.control.operations import Asked, Operation
from gateway.control.outcome_operations import read_window
from gateway.control.outcomes import Outcomes
from gateway.control.slices import ByGroup
from gateway.errors import InvalidParameter, NotFound, StoreFailed
from gateway.outcomes.intervals import ALPHA
from gateway.outcomes.worst import FIGURES


def operations(outcomes: Outcomes) -> tuple[Operation, ...]:
    """The table."""

    async def show_fairness(asked: Asked) -> Any:
        query: FairnessQuery = asked.query
        path: VersionPath = asked.path
        found, told = await outcomes.by_group(
            path.model,
            path.version,
            read_window(query.window),
            lambda by_group: by_group.fairness(query.slice, query.min_rows),
        )
        return _about(found, query) | {"slicings": [asdict(one) for one in told]}

    async def find_worst_slices(asked: Asked) -> Any:
        query: WorstQuery = asked.query
        path: VersionPath = asked.path
        if query.figure not in FIGURES:
            known = ", ".join(FIGURES)
            raise InvalidParameter(f"figure: expected one of {known}, got '{query.figure[:80]}'")
        found, told = await outcomes.by_group(
            path.model,
            path.version,
            read_window(query.window),
            lambda by_group: by_group.worst(query.figure, query.min_rows),
        )
        return _about(found, query) | asdict(told) | {"false_discovery_rate": ALPHA}

    errors = (NotFound, InvalidParameter, StoreFailed)
    return (
        Operation(
            "GET",
            "/api/models/{model}/versions/{version}/fairness",
            show_fairness,
            "How groups of rows fare beside one another",
            Permission.READ,
            scope="model",
            answer=FairnessReport,
            path_parameters=VersionPath,
            query=FairnessQuery,
            bulky=True,
            errors=errors,
        ),
        Operation(
            "GET",
            "/api/models/{model}/versions/{version}/slices/worst",
            find_worst_slices,
            "Which groups, and pairs of them, a version serves worse than the rest, beyond chance",
            Permission.READ,
            scope="model",
            answer=WorstReport,
            path_parameters=VersionPath,
            query=WorstQuery,
            bulky=True,
            errors=errors,
        ),
    )


def _about(found: ByGroup, query: GroupQuery) -> dict[str, Any]:
    return {
        "model": found.series.model,
        "version": found.series.version,
        "window_s": found.window_s,
        "end": found.now,
        "min_rows": query.min_rows,
    }

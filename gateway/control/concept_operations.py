"""What can be asked about concept drift through the control port.

Knows parameters and answers. Knows nothing of how figures are made.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gateway.access.roles import Permission
from gateway.control.concept_documents import ConceptDriftReport
from gateway.control.drift_documents import VersionPath
from gateway.control.operations import Asked, Operation
from gateway.control.outcomes import Outcomes
from gateway.errors import NotFound, StoreFailed


def operations(outcomes: Outcomes) -> tuple[Operation, ...]:
    """The table."""

    async def show_concept_drift(asked: Asked) -> Any:
        path: VersionPath = asked.path
        found = await outcomes.concept(path.model, path.version)
        return {
            "model": found.series.model,
            "version": found.series.version,
            "at": found.now,
            "baseline_wanted": found.settings.baseline_outcomes,
            **asdict(found.found),
        }

    return (
        Operation(
            "GET",
            "/api/models/{model}/versions/{version}/concept-drift",
            show_concept_drift,
            "Whether a version is still as right as it was, by the outcomes that came in",
            Permission.READ,
            scope="model",
            answer=ConceptDriftReport,
            path_parameters=VersionPath,
            errors=(NotFound, StoreFailed),
        ),
    )

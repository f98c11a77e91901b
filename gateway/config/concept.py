"""The part of the document that is about what outcomes are held against."""

from __future__ import annotations

from pydantic import Field

from gateway.config.words import Section


class Concept(Section):
    """When outcomes say that a model is not what it was. See docs/outcomes.md."""

    # The error rate of so many is known to some 3 % at a rate of 5 %, for sure at all times.
    baseline_outcomes: int = Field(
        1000,
        ge=100,
        le=1_000_000,
        description="of a version, the first so many outcomes are what later ones are held against",
    )
    # A model that was right 95 times of 100 and is so 92 times is nobody's emergency.
    error_floor: float = Field(
        0.05, ge=0, le=1, description="how far above the baseline's an error rate must surely lie"
    )
    calibration_floor: float = Field(
        0.05, ge=0, le=1, description="how far gaps between scores and outcomes must have moved"
    )

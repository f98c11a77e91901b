"""The parts of the document that are about keeping inputs and outputs of what was answered."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from gateway.config.words import Name, Section, off


class Capture(Section):
    """What is kept of inputs and outputs, for all models together. See docs/capture.md."""

    # A row of 30 numbers takes some 100 bytes: 40 million of them.
    max_bytes: int = Field(
        4 << 30, ge=1 << 20, description="of its files; the oldest are removed first"
    )
    max_age_s: float = Field(30 * 86_400.0, ge=60, le=3650 * 86_400, description="older is removed")
    # What is not in a file yet is lost with control: a minute of it, not an hour.
    file_s: float = Field(60.0, ge=1, le=3600, description="a file holds so much time at most")
    file_bytes: int = Field(
        64 << 20, ge=64 << 10, le=1 << 30, description="and so much, before it is compressed"
    )
    # Two seconds of 100,000 rows, and control looks every second. There is room for eight of them.
    ring_bytes: int = Field(
        32 << 20,
        ge=64 << 10,
        le=1 << 30,
        description="shared memory of a version, all workers together; rows that find no room are"
        " dropped",
    )


class CaptureRules(Section):
    """Which rows are kept by what was answered."""

    confidence_below: float | None = Field(
        None, gt=0, le=1, description="classifiers: the probability of what was predicted"
    )
    score_between: Annotated[list[float], Field(min_length=2, max_length=2)] | None = Field(
        None, description="the score, as `scores` reads it: [low, high]"
    )
    alarms: bool = Field(False, description="every row while an alarm of the model fires")
    shadow_disagreements: bool = Field(
        False, description="rows of which a shadow of the model's route says something else"
    )

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.score_between is not None and self.score_between[0] > self.score_between[1]:
            raise ValueError(f"score_between: expected [low, high], got {self.score_between}")
        return self


class ModelCapture(Section):
    """What is kept of one model's inputs and outputs. See docs/capture.md."""

    mode: Annotated[Literal["off", "full", "sampled", "rules"], BeforeValidator(off)] = Field(
        "off", description="sampled: a share of rows; rules: what they say, and a share of the rest"
    )
    share: float = Field(0.01, ge=0, le=1, description="of rows, each by itself")
    rules: CaptureRules = CaptureRules()
    mask: list[Name] = Field(
        default_factory=list, description="features that are left empty; they reach no disk"
    )
    hash: list[Name] = Field(
        default_factory=list,
        description="features of which a keyed hash is kept: equal values stay equal",
    )
    subject: Name | None = Field(
        None, description="request parameter that says whom a request is about; kept as keyed hash"
    )

    @model_validator(mode="after")
    def _some_rule(self) -> Self:
        rules = self.rules
        some = rules.alarms or rules.shadow_disagreements
        some |= rules.confidence_below is not None or rules.score_between is not None
        if self.mode == "rules" and not some:
            raise ValueError("rules: expected at least one where mode is rules, got none")
        twice = set(self.mask) & set(self.hash)
        if twice:
            raise ValueError(f"expected '{min(twice)}' in mask or in hash, got it in both")
        return self

"""What the admin API answers about concept drift, as models.

Knows fields. Knows nothing of how they are filled.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from gateway.control.operations import Document
from gateway.outcomes.concept import VERDICTS

_VERDICT: dict[str, Any] = {"type": "string", "enum": list(VERDICTS)}
Verdict = Annotated[str, WithJsonSchema(_VERDICT)]


class RaisedAlarm(Document):
    """The last alarm of a figure."""

    at: float = Field(description="seconds since 1970")
    outcome: int = Field(description="which it came at, from 1 on")
    outcomes: int = Field(description="in the window that raised it")
    value: float = Field(description="what was found in these")
    low: float = Field(description="what it was at least")
    limit: float = Field(description="what it was held against")


class ConceptFigure(Document):
    """The error rate, or by how much calibration has moved."""

    verdict: Verdict
    outcomes: int = Field(
        description="that the figures are of: the newest, 100 or more if there are"
    )
    value: float | None
    low: float | None = Field(description="at least, for sure however often one looks")
    high: float | None = Field(description="at most; null of calibration")
    limit: float | None = Field(description="null: the baseline is not whole yet")
    alarms: int = Field(description="ever")
    raised: RaisedAlarm | None


class LossTest(Document):
    """Page and Hinkley's test or ADWIN, over a loss from 0 to 1."""

    verdict: Verdict = Field(description="drift: a rise was found within the last 500 outcomes")
    outcomes: int = Field(description="since the last rise, or in ADWIN's window")
    mean: float | None = Field(description="of these")
    rises: int = Field(description="that were ever found")
    outcome: int | None = Field(description="which the last one was found at, from 1 on")
    before: float | None = Field(description="mean before it; of ADWIN")
    after: float | None = Field(description="mean after it; of ADWIN")


class Tests(Document):
    """By test and loss. They have no bound on false alarms."""

    page_hinkley_loss: LossTest
    page_hinkley_error: LossTest
    adwin_loss: LossTest
    adwin_error: LossTest


class ConceptDriftReport(Document):
    """Whether a version is still as right as it was."""

    model: str
    version: int
    at: float
    verdict: Verdict = Field(description="the worse of error_rate's and calibration's")
    outcomes: int = Field(description="rows whose outcome came in, each counted once")
    baseline_outcomes: int = Field(description="that later ones are held against")
    baseline_wanted: int
    baseline_error_rate: float | None
    usual_error: float | None = Field(description="mean absolute error of the first values")
    error_rate: ConceptFigure
    calibration: ConceptFigure | None = Field(description="null of values")
    tests: Tests

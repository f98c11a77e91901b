"""Guards of a rollout: what a candidate must not be worse in, than its baseline or than a bound.

Knows names and numbers. Knows nothing of what was counted, or of what a verdict is followed by. See
docs/guards.md.

A guard either compares the candidate with the baseline over the same time, and tolerates what is
said here, or holds it against a bound by itself. `alpha` is how often a candidate that is tolerable
is ever failed (and one that is not is ever passed), however often one looks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from gateway.config.words import Name, Section

MAX_GUARDS: Final = 32

HIGHER_IS_BETTER: Final = (
    *("accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1", "mcc"),
    *("precision_weighted", "recall_weighted", "f1_weighted", "roc_auc", "r2"),
)
LOWER_IS_BETTER: Final = ("error_rate", "log_loss", "brier", "mae", "rmse")
EITHER_IS_WORSE: Final = (
    *("mean_score", "mean_outcome", "bias"),
    *("calibration_in_the_large", "calibration_slope", "calibration_intercept"),
)
# In units of the outcomes: nobody can say for all models how much of these is little.
_IN_UNITS: Final = ("mae", "rmse", "bias", "log_loss")

GuardName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
SliceText = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}:.{1,200}$")]
Worse = Literal["higher", "lower", "either"]


class _Guard(Section):
    """What all guards have."""

    kind: str
    name: GuardName | None = Field(None, description="none: its kind, or what it is of")
    # Three requests may be enough evidence, and are not enough to convince anybody.
    min_rows: int = Field(
        100, ge=1, le=1_000_000_000, description="of the candidate, before there is a verdict"
    )

    @property
    def called(self) -> str:
        """What it is known by in its plan."""
        return self.name or self._usual_name()

    def _usual_name(self) -> str:
        return self.kind


class _Tested(_Guard):
    """What has a test of its own."""

    # Of some three guards, and as candidates mostly are no worse at all, far fewer are failed.
    alpha: float = Field(
        0.01, gt=0, le=0.2, description="how often it may ever be wrong, however often one looks"
    )

    def _either(self, comparison: Sequence[str], bounds: Sequence[str]) -> None:
        """Holds that a bound stands in place of a comparison."""
        given = [one for one in bounds if getattr(self, one) is not None]
        # By their values: what was read once is written with all of them, and read again.
        usual = {one: type(self).model_fields[one].default for one in comparison}
        both = [one for one, default in usual.items() if getattr(self, one) != default]
        if given and both:
            raise ValueError(
                f"expected either a bound or a comparison with the baseline, got {given[0]} and"
                f" {both[0]}"
            )


class RateGuard(_Tested):
    """A share of requests, rows or values: errors, NaN, refusals, breaches of the contract."""

    kind: Literal["errors", "non_finite", "refused", "contract"] = Field(
        description="errors: of requests, those the model or gateway is at fault for; non_finite:"
        " of rows that ran, those answered with NaN or infinity; refused: of requests, those"
        " answered with another error; contract: of input values, those that break the contract"
    )
    # A rate of 2 % against 1 % is found within some 4,000 rows, of a candidate with 5 % of traffic.
    ratio: float = Field(
        1.25, ge=1, le=100, description="how many times the baseline's odds are tolerated"
    )
    # Of a baseline without any error, a thousand times its rate is nothing still.
    floor: float = Field(0.002, ge=0, lt=1, description="up to which any rate is tolerated")
    max: float | None = Field(None, gt=0, lt=1, description="a bound in place of the baseline")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        self._either(("ratio", "floor"), ("max",))
        return self


class LatencyGuard(_Tested):
    """A quantile of the time from a request's last byte to its answer."""

    kind: Literal["latency"]
    # Of the slowest 1 % it takes five times the requests to know anything.
    quantile: float = Field(0.95, ge=0.5, le=0.999)
    # Where workers are saturated, the few requests of a small share wait behind the batches of the
    # many: an identical candidate's quantile was up to twice the baseline's (docs/guards.md).
    ratio: float = Field(3.0, ge=1, le=100, description="times the baseline's that is tolerated")
    floor_ms: float = Field(5.0, ge=0, description="up to which any latency is tolerated")
    max_ms: float | None = Field(None, gt=0, description="a bound in place of the baseline")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        self._either(("ratio", "floor_ms"), ("max_ms",))
        return self


class CostGuard(_Tested):
    """Processor time of the model's runs, beside the baseline's of batches of the same size.

    Unlike latency it does not depend on behind whose batches a request waits.
    """

    kind: Literal["cost"]
    ratio: float = Field(1.5, ge=1, le=100, description="times the baseline's that is tolerated")
    # A run now and then finds its caches filled by another version's, which costs some 0.1 ms.
    floor_ms: float = Field(0.5, ge=0, description="up to which any run is tolerated")


class PredictionDriftGuard(_Tested):
    """How far the candidate's outputs are distributed otherwise than the baseline's."""

    kind: Literal["prediction_drift"]
    outputs: list[Name] = Field(default_factory=list, description="columns; none: all outputs")
    # A retrained model is not the old one: a tenth is three eighths of a standard deviation for
    # scores, one answer of ten for classes.
    floor: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="by how much the share of scores up to any value, or of any class, may differ",
    )


class DisagreementGuard(_Tested):
    """How often a shadow says something else than the primary about the same row."""

    kind: Literal["disagreement"]
    max: float = Field(0.05, gt=0, lt=1, description="share of rows answered otherwise")


class _OutcomeGuard(_Tested):
    """A figure made of what became of answers."""

    tolerance: float | None = Field(
        None, ge=0, description="by how much it may be worse than the baseline's"
    )
    min: float | None = Field(None, description="a bound in place of the baseline")
    max: float | None = Field(None, description="a bound in place of the baseline")
    slice: SliceText | None = Field(None, description="SLICING:GROUP; none: all rows")

    def _check_bounds(self) -> None:
        self._either(("tolerance",), ("min", "max"))
        if self.min is not None and self.max is not None and self.min >= self.max:
            raise ValueError(f"expected min below max, got {self.min} and {self.max}")

    def _of_slice(self, what: str) -> str:
        return what if self.slice is None else f"{what} {self.slice}"


class CalibrationGuard(_OutcomeGuard):
    """How far probabilities are from the shares that came true."""

    kind: Literal["calibration"]
    figure: Literal["ece", "ece_equal_mass", "mce", "calibration_error_debiased"] = "ece"

    @model_validator(mode="after")
    def _whole(self) -> Self:
        self._check_bounds()
        return self

    @property
    def worse(self) -> Worse:
        """An error is worse the higher it is."""
        return "higher"

    @property
    def tolerated(self) -> float:
        """By how much it may be worse than the baseline's."""
        return 0.05 if self.tolerance is None else self.tolerance

    def _usual_name(self) -> str:
        return self._of_slice("calibration")


class PerformanceGuard(_OutcomeGuard):
    """How right the candidate is, by any figure of outcomes."""

    kind: Literal["performance"]
    figure: str = Field("error_rate", description="one that has an interval; docs/outcomes.md")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        known = (*HIGHER_IS_BETTER, *LOWER_IS_BETTER, *EITHER_IS_WORSE)
        if self.figure not in known:
            raise ValueError(f"figure: expected one of {', '.join(known)}, got '{self.figure}'")
        self._check_bounds()
        bounded = self.min is not None or self.max is not None
        if self.figure in _IN_UNITS and self.tolerance is None and not bounded:
            raise ValueError(f"expected a tolerance or a bound of {self.figure}, got neither")
        return self

    @property
    def worse(self) -> Worse:
        """In which direction it is."""
        if self.figure in EITHER_IS_WORSE:
            return "either"
        return "lower" if self.figure in HIGHER_IS_BETTER else "higher"

    @property
    def tolerated(self) -> float:
        """By how much it may be worse than the baseline's."""
        return 0.02 if self.tolerance is None else self.tolerance

    def _usual_name(self) -> str:
        return self._of_slice(self.figure)


class MetricGuard(_OutcomeGuard):
    """The mean of a business metric: what callers report of answers, such as revenue."""

    kind: Literal["metric"]
    metric: Name
    worse: Worse = Field("lower", description="in which direction it is")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        self._check_bounds()
        if self.tolerance is None and self.min is None and self.max is None:
            raise ValueError("expected a tolerance or a bound, in the metric's unit, got neither")
        return self

    @property
    def tolerated(self) -> float:
        """By how much it may be worse than the baseline's."""
        return 0.0 if self.tolerance is None else self.tolerance

    def _usual_name(self) -> str:
        return self._of_slice(self.metric)


class DriftGuard(_Guard):
    """What monitoring says of the candidate's own traffic, held against its own profile."""

    kind: Literal["drift"]
    of: Literal["features", "outputs", "columns"] = "columns"
    level: Literal["watch", "drift"] = Field("drift", description="from which on it fails")
    beside_baseline: bool = Field(
        True,
        description="a column of which the same is said of the baseline is not held against it",
    )


Guard = Annotated[
    RateGuard
    | LatencyGuard
    | CostGuard
    | PredictionDriftGuard
    | DisagreementGuard
    | CalibrationGuard
    | PerformanceGuard
    | MetricGuard
    | DriftGuard,
    Field(discriminator="kind"),
]


def _told_apart(guards: list[Guard]) -> list[Guard]:
    twice = [name for name, times in Counter(one.called for one in guards).items() if times > 1]
    if twice:
        raise ValueError(f"expected each name once, got '{twice[0]}' again")
    return guards


Guards = Annotated[list[Guard], Field(max_length=MAX_GUARDS), AfterValidator(_told_apart)]

DEFAULT_GUARDS: Final[tuple[Guard, ...]] = (
    RateGuard(kind="errors"),
    RateGuard(kind="non_finite"),
    LatencyGuard(kind="latency"),
    CostGuard(kind="cost"),
    PredictionDriftGuard(kind="prediction_drift"),
)
"""What every model has figures for."""

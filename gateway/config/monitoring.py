"""The parts of the document that are about what is counted, shown and told of live traffic."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from gateway.config.against import FIXED, PATTERN, Against, read_against
from gateway.config.words import MetricName, Name, Section
from gateway.errors import InvalidParameter
from gateway.names import MAX_METRICS

ANY: Final = "any"
Metered = Literal["any"] | Annotated[list[MetricName], Field(max_length=MAX_METRICS)]


class Monitoring(Section):
    """What live values are held against. See docs/monitoring.md."""

    enabled: bool = Field(True, description="false: no value is counted")
    # With so many, the largest error of any share of a reference is 2 % (95 times of 100).
    reference_rows: int = Field(
        5000,
        ge=0,
        le=1_000_000,
        description="a model without a profile is held against so many first live rows; 0: against"
        " nothing",
    )


class Ledger(Section):
    """What was answered, kept for outcomes to be joined to. See docs/outcomes.md."""

    # Outcomes come late: what was not written down by then cannot be judged, so it is by default.
    enabled: bool = Field(True, description="for all models but those that say otherwise")
    share: float = Field(
        1.0,
        ge=0,
        le=1,
        description="of requests, by their number, that are written down; counts of monitoring are"
        " of all",
    )
    # 24 bytes more for each request that has one, and a hash on the way.
    client_ids: bool = Field(
        False, description="outcomes may name a request by the id that its client gave it"
    )
    # Names are few for the whole server: where clients are not to be trusted with them, list them.
    metrics: Metered = Field(
        ANY, description="business metrics that outcomes may have a number of; any: whichever"
    )
    # 17 million records: seven minutes of 40,000 rows/s, 47 hours of 100.
    max_bytes: int = Field(
        1 << 30, ge=16 << 20, description="of its files; the oldest records are forgotten"
    )
    max_age_s: float = Field(
        30 * 86_400.0, ge=3600, le=3650 * 86_400, description="older records are forgotten"
    )
    # Records are drained within two seconds; the rest is for a control process that is replaced.
    early_s: float = Field(
        60.0, ge=1, le=3600, description="how long an outcome waits for its record"
    )


class Metrics(Section):
    """What `/metrics` says of the columns of watched models. See docs/monitoring.md."""

    # Long enough for some rows of thin traffic, short enough to see an alarm end.
    window_s: float = Field(600.0, ge=60, le=30 * 86_400, description="how far figures look back")
    # Outcomes come slowly: of a day there are some to speak of.
    outcomes_window_s: float = Field(
        86_400.0, ge=60, le=30 * 86_400, description="how far figures of outcomes look back"
    )
    max_features: int = Field(
        50,
        ge=0,
        le=10_000,
        description="features, and as many outputs, of a version; where there are more, those with"
        " the most evidence; each has some 25 series",
    )
    bins: dict[Name, Annotated[list[Name], Field(max_length=100)]] = Field(
        default_factory=dict,
        description="by model: features and outputs whose bins are counted, joined to 10 at most",
    )


COLUMN_FIGURES = (
    *("verdict", "psi", "psi_null_p95", "kl", "ks", "ks_bound", "ks_p_value", "js", "hellinger"),
    *("total_variation", "wasserstein", "wasserstein_error", "chi2", "chi2_p_value", "l_infinity"),
    *("mean", "std", "min", "max", "missing_ratio", "below_ratio", "above_ratio"),
    *("infinite_ratio", "wrong_type_ratio", "unseen_ratio", "distance", "log10_e", "rows"),
)


DATASET_FIGURES = (
    *("verdict", "prediction_verdict", "drifting_features", "drifting_share"),
    *("rows", "skipped_rows", "skipped_ratio"),
)


CONCEPT_FIGURES = (
    *("verdict", "error_rate_verdict", "calibration_verdict"),
    *("page_hinkley_verdict", "adwin_verdict"),
    *("error_rate", "error_rate_low", "calibration_change", "outcomes"),
)


PERFORMANCE_FIGURES = (
    *("accuracy", "error_rate", "balanced_accuracy", "precision", "recall", "specificity", "f1"),
    *("mcc", "log_loss", "brier", "roc_auc", "calibration_slope", "calibration_intercept"),
    *("ece", "ece_equal_mass", "mce", "calibration_error_debiased", "calibration_gap"),
    *("mean_score", "mean_outcome", "mae", "rmse", "bias", "r2"),
    *("outcomes", "answered", "coverage", "delay_mean_s", "delay_max_s"),
)


_FIGURES = {
    "dataset": DATASET_FIGURES,
    "performance": PERFORMANCE_FIGURES,
    "concept": CONCEPT_FIGURES,
}
_Level = float | Literal["watch", "drift"]


class AlertRule(Section):
    """When something that is reported of a model's traffic is told. See docs/monitoring.md."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")
    models: list[Name] = Field(["*"], min_length=1, description="`*`: every model")
    of: Literal["features", "outputs", "columns", "dataset", "performance", "concept"] = Field(
        "columns",
        description="columns: features and outputs; dataset: figures of the whole window;"
        " performance: of outcomes that became known in it; concept: of outcomes held against the"
        " version's first ones",
    )
    figure: str = Field("verdict", description="a field of the report, or skipped_ratio")
    comparison: Literal[">", ">=", "<", "<="] = ">="
    threshold: _Level = Field("drift", description="a number; of a verdict, watch or drift")
    clear: _Level | None = Field(
        None, description="what it must be on the other side of to be resolved; none: threshold"
    )
    window_s: float | None = Field(
        None,
        ge=60,
        le=30 * 86400,
        description="none, for columns' verdicts and concept: looks back by rows",
    )
    reference: str = Field(
        "fixed",
        pattern=PATTERN,
        description="of window_s: the profile, or earlier traffic in its place: rolling:7d,"
        " same-hours:4w",
    )
    min_rows: int = Field(
        200, ge=0, description="fewer rows, or outcomes, in the window tell nothing"
    )
    every_s: float = Field(10.0, ge=1, le=86400, description="between two panes, the evaluations")
    panes: int = Field(1, ge=1, le=60, description="that must meet the condition")
    of_last: int = Field(1, ge=1, le=60, description="panes that are looked at")
    clear_panes: int = Field(3, ge=1, le=1000, description="clear ones in a row that resolve it")
    severity: Literal["info", "warning", "critical"] = "warning"
    cooldown_s: float = Field(
        3600.0, ge=0, le=30 * 86400, description="shortest time between two tellings that it fires"
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        known = _FIGURES.get(self.of, COLUMN_FIGURES)
        if self.figure not in known:
            raise ValueError(f"figure: expected one of {', '.join(known)}, got '{self.figure}'")
        worded = self.figure.endswith("verdict")
        levels = (self.threshold, self.threshold if self.clear is None else self.clear)
        if any(isinstance(one, str) != worded for one in levels):
            raise ValueError(
                "threshold, clear: expected watch or drift of a verdict, else numbers,"
                f" got {levels[0]} and {levels[1]} of {self.figure}"
            )
        if worded and self.comparison != ">=":
            raise ValueError(f"comparison: expected >= of a verdict, got {self.comparison}")
        of_column = self.of in ("features", "outputs", "columns")
        by_rows = self.of == "concept" or (of_column and self.figure == "verdict")
        if self.window_s is None and not by_rows:
            raise ValueError(
                "window_s: expected one, but for verdicts of columns and concept, got none"
            )
        if self.of == "concept" and self.window_s is not None:
            raise ValueError("window_s: expected none of concept, which looks back by rows")
        if self.of in ("performance", "concept") and self.reference != "fixed":
            raise ValueError(f"reference: expected fixed of {self.of}, got '{self.reference}'")
        if self.panes > self.of_last:
            raise ValueError(f"panes: expected at most of_last, {self.of_last}, got {self.panes}")
        if self.window_s is None and self.reference != "fixed":
            raise ValueError(
                f"reference: expected fixed where there is no window_s, got '{self.reference}'"
            )
        _ = self.against
        return self

    @property
    def against(self) -> Against:
        """What its window is held against."""
        if self.window_s is None:
            return FIXED
        try:
            return read_against(self.reference, self.window_s)
        except InvalidParameter as error:
            raise ValueError(str(error)) from error

    @field_validator("clear")
    @classmethod
    def _not_further(cls, clear: _Level | None, info: ValidationInfo) -> _Level | None:
        threshold = info.data.get("threshold")
        if isinstance(clear, float) and isinstance(threshold, float):
            above = info.data.get("comparison", "").startswith(">")
            if (clear > threshold) if above else (clear < threshold):
                raise ValueError("expected nothing that meets the condition by itself")
        return clear


class AlertSink(Section):
    """Where alarms are sent. What opens its door comes from files or the environment alone."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")
    kind: Literal["webhook", "cloudevents", "alertmanager", "alertmanager_api"] = Field(
        "webhook",
        description="alertmanager: what it sends to receivers; alertmanager_api: what it takes",
    )
    # Neither a password nor a token has a place in this document.
    url: str | None = Field(None, pattern=r"^https?://[^/@?#\s]+(/[^?#\s]*)?$")
    url_file: Path | None = Field(None, description="holds the URL, where that is a secret")
    secret_file: Path | None = Field(None, description="signs what is sent, with HMAC-SHA256")
    secret_env: str | None = Field(None, pattern=r"^[A-Z_][A-Z0-9_]*$")
    headers_file: Path | None = Field(None, description="more headers, `name: value` a line")
    severities: list[Literal["info", "warning", "critical"]] = Field(
        ["info", "warning", "critical"], min_length=1
    )
    timeout_s: float = Field(10.0, gt=0, le=60)
    max_attempts: int = Field(10, ge=1, le=100, description="then it is kept as a dead letter")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            given = "neither" if self.url is None else "both"
            raise ValueError(f"expected either url or url_file, got {given}")
        if self.secret_file is not None and self.secret_env is not None:
            raise ValueError("expected either secret_file or secret_env, got both")
        return self


DEFAULT_RULES = (
    # The verdict holds however often one looks, so it is believed at once.
    AlertRule(name="drift", clear="watch", every_s=1, clear_panes=10),
    AlertRule(
        name="skipped_rows",
        of="dataset",
        figure="skipped_ratio",
        threshold=0.01,
        clear=0.001,
        window_s=600,
        panes=3,
        of_last=5,
    ),
    # These hold however often one looks, and say themselves when they are over.
    AlertRule(
        name="concept_drift",
        of="concept",
        figure="error_rate_verdict",
        every_s=1,
        severity="critical",
    ),
    AlertRule(name="calibration_drift", of="concept", figure="calibration_verdict", every_s=1),
)


class Alerts(Section):
    """Which figures raise alarms, and where those go. A change takes effect at once."""

    default_rules: bool = Field(
        True,
        description="drift, skipped_rows, concept_drift and calibration_drift are in force",
    )
    rules: list[AlertRule] = Field(
        default_factory=list, max_length=200, description="one of a default's name replaces it"
    )
    sinks: list[AlertSink] = Field(default_factory=list, max_length=20)
    log: bool = Field(True, description="alarms are told in the log, too")

    @field_validator("rules", "sinks")
    @classmethod
    def _once(cls, some: list[Any]) -> list[Any]:
        names = Counter(one.name for one in some)
        twice = [name for name, times in names.items() if times > 1]
        if twice:
            raise ValueError(f"expected each name once, got '{twice[0]}' again")
        return some

    @property
    def in_force(self) -> tuple[AlertRule, ...]:
        """The default rules, where they are wanted, and those of the document."""
        defaults = DEFAULT_RULES if self.default_rules else ()
        named = {rule.name: rule for rule in (*defaults, *self.rules)}
        return tuple(named.values())

    def rules_of(self, model: str) -> tuple[AlertRule, ...]:
        """Those in force that are about a model."""
        return tuple(rule for rule in self.in_force if {"*", model} & set(rule.models))

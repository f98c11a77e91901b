"""The figures that rules read of outcomes, and those that are told with an alarm.

Knows rules and how versions stand. Knows nothing of how that is made, or of when an alarm fires.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.alerts.notices import Lines
from gateway.alerts.readings import Column, Look, Readings, level
from gateway.config import AlertRule
from gateway.control.standings import Standing, Window
from gateway.outcomes.concept import Figure, Judged

OUTCOME_RULES: Final = ("performance", "concept")


def read(rule: AlertRule, standing: Standing) -> Readings:
    """What a rule reads of a version; what has too few outcomes tells nothing."""
    if rule.of == "concept":
        # A verdict says itself when it has too few outcomes.
        enough = rule.figure.endswith("verdict") or standing.concept.outcomes >= rule.min_rows
        value = level(concept_figure(rule.figure, standing.concept)) if enough else None
        return {Column(rule.of): (Look(value),)}
    window = None if rule.window_s is None else standing.windows.get(rule.window_s)
    if window is None or _rows(rule.figure, window) < rule.min_rows:
        return {Column(rule.of): (Look(None),)}
    return {Column(rule.of): (Look(performance_figure(rule.figure, window)),)}


def told(rule: AlertRule, standing: Standing) -> tuple[Mapping[str, Any], Lines]:
    """What is said of an alarm beside its rule, in words and as fields of its line."""
    if rule.of == "concept":
        line = _of_concept(rule.figure, standing.concept)
    else:
        window = None if rule.window_s is None else standing.windows.get(rule.window_s)
        line = {} if window is None else _of_window(rule.figure, window)
    return {"says": _says(line)}, {Column(rule.of): line}


def concept_figure(name: str, concept: Judged) -> float | str | None:
    """One of config.CONCEPT_FIGURES."""
    if name in ("page_hinkley_verdict", "adwin_verdict"):
        prefix = name.removesuffix("verdict")
        verdicts = {t.verdict for key, t in concept.tests.items() if key.startswith(prefix)}
        return "drift" if "drift" in verdicts else min(verdicts)
    rate, moved = concept.error_rate, concept.calibration
    figures: dict[str, float | str | None] = {
        "verdict": concept.verdict,
        "error_rate_verdict": rate.verdict,
        "calibration_verdict": None if moved is None else moved.verdict,
        "error_rate": rate.value,
        "error_rate_low": rate.low,
        "calibration_change": None if moved is None else moved.value,
        "outcomes": float(concept.outcomes),
    }
    return figures[name]


def performance_figure(name: str, window: Window) -> float | None:
    """One of config.PERFORMANCE_FIGURES."""
    found = window.found
    figures = found.figures
    accuracy, said, came = (figures[key] for key in ("accuracy", "mean_score", "mean_outcome"))
    own: dict[str, float | None] = {
        "error_rate": None if accuracy is None else 1.0 - accuracy,
        "calibration_gap": None if said is None or came is None else abs(said - came),
        "outcomes": float(found.labelled),
        "answered": float(window.answered),
        "coverage": window.coverage,
        "delay_mean_s": found.delay_mean_s,
        "delay_max_s": found.delay_max_s,
    }
    return own[name] if name in own else figures[name]


def _rows(figure: str, window: Window) -> int:
    return window.answered if figure in ("answered", "coverage") else window.found.labelled


# ---- what is told -------------------------------------------------------------------------------


def _of_concept(name: str, concept: Judged) -> dict[str, Any]:
    which = "calibration" if name.startswith("calibration") else "error_rate"
    figure: Figure | None = getattr(concept, which)
    if figure is None:
        return {}
    line: dict[str, Any] = {"figure": which, "outcomes": figure.outcomes, "found": figure.value}
    line |= {"low": figure.low, "high": figure.high, "limit": figure.limit}
    if which == "error_rate":
        line["baseline"] = concept.baseline_error_rate
    if figure.verdict == "drift" and figure.raised is not None:
        raised = figure.raised
        line |= {"outcomes": raised.outcomes, "found": raised.value, "high": None}
        line |= {"low": raised.low, "limit": raised.limit}
    return line


def _of_window(name: str, window: Window) -> dict[str, Any]:
    ends = window.found.intervals.get("accuracy" if name == "error_rate" else name)
    low, high = ends if ends is not None else (None, None)
    if name == "error_rate" and low is not None and high is not None:
        low, high = 1.0 - high, 1.0 - low
    found = performance_figure(name, window)
    return {
        "figure": name,
        "outcomes": _rows(name, window),
        "found": found,
        "low": low,
        "high": high,
    }


def _says(line: Mapping[str, Any]) -> str:
    if line.get("found") is None:
        return ""
    what = str(line["figure"]).replace("_", " ")
    ends = ""
    if line["low"] is not None:
        ends = f", {line['low']:.4g} at least" if line["high"] is None else ""
        ends = ends or f", {line['low']:.4g} to {line['high']:.4g}"
    said = f"{what} {line['found']:.4g}{ends}, of {line['outcomes']} outcomes"
    if line.get("limit") is not None:
        said += f"; the limit is {line['limit']:.4g}"
    if line.get("baseline") is not None:
        said += f", and it was {line['baseline']:.4g} at first"
    return said

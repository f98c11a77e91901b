"""Guards on what becomes of answers, and on what monitoring says already.

Knows intervals that hold at all times at once, and verdicts of drift. Knows nothing of how either
is made, so it keeps nothing but that a guard has failed.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.config.guards import (
    CalibrationGuard,
    DriftGuard,
    MetricGuard,
    PerformanceGuard,
    Worse,
)
from gateway.rollouts.differences import Memory
from gateway.rollouts.judgements import Judgement, Verdict
from gateway.rollouts.looks import Both, Drifting, Known, Look

OutcomeGuard = CalibrationGuard | PerformanceGuard | MetricGuard

_RANKS: Final = {"watch": 1, "drift": 2}
_MAX_NAMED: Final = 5


class FigureJudge:
    """Of one guard on a figure of outcomes.

    With a tolerance the candidate's interval and the baseline's are held against each other; both
    hold at once with probability 1 - alpha. With bounds the candidate's stands alone.
    """

    def __init__(self, guard: OutcomeGuard, memory: Memory | None = None) -> None:
        """Begins, or goes on from what was remembered."""
        self._guard = guard
        self._failed: str | None = (memory or {}).get("failed")
        self._both = Both(Known(), Known())

    def take(self, look: Look) -> None:
        """Takes in the newest figures."""
        self._both = look.known.get(self._guard.called, self._both)

    def judge(self) -> Judgement:
        """What is known by now."""
        guard, both = self._guard, self._both
        low, high = self._apart()
        verdict = Verdict.INCONCLUSIVE
        if both.candidate.n >= guard.min_rows:
            if low is not None and low > 0.0:
                verdict = Verdict.FAIL
            elif high is not None and high <= 0.0:
                verdict = Verdict.PASS
        says = self._says(verdict)
        if verdict is Verdict.FAIL:
            self._failed = self._failed or says
        if self._failed is not None:
            verdict, says = Verdict.FAIL, self._failed
        return Judgement(guard.called, verdict, says, self._figures(low, high))

    def memory(self) -> dict[str, Any]:
        """What a successor goes on from, as JSON has it."""
        return {"failed": self._failed}

    @property
    def _bounded(self) -> bool:
        return self._guard.min is not None or self._guard.max is not None

    def _apart(self) -> tuple[float | None, float | None]:
        """By how much the candidate is worse than is tolerated: at least and at most."""
        candidate, baseline = self._both.candidate, self._both.baseline
        if candidate.low is None or candidate.high is None:
            return None, None
        if self._bounded:
            return _beyond(candidate.low, candidate.high, self._guard.min, self._guard.max)
        if baseline.low is None or baseline.high is None:
            return None, None
        apart = candidate.low - baseline.high, candidate.high - baseline.low
        return _worse(apart, self._guard.worse, self._guard.tolerated)

    def _says(self, verdict: Verdict) -> str:
        guard, both = self._guard, self._both
        what = guard.called.replace("_", " ")
        if self._bounded:
            ends = [
                f"{word} {end:g}"
                for word, end in (("at least", guard.min), ("at most", guard.max))
                if end is not None
            ]
            return f"{what}: {_told(both.candidate)}; wanted: {', '.join(ends)}; {_WORDS[verdict]}"
        return (
            f"{what}: {_told(both.candidate)} against the baseline's {_told(both.baseline)};"
            f" tolerated: {guard.tolerated:g} {_DIRECTIONS[guard.worse]}; {_WORDS[verdict]}"
        )

    def _figures(self, low: float | None, high: float | None) -> dict[str, float | None]:
        guard, both = self._guard, self._both
        bounds = {"min": guard.min, "max": guard.max} if self._bounded else {}
        return {
            "candidate": both.candidate.value,
            "candidate_low": both.candidate.low,
            "candidate_high": both.candidate.high,
            "candidate_rows": float(both.candidate.n),
            "baseline": both.baseline.value,
            "baseline_low": both.baseline.low,
            "baseline_high": both.baseline.high,
            "baseline_rows": float(both.baseline.n),
            "tolerance": None if self._bounded else guard.tolerated,
            "beyond_tolerance_low": low,
            "beyond_tolerance_high": high,
            **bounds,
        }


_DIRECTIONS: Final[dict[Worse, str]] = {
    "higher": "higher",
    "lower": "lower",
    "either": "to either side",
}
_WORDS: Final = {
    Verdict.FAIL: "worse",
    Verdict.PASS: "no worse",
    Verdict.INCONCLUSIVE: "not known yet",
}


def _beyond(
    low: float, high: float, least: float | None, most: float | None
) -> tuple[float, float]:
    """How far what lies within an interval is outside of bounds, at least and at most."""
    ends = [] if least is None else [(least - high, least - low)]
    ends += [] if most is None else [(low - most, high - most)]
    nearest, furthest = zip(*ends, strict=True)
    return max(nearest), max(furthest)


def _worse(apart: tuple[float, float], worse: Worse, tolerated: float) -> tuple[float, float]:
    """How far a difference that lies within an interval is beyond what is tolerated."""
    low, high = apart
    if worse == "lower":
        low, high = -high, -low
    if worse == "either":
        nearest = 0.0 if low <= 0.0 <= high else min(abs(low), abs(high))
        low, high = nearest, max(abs(low), abs(high))
    return low - tolerated, high - tolerated


def _told(known: Known) -> str:
    if known.value is None:
        return "nothing yet"
    ends = "" if known.low is None else f" ({known.low:.4g} to {known.high:.4g})"
    return f"{known.value:.4g}{ends} of {known.n} outcomes"


class DriftJudge:
    """Of one guard on verdicts of drift."""

    def __init__(self, guard: DriftGuard, memory: Memory | None = None) -> None:
        """Begins, or goes on from what was remembered."""
        self._guard = guard
        self._failed: str | None = (memory or {}).get("failed")
        self._seen: tuple[Drifting | None, Drifting | None] = (None, None)

    def take(self, look: Look) -> None:
        """Takes in the newest verdicts."""
        self._seen = look.drifting or self._seen

    def judge(self) -> Judgement:
        """What is known by now."""
        guard, (candidate, baseline) = self._guard, self._seen
        rows = 0 if candidate is None else candidate.rows
        told = self._told(candidate)
        beside = self._told(baseline) if guard.beside_baseline else []
        drifting = [name for name in told if name not in beside]
        verdict = Verdict.INCONCLUSIVE
        if rows >= guard.min_rows:
            verdict = Verdict.FAIL if drifting else Verdict.PASS
        says = f"drift: {_named(drifting)} of {rows} rows, by the candidate's own profile"
        if verdict is Verdict.FAIL:
            self._failed = self._failed or says
        if self._failed is not None:
            verdict, says = Verdict.FAIL, self._failed
        figures = {"candidate_rows": float(rows), "drifting": float(len(drifting))}
        return Judgement(guard.called, verdict, says, figures)

    def memory(self) -> dict[str, Any]:
        """What a successor goes on from, as JSON has it."""
        return {"failed": self._failed}

    def _told(self, drifting: Drifting | None) -> list[str]:
        """The columns of which as much is said as fails."""
        if drifting is None:
            return []
        roles = {"columns": ("features", "outputs")}.get(self._guard.of, (self._guard.of,))
        return [
            name
            for (role, name), verdict in drifting.verdicts.items()
            if role in roles and _RANKS.get(verdict, 0) >= _RANKS[self._guard.level]
        ]


def _named(columns: list[str]) -> str:
    if not columns:
        return "nothing has drifted"
    more = f" and {len(columns) - _MAX_NAMED} more" if len(columns) > _MAX_NAMED else ""
    return f"{', '.join(columns[:_MAX_NAMED])}{more}: drifted"

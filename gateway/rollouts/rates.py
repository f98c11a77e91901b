"""Guards on shares of requests, rows or values: errors, NaN, refusals, breaches, disagreement.

Knows guards, looks and evidence. Knows nothing of other kinds of guards.

**Failing** takes evidence that the odds are beyond the tolerated ratio, and that the rate is above
the floor below which any is tolerated. **Passing** takes evidence of the contrary of one of the
two, at half of alpha each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from gateway.config.guards import DisagreementGuard, RateGuard
from gateway.rollouts.evidence import AgainstBaseline, AgainstBound, Evidence, Memory
from gateway.rollouts.judgements import Judgement, Verdict
from gateway.rollouts.looks import Arm, Look

_LN10: Final = math.log(10.0)
_NEARLY_0: Final = 1e-12


class Share(NamedTuple):
    """Some of some."""

    hits: int
    trials: int


_SHARES: Final[dict[str, Callable[[Arm], Share]]] = {
    "errors": lambda arm: Share(arm.errors, arm.requests),
    "non_finite": lambda arm: Share(arm.non_finite, arm.rows),
    "refused": lambda arm: Share(arm.refused, arm.requests),
    "contract": lambda arm: Share(arm.breaches, arm.values),
}
_WORDS: Final = {
    "errors": ("errors", "requests"),
    "non_finite": ("answers with NaN or infinity", "rows"),
    "refused": ("refused requests", "requests"),
    "contract": ("breaches of the contract", "values"),
}


class Totals:
    """What both had in all."""

    def __init__(self, memory: Memory | None) -> None:
        """Goes on from what was remembered; None: begins."""
        counts = memory["totals"] if memory else (0, 0, 0, 0)
        self.hits, self.trials, self.base_hits, self.base_trials = map(int, counts)

    def add(self, candidate: Share, baseline: Share) -> None:
        """Takes what came to both."""
        self.hits += candidate.hits
        self.trials += candidate.trials
        self.base_hits += baseline.hits
        self.base_trials += baseline.trials

    @property
    def rate(self) -> float | None:
        """The candidate's."""
        return self.hits / self.trials if self.trials else None

    @property
    def base_rate(self) -> float | None:
        """The baseline's."""
        return self.base_hits / self.base_trials if self.base_trials else None

    def memory(self) -> list[int]:
        """As JSON has it."""
        return [self.hits, self.trials, self.base_hits, self.base_trials]

    def figures(self) -> dict[str, float | None]:
        """As a judgement tells them."""
        return {
            "candidate": self.rate,
            "baseline": self.base_rate,
            "candidate_rows": float(self.trials),
            "baseline_rows": float(self.base_trials),
        }


class RateJudge:
    """Of one guard that compares a rate with the baseline's."""

    def __init__(self, guard: RateGuard, memory: Memory | None = None) -> None:
        """Begins, or goes on from what was remembered."""
        memory = memory or {}
        self._guard = guard
        self._totals = Totals(memory or None)
        self._ratio = AgainstBaseline(guard.ratio, memory.get("ratio"))
        self._floor = AgainstBound(max(guard.floor, _NEARLY_0), memory.get("floor"))

    def take(self, look: Look) -> None:
        """Takes in what was counted."""
        of = _SHARES[self._guard.kind]
        candidate, baseline = of(look.candidate), of(look.baseline)
        self._totals.add(candidate, baseline)
        self._ratio.add(*candidate, *baseline)
        self._floor.add(*candidate)

    def judge(self) -> Judgement:
        """What is known by now."""
        guard, totals = self._guard, self._totals
        worse = min(self._ratio.worse, self._floor.worse, key=lambda one: one.most)
        if guard.floor == 0.0:
            worse = self._ratio.worse
        better = max(self._ratio.better, self._floor.better, key=lambda one: one.log_e)
        verdict = verdict_of(
            worse, better, guard.alpha, guard.alpha / 2.0, totals.trials >= guard.min_rows
        )
        what, of = _WORDS[guard.kind]
        says = (
            f"{what}: {percent(totals.rate)} of {totals.trials} {of} against the baseline's"
            f" {percent(totals.base_rate)} of {totals.base_trials}; tolerated: {guard.ratio:g}"
            f" times its odds, or {percent(guard.floor)}; {certainty(verdict, worse, better)}"
        )
        figures = totals.figures() | {
            "odds_ratio": self._ratio.odds_ratio,
            "tolerated_ratio": guard.ratio,
            "floor": guard.floor,
            "log10_e_worse": worse.most / _LN10,
            "log10_e_no_worse": better.log_e / _LN10,
            "design_effect": self._ratio.effect if math.isfinite(self._ratio.effect) else None,
        }
        return Judgement(guard.called, verdict, says, figures)

    def memory(self) -> dict[str, Any]:
        """What a successor goes on from, as JSON has it."""
        return {
            "totals": self._totals.memory(),
            "ratio": self._ratio.memory(),
            "floor": self._floor.memory(),
        }


class BoundJudge:
    """Of one guard that holds a rate against a bound."""

    def __init__(
        self, guard: RateGuard | DisagreementGuard, bound: float, memory: Memory | None = None
    ) -> None:
        """Begins, or goes on from what was remembered."""
        memory = memory or {}
        self._guard, self._bound = guard, bound
        self._totals = Totals(memory or None)
        self._evidence = AgainstBound(bound, memory.get("bound"))

    def take(self, look: Look) -> None:
        """Takes in what was counted."""
        candidate, baseline = Share(look.differing, look.pairs), Share(0, 0)
        if self._guard.kind != "disagreement":
            of = _SHARES[self._guard.kind]
            candidate, baseline = of(look.candidate), of(look.baseline)
        self._totals.add(candidate, baseline)
        self._evidence.add(*candidate)

    def judge(self) -> Judgement:
        """What is known by now."""
        guard, totals = self._guard, self._totals
        worse, better = self._evidence.worse, self._evidence.better
        enough = totals.trials >= guard.min_rows
        verdict = verdict_of(worse, better, guard.alpha, guard.alpha, enough)
        what, of = _WORDS.get(guard.kind, ("other answers than the primary's", "rows"))
        says = (
            f"{what}: {percent(totals.rate)} of {totals.trials} {of}; tolerated:"
            f" {percent(self._bound)}; {certainty(verdict, worse, better)}"
        )
        figures = totals.figures() | {
            "bound": self._bound,
            "log10_e_worse": worse.most / _LN10,
            "log10_e_no_worse": better.log_e / _LN10,
        }
        return Judgement(guard.called, verdict, says, figures)

    def memory(self) -> dict[str, Any]:
        """What a successor goes on from, as JSON has it."""
        return {"totals": self._totals.memory(), "bound": self._evidence.memory()}


def verdict_of(
    worse: Evidence, better: Evidence, fail: float, passed: float, enough: bool
) -> Verdict:
    """What evidence comes to: once it was enough to fail, nothing that follows undoes it.

    Args:
        worse: that the candidate is worse than is tolerated.
        better: that it is not.
        fail: how often the first may be wrong.
        passed: how often the other may be.
        enough: there are as many rows as a verdict takes.
    """
    if enough and worse.most >= -math.log(fail):
        return Verdict.FAIL
    if enough and better.log_e >= -math.log(passed):
        return Verdict.PASS
    return Verdict.INCONCLUSIVE


def certainty(verdict: Verdict, worse: Evidence, better: Evidence) -> str:
    """How sure the verdict is."""
    if verdict is Verdict.FAIL:
        return f"worse, with evidence of {odds(worse.most)} to 1"
    if verdict is Verdict.PASS:
        return f"no worse, with evidence of {odds(better.log_e)} to 1"
    return "not known yet"


def odds(log_e: float) -> str:
    """An e-value for a person."""
    exponent = log_e / _LN10
    return f"{math.exp(log_e):.0f}" if exponent < 4.0 else f"1e{exponent:.0f}"


def percent(share: float | None) -> str:
    """A share for a person."""
    return "nothing" if share is None else f"{100.0 * share:.3g} %"

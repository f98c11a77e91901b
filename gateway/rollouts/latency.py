"""The guard on a quantile of latency.

Knows histograms (`kernels.histogram`) and evidence. Knows nothing of other kinds of guards.

Where the candidate's quantile is `ratio` times the baseline's at most, no larger share of its
requests is above `ratio` times any number t than of the baseline's above t, about the quantile. So
both shares are counted moment by moment, with t the baseline's quantile by what came before, and
held against each other as rates are: whether t is the quantile still does not matter for the answer
to be right, only for it to be about that quantile.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from gateway.config.guards import LatencyGuard
from gateway.rollouts.evidence import AgainstBaseline, AgainstBound, Memory
from gateway.rollouts.judgements import Judgement
from gateway.rollouts.looks import Counts, Look, Reals
from gateway.rollouts.rates import Share, Totals, certainty, percent, verdict_of
from kernels import histogram

_LN10: Final = math.log(10.0)
# The quantile is of some minutes, however many requests a second there are.
_FORGOTTEN: Final = 0.99
# From which on, with ten of a share of 5 %, there is a quantile to speak of.
_MIN_ABOVE: Final = 10.0


class LatencyJudge:
    """Of one guard."""

    def __init__(self, guard: LatencyGuard, memory: Memory | None = None) -> None:
        """Begins, or goes on from what was remembered."""
        memory = memory or {}
        self._guard = guard
        self._totals = Totals(memory or None)
        self._recent: Reals = np.zeros(histogram.BUCKETS)
        # What a successor has not to learn anew.
        self._edge: int | None = memory.get("edge")
        self._ratio = AgainstBaseline(1.0, memory.get("ratio"))
        self._bound = AgainstBound(1.0 - guard.quantile, memory.get("bound"))

    def take(self, look: Look) -> None:
        """Takes in what was counted."""
        candidate, baseline = look.candidate.latencies, look.baseline.latencies
        if self._guard.max_ms is not None:
            if candidate is not None:
                above = _above(candidate, histogram.index(_ns(self._guard.max_ms)))
                self._totals.add(above, Share(0, 0))
                self._bound.add(*above)
            return
        if baseline is None:
            return
        if candidate is not None and self._edge is not None:
            above, base = _above(candidate, self._candidate_edge()), _above(baseline, self._edge)
            self._totals.add(above, base)
            self._ratio.add(*above, *base)
        # Afterwards: where the edge lies must not depend on what is counted by it.
        self._recent = self._recent * _FORGOTTEN + baseline
        rows = self._recent.sum()
        if rows * (1.0 - self._guard.quantile) >= _MIN_ABOVE:
            upto = np.cumsum(self._recent)
            self._edge = int(np.searchsorted(upto, self._guard.quantile * rows))

    def judge(self) -> Judgement:
        """What is known by now."""
        guard, totals = self._guard, self._totals
        found = self._ratio if guard.max_ms is None else self._bound
        enough = totals.trials >= guard.min_rows
        verdict = verdict_of(found.worse, found.better, guard.alpha, guard.alpha, enough)
        bound = self._candidate_ms()
        what = f"{100.0 * guard.quantile:g} % quantile of latency"
        if guard.max_ms is not None:
            says = (
                f"{what}: {percent(totals.rate)} of {totals.trials} requests took over"
                f" {guard.max_ms:g} ms"
            )
        elif bound is None or self._edge is None:
            says = f"{what}: the baseline's is not known yet"
        else:
            says = (
                f"{what}: {percent(totals.rate)} of {totals.trials} requests took over"
                f" {bound:.3g} ms ({guard.ratio:g} times the baseline's, {guard.floor_ms:g} ms at"
                f" least) against {percent(totals.base_rate)} of the baseline's"
                f" {totals.base_trials} over its own"
            )
        says += f"; {certainty(verdict, found.worse, found.better)}"
        figures = totals.figures() | {
            "bound_ms": bound,
            "baseline_ms": None if self._edge is None else _upper_ms(self._edge),
            "odds_ratio": self._ratio.odds_ratio,
            "log10_e_worse": found.worse.most / _LN10,
            "log10_e_no_worse": found.better.log_e / _LN10,
        }
        return Judgement(guard.called, verdict, says, figures)

    def memory(self) -> dict[str, Any]:
        """What a successor goes on from, as JSON has it."""
        return {
            "totals": self._totals.memory(),
            "edge": self._edge,
            "ratio": self._ratio.memory(),
            "bound": self._bound.memory(),
        }

    def _candidate_edge(self) -> int:
        """The bucket above which a request of the candidate is slow."""
        ms = self._candidate_ms()
        return int(histogram.index(_ns(ms or 0.0)))

    def _candidate_ms(self) -> float | None:
        if self._guard.max_ms is not None:
            return self._guard.max_ms
        if self._edge is None:
            return None
        return max(_upper_ms(self._edge) * self._guard.ratio, self._guard.floor_ms)


def _above(latencies: Counts, edge: int) -> Share:
    return Share(int(latencies[edge + 1 :].sum()), int(latencies.sum()))


def _upper_ms(bucket: int) -> float:
    # Nothing is slower than the last bucket's lower end, as far as is known.
    return min(histogram.upper_bound(bucket), 2.0**40) / 1e6


def _ns(ms: float) -> int:
    return int(min(ms * 1e6, 2.0**41))

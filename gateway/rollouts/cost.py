"""The guard on what a model's runs take of the processor.

Knows counts of runs by the size of their batches, and evidence. Knows nothing of other kinds of
guards.

Latency depends on behind whose batches a request waits, and time per row on how many rows ride
together; both are another version's doing where that has most of the traffic. Processor time of
runs of the same size is neither. So each second asks one question: did the candidate's runs take
more than `ratio` times what the baseline's of their sizes take on average (or than `floor_ms`,
where that is more)? If no more than half of all seconds say so, as the bound of a half has it
(`AgainstBound`), it is tolerable: whatever makes runs of one second depend on each other, a second
is one answer. Means of few runs lie below what they are means of more often than above, since times
are skewed to the right, which errs on the candidate's side. Sizes that the baseline has not run of
late take no part.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from gateway.config.guards import CostGuard
from gateway.rollouts.evidence import AgainstBound, Memory
from gateway.rollouts.judgements import Judgement
from gateway.rollouts.looks import Counts, Look, Reals
from gateway.rollouts.rates import certainty, verdict_of
from kernels import timing

_LN10: Final = math.log(10.0)
_HALF: Final = 0.5
# What runs take is of some minutes, as what is slow is for latency.
_FORGOTTEN: Final = 0.99
# What the baseline's mean may be off by stays for a minute, and so is no second's own chance: it is
# taken to be larger by so many standard errors, as if runs scattered by as much as they take.
_ERRORS: Final = 1.0
_MIN_RUNS: Final = 10.0  # of a size, before their mean is one to hold anything against


class CostJudge:
    """Of one guard."""

    def __init__(self, guard: CostGuard, memory: Memory | None = None) -> None:
        """Begins, or goes on from what was remembered."""
        memory = memory or {}
        self._guard = guard
        self._evidence = AgainstBound(_HALF, memory.get("evidence"))
        self._recent: Reals = np.zeros((timing.MAX_SIZE + 1, 2))
        # Of the candidate's runs that could be compared.
        self._rows, self._runs = map(int, memory.get("counts", (0, 0)))
        self._slow, self._seconds = map(int, memory.get("seconds", (0, 0)))
        self._took_ns, self._base_ns = map(float, memory.get("ns", (0.0, 0.0)))

    def take(self, look: Look) -> None:
        """Takes in what was counted."""
        candidate, baseline = look.candidate.runs, look.baseline.runs
        if candidate is None or baseline is None or not baseline.any():
            return  # where the baseline has no traffic, times are no longer of the same traffic
        self._recent = self._recent * _FORGOTTEN + baseline
        # Larger batches than the table has are of all sizes.
        self._compare(candidate[:-1], self._recent[:-1])

    def judge(self) -> Judgement:
        """What is known by now."""
        guard, found = self._guard, self._evidence
        enough = self._rows >= guard.min_rows
        verdict = verdict_of(found.worse, found.better, guard.alpha, guard.alpha, enough)
        figures = {
            "candidate_ms": self._ms(self._took_ns),
            "baseline_ms": self._ms(self._base_ns),
            "tolerated_ratio": guard.ratio,
            "floor_ms": guard.floor_ms,
            "slow_seconds": float(self._slow),
            "seconds": float(self._seconds),
            "candidate_rows": float(self._rows),
            "log10_e_worse": found.worse.most / _LN10,
            "log10_e_no_worse": found.better.log_e / _LN10,
        }
        says = f"{self._says()}; {certainty(verdict, found.worse, found.better)}"
        return Judgement(guard.called, verdict, says, figures)

    def memory(self) -> dict[str, Any]:
        """What a successor goes on from, as JSON has it."""
        return {
            "evidence": self._evidence.memory(),
            "counts": [self._rows, self._runs],
            "seconds": [self._slow, self._seconds],
            "ns": [self._took_ns, self._base_ns],
        }

    def _compare(self, candidate: Counts, baseline: Reals) -> None:
        both = (candidate[:, 0] > 0) & (baseline[:, 0] >= _MIN_RUNS)
        if not both.any():
            return
        runs, took = candidate[both].T.astype(float)
        base_runs = baseline[both, 0]
        usual = baseline[both, 1] / base_runs
        surely = usual * (1.0 + _ERRORS / np.sqrt(base_runs))
        allowed = np.maximum(surely * self._guard.ratio, self._guard.floor_ms * 1e6)
        slow = bool(took.sum() > (runs * allowed).sum())
        self._evidence.add(int(slow), 1)
        self._slow += slow
        self._seconds += 1
        self._runs += int(runs.sum())
        self._rows += int((runs * (np.flatnonzero(both) + 1)).sum())
        self._took_ns += float(took.sum())
        self._base_ns += float((runs * usual).sum())

    def _says(self) -> str:
        if not self._runs:
            return "processor time: no batches of the same size were run by both yet"
        guard = self._guard
        return (
            f"processor time: {self._ms(self._took_ns):.3g} ms a run of {self._runs} runs against"
            f" {self._ms(self._base_ns):.3g} ms of the baseline's of the same sizes; over"
            f" {guard.ratio:g} times that, and over {guard.floor_ms:g} ms, in {self._slow} of"
            f" {self._seconds} seconds"
        )

    def _ms(self, ns: float) -> float | None:
        return ns / self._runs / 1e6 if self._runs else None

"""Evidence that a candidate is worse, or is no worse, than is tolerated: valid at any time.

Knows likelihoods of what was counted, moment by moment. Knows nothing of guards or of clocks.

**Rates against the baseline's.** Of one moment's failures, how many are the candidate's depends on
the odds ratio alone (`kernels.odds`). Against the tolerated ratio stand larger ones, and for "no
worse" smaller ones: of each the likelihood over that of the tolerated one is a nonnegative
martingale that starts at 1 where the ratio is the tolerated one, and a supermartingale where it is
on the other side, even if it changes from moment to moment. So is their mean: however often one
looks, it ever passes 1/alpha with probability alpha at most (Ville). Nothing is taken to be large.

**Rates against a bound** are the like of it, by the binomial distribution; there the rate may
change, too: what is held against the bound is its average (by concavity of the logarithm).

**A candidate that becomes worse later** would have to undo all that spoke for it until then. So a
fifth of the evidence is set aside and put in anew each time the rows have grown by a tenth.

**Dependent requests.** Failures come in bursts: evidence, as a logarithm, is divided by how much
more the candidate's number scattered until now than it should have (`Scatter`). A root of what is
above 1 is smaller, so this never costs validity. It is an estimate, and what it does not see is
dependence between moments that concerns one of the two alone, such as one user, bound to the
candidate by a sticky key, whose requests all fail: users must be many for that not to matter.

Sources: Robbins (1970) and Ville (1939), as `gateway.outcomes.intervals`; Fisher (1935); Mantel and
Haenszel (1959) for the odds ratio of many moments.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from kernels.odds import log_probabilities, moments

Reals = np.ndarray[Any, np.dtype[np.float64]]
Memory = Mapping[str, Any]

# Logarithms of how many times the tolerated odds: from a quarter more to 35 times.
_STEPS: Final = 0.25 * 1.7 ** np.arange(6)
_AT_ONCE: Final = 0.8  # of the evidence; the rest is for what changes later
_GROWTH: Final = 1.1
_FIRST_AGAIN: Final = 1000
_A_LITTLE: Final = 0.5  # of a failure, on both sides: a ratio is found before there is one
_SURE: Final = 2.0  # variance that stands for "as it should be" before any was seen
# A first burst of eight would be evidence enough, as long as nobody knows that they come in bursts.
MIN_MOMENTS: Final = 10


class Evidence:
    """The mean of some likelihood ratios, each fed with its logarithm moment by moment.

    Attributes:
        effect: by what `log_e` is divided where it is above 0.
        most: the largest `log_e` that there ever was.
    """

    def __init__(self, memory: Memory | None = None) -> None:
        """Goes on from what was remembered; None: begins."""
        self.effect = 1.0
        self._logs = np.full(len(_STEPS), math.log(_AT_ONCE))
        self._kept = 1.0 - _AT_ONCE
        self._again = 0
        self._rows = 0
        self.most = 0.0
        # One that had other steps has nothing to say about these.
        if memory is not None and len(memory["logs"]) == len(_STEPS):
            self._logs = np.array(memory["logs"], float)
            self._kept, self._again = float(memory["kept"]), int(memory["again"])
            self._rows, self.most = int(memory["rows"]), float(memory["most"])

    @property
    def log_e(self) -> float:
        """Natural logarithm of the e-value by now."""
        mean = np.logaddexp.reduce(self._logs) - math.log(len(self._logs))
        found = float(np.logaddexp(mean, math.log(self._kept)))
        return found / self.effect if found > 0.0 else found

    def add(self, log_ratios: Reals, rows: int, effect: float) -> None:
        """One more moment.

        Args:
            log_ratios: (STEPS,) logarithms of its likelihood ratios.
            rows: of the candidate in it.
            effect: by what all evidence is divided from now on, 1 or more.
        """
        self._logs += log_ratios
        self._rows += rows
        self.effect = effect
        self.most = max(self.most, self.log_e)
        while self._rows >= _FIRST_AGAIN * _GROWTH**self._again:
            self._again += 1
            # These add up to what is set aside.
            part = (1.0 - _AT_ONCE) / (self._again * (self._again + 1))
            self._logs = np.logaddexp(self._logs, math.log(part))
            self._kept -= part

    def memory(self) -> Memory:
        """What a successor goes on from, as JSON has it."""
        return {
            "logs": self._logs.tolist(),
            "kept": self._kept,
            "again": self._again,
            "rows": self._rows,
            "most": self.most,
        }


class Scatter:
    """How much more a number scattered than its distribution would have it."""

    def __init__(self, memory: Memory | None = None) -> None:
        """Goes on from what was remembered; None: begins."""
        self._squares, self._variance, self._moments = _SURE, _SURE, 0
        if memory is not None:
            self._squares, self._variance = float(memory["squares"]), float(memory["variance"])
            self._moments = int(memory["moments"])

    @property
    def effect(self) -> float:
        """By what evidence is to be divided: 1 or more; endless before anything is known."""
        if self._moments < MIN_MOMENTS:
            return math.inf
        return max(self._squares / self._variance, 1.0)

    def add(self, apart: float, variance: float) -> None:
        """How far one number was from its mean, and its variance."""
        self._squares += apart * apart
        self._variance += variance
        self._moments += 1

    def memory(self) -> Memory:
        """What a successor goes on from, as JSON has it."""
        return {
            "squares": self._squares,
            "variance": self._variance,
            "moments": self._moments,
        }


class AgainstBaseline:
    """A candidate's rate of failures against its baseline's, by their odds ratio.

    Attributes:
        worse: that the ratio is above the tolerated one.
        better: that it is below.
    """

    def __init__(self, tolerated: float, memory: Memory | None = None) -> None:
        """Holds the odds ratio against the tolerated one; goes on from what was remembered."""
        memory = memory or {}
        self._tolerated = math.log(tolerated)
        self.worse, self.better = Evidence(memory.get("worse")), Evidence(memory.get("better"))
        self._scatter = Scatter(memory.get("scatter"))
        self.worse.effect = self.better.effect = self._scatter.effect
        # Mantel and Haenszel's sums.
        self._for, self._against = float(memory.get("for", 0)), float(memory.get("against", 0))
        steps = (np.zeros(1), _STEPS, -_STEPS)
        self._log_odds = self._tolerated + np.concatenate(steps)

    @property
    def odds_ratio(self) -> float | None:
        """As found; None where nobody failed."""
        return self._for / self._against if self._against > 0.0 else None

    @property
    def effect(self) -> float:
        """By what evidence is divided, requests being dependent; endless until that is known."""
        return self._scatter.effect

    def add(self, hits: int, trials: int, base_hits: int, base_trials: int) -> None:
        """What was counted in one more moment: of the candidate, and of the baseline."""
        together, everything = hits + base_hits, trials + base_trials
        if not trials or not base_trials or together in (0, everything):
            return
        # By what was found before: the moment itself would explain any burst.
        log_odds = math.log((self._for + _A_LITTLE) / (self._against + _A_LITTLE))
        mean, variance = moments(together, trials, base_trials, log_odds)
        self._scatter.add(hits - mean, variance)
        self._for += hits * (base_trials - base_hits) / everything
        self._against += base_hits * (trials - hits) / everything
        found = log_probabilities(hits, trials, base_hits, base_trials, self._log_odds)
        ratios = found[1:] - found[0]
        self.worse.add(ratios[: len(_STEPS)], trials, self.effect)
        self.better.add(ratios[len(_STEPS) :], trials, self.effect)

    def memory(self) -> Memory:
        """What a successor goes on from, as JSON has it."""
        return {
            "worse": self.worse.memory(),
            "better": self.better.memory(),
            "scatter": self._scatter.memory(),
            "for": self._for,
            "against": self._against,
        }


class AgainstBound:
    """A rate of failures against a bound.

    Attributes:
        worse: that the rate is above the bound.
        better: that it is below.
    """

    def __init__(self, bound: float, memory: Memory | None = None) -> None:
        """Holds the rate against `bound`, inside of 0 to 1; goes on from what was remembered."""
        memory = memory or {}
        self.worse, self.better = Evidence(memory.get("worse")), Evidence(memory.get("better"))
        self._scatter = Scatter(memory.get("scatter"))
        self.worse.effect = self.better.effect = self._scatter.effect
        self._hits, self._trials = int(memory.get("hits", 0)), int(memory.get("trials", 0))
        self._steps = np.concatenate((_STEPS, -_STEPS))
        self._costs = np.log1p(bound * np.expm1(self._steps))

    def add(self, hits: int, trials: int) -> None:
        """What was counted in one more moment."""
        if not trials:
            return
        self._hits += hits
        self._trials += trials
        rate = self._hits / self._trials
        self._scatter.add(hits - trials * rate, trials * rate * (1.0 - rate))
        ratios = hits * self._steps - trials * self._costs
        self.worse.add(ratios[: len(_STEPS)], trials, self._scatter.effect)
        self.better.add(ratios[len(_STEPS) :], trials, self._scatter.effect)

    def memory(self) -> Memory:
        """What a successor goes on from, as JSON has it."""
        return {
            "worse": self.worse.memory(),
            "better": self.better.memory(),
            "scatter": self._scatter.memory(),
            "hits": self._hits,
            "trials": self._trials,
        }

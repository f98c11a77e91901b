"""Simulated rollouts, looked at every second: how often is one rolled back, and how soon?

    python -m loadtest.simulate_rollouts --rollouts 5000               # identical candidates
    python -m loadtest.simulate_rollouts --rollouts 1000 --candidate-errors 0.02 --percent 5
    python -m loadtest.simulate_rollouts --rollouts 500 --burst 8      # failures in bursts

States, guards and evidence are the product's, and so are the default plan's steps and guards; only
the traffic is drawn: each request goes to the candidate by chance, fails or has no number at a
rate, takes a log-normal time, and has a score of one of twenty bins. The more of a version's
requests there are, the larger are its batches, whose runs take a log-normal time of the processor.
With `--burst` failures, slow requests and slow runs come so many at a time. `--percent` holds the
candidate at one weight, for `--rows` of its rows.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from gateway.config.guards import Guard
from gateway.config.rollout import RolloutPlan, Step
from gateway.rollouts import machine
from gateway.rollouts.judging import Judging
from gateway.rollouts.looks import Arm, Look, Outputs
from gateway.rollouts.stand import Seen, Stand, State
from kernels import histogram, timing
from loadtest.report import LATEST, tell
from loadtest.simulate_alarms import exact_interval

KEPT: Final = LATEST.with_name("rollouts.jsonl")
BINS: Final = 20
_MEDIAN_NS: Final = 2e6
_SPREAD: Final = 0.5  # of the logarithm of latency
_MAX_LOOKS: Final = 100_000
_RIDE_ALONG: Final = 4.0  # rows of a batch beside its first, of a version that has all requests
_RUN_NS: Final = 2e6  # of the processor: above what any run is tolerated
_ROW_NS: Final = 2e5
Counts = np.ndarray[Any, np.dtype[np.int64]]


class Traffic:
    """A second's requests of both versions, drawn at random."""

    def __init__(self, options: argparse.Namespace, rng: np.random.Generator) -> None:
        self._options, self._rng = options, rng
        took = np.random.default_rng(0).normal(np.log(_MEDIAN_NS), _SPREAD, 200_000)
        buckets = np.zeros(histogram.BUCKETS, np.int64)
        histogram.record(buckets, np.exp(took).astype(np.int64))
        # Those that there are: drawing of two thousand takes as long as all else.
        self._buckets = np.flatnonzero(buckets)
        self._latencies = buckets[self._buckets] / buckets.sum()
        self._scores = np.full(BINS, 1.0 / BINS)

    def second(self, share: float) -> Look:
        """What came, where the candidate has a share of it."""
        requests = int(self._rng.poisson(self._options.rate))
        mine = int(self._rng.binomial(requests, share))
        others = requests - mine
        outputs = Outputs(
            ["score"], [BINS], [True], self._scored(mine), self._scored(others), np.ones(1)
        )
        o = self._options
        candidate = self._arm(
            mine, share, o.candidate_errors, o.candidate_non_finite, o.candidate_cost
        )
        baseline = self._arm(others, 1.0 - share, o.errors, o.non_finite, 1.0)
        return Look(candidate, baseline, outputs)

    def _scored(self, rows: int) -> Counts:
        return self._rng.multinomial(rows, self._scores)[None, :]

    def _arm(
        self, requests: int, share: float, error_rate: float, non_finite: float, cost: float
    ) -> Arm:
        errors = self._failing(requests, error_rate)
        latencies = np.zeros(histogram.BUCKETS, np.int64)
        rows = requests - errors
        latencies[self._buckets] = self._drawn(rows)
        return Arm(
            requests=requests,
            errors=errors,
            rows=rows,
            non_finite=self._failing(rows, non_finite),
            latencies=latencies,
            runs=self._runs(rows, share, cost),
        )

    def _runs(self, rows: int, share: float, cost: float) -> Counts:
        many = round(rows / (1.0 + _RIDE_ALONG * share))
        beside = self._rng.poisson(_RIDE_ALONG * share, many)
        slow = self._rng.lognormal(0.0, _SPREAD, -(-many // self._options.burst))
        took = cost * (_RUN_NS + _ROW_NS * beside) * slow.repeat(self._options.burst)[:many]
        found = np.zeros((timing.MAX_SIZE + 1, 2), np.int64)
        sizes = np.bincount(beside)
        found[: len(sizes), 0] = sizes
        found[: len(sizes), 1] = np.bincount(beside, took)
        return found

    def _failing(self, requests: int, rate: float) -> int:
        burst: int = self._options.burst
        if burst == 1:
            return int(self._rng.binomial(requests, rate))
        return min(burst * int(self._rng.poisson(requests * rate / burst)), requests)

    def _drawn(self, requests: int) -> Counts:
        burst = self._options.burst
        drawn: Counts = burst * self._rng.multinomial(requests // burst, self._latencies)
        rest: Counts = self._rng.multinomial(requests % burst, self._latencies)
        return rest + drawn


def simulate(number: int, options: argparse.Namespace) -> dict[str, Any]:
    """How one rollout ended: when, by which guards, after how many of the candidate's rows."""
    plan = plan_of(options)
    traffic = Traffic(options, np.random.default_rng([options.seed, number]))
    judging, stand, rows = Judging(plan.guards), Stand(), 0
    for second in range(_MAX_LOOKS):
        look = traffic.second(_share(plan, stand))
        judgements = judging.take(look)
        rows += look.candidate.requests
        pending = stand.state is State.PENDING
        seen = Seen(rows=look.candidate.requests, judgements=() if pending else tuple(judgements))
        stand = machine.look(plan, stand, seen, float(second)).stand
        if stand.taken_back or stand.ended:
            break
    return {
        "state": str(stand.state),
        "step": stand.step,
        "second": second,
        "rows": rows,
        "guards": sorted(stand.failing) if stand.taken_back else [],
    }


def plan_of(options: argparse.Namespace) -> RolloutPlan:
    """The default plan, baked as long as is asked for; or one weight."""
    usual = RolloutPlan()
    steps = [step.model_copy(update={"bake_s": options.bake}) for step in usual.steps]
    if options.percent is not None:
        steps = [Step(percent=options.percent, bake_s=0, min_rows=options.rows)]
    guards: list[Guard] = [
        one.model_copy(update={"alpha": options.alpha} if options.alpha else {})
        for one in usual.guards
    ]
    return RolloutPlan(steps=steps, guards=guards, watch_s=options.watch)


def _share(plan: RolloutPlan, stand: Stand) -> float:
    if stand.state is State.PENDING:
        return 0.0
    if stand.promoted:
        return 1.0
    return (plan.steps[stand.step].percent or 0.0) / 100.0


def report(rollouts: Sequence[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """What the rollouts come to."""
    back = [one for one in rollouts if one["state"] == State.ROLLED_BACK]
    low, high = exact_interval(len(back), len(rollouts))
    guards = [name for one in back for name in one["guards"]]
    said: dict[str, Any] = {
        "ended": len(rollouts),
        "rolled_back": len(back),
        "share": len(back) / len(rollouts),
        "interval_95": [round(low, 6), round(high, 6)],
        "by_guard": {name: guards.count(name) for name in sorted(set(guards))},
        "looks": sum(one["second"] + 1 for one in rollouts),
    }
    if back:
        rows = [one["rows"] for one in back]
        ends = np.quantile(rows, [0.1, 0.5, 0.9], method="lower")
        said["rows_to_rollback"] = ends.tolist()
    return said


def parser() -> argparse.ArgumentParser:
    """What can be said on the command line."""
    made = argparse.ArgumentParser(
        prog="python -m loadtest.simulate_rollouts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("--rollouts", type=int, default=100)
    add("--first", type=int, default=0, help="number of the first: others are drawn otherwise")
    add("--rate", type=float, default=200.0, help="requests a second, of both versions")
    add("--errors", type=float, default=0.01, help="the baseline's rate")
    add("--candidate-errors", type=float, help="the candidate's; none: as the baseline's")
    add("--non-finite", type=float, default=0.005, help="of the baseline's rows, without a number")
    add("--candidate-non-finite", type=float, help="of the candidate's; none: as the baseline's")
    add("--candidate-cost", type=float, default=1.0, help="times what the baseline's runs take")
    add("--burst", type=int, default=1, help="failures, slow requests, slow runs at a time")
    add("--percent", type=float, help="one weight, in place of the default steps")
    add("--rows", type=int, default=20_000, help="of the candidate, at that weight")
    add("--bake", type=float, default=60.0, help="seconds that each default step bakes")
    add("--watch", type=float, default=60.0, help="seconds after the promotion")
    add("--alpha", type=float, help="of each guard; none: the default")
    add("--seed", type=int, default=1)
    add("--keep", action="store_true", help="for the page, which adds up all that was kept")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Prints what was found, as a line of JSON."""
    options = parser().parse_args(argv)
    if options.candidate_errors is None:
        options.candidate_errors = options.errors
    if options.candidate_non_finite is None:
        options.candidate_non_finite = options.non_finite
    began, rollouts = time.monotonic(), []
    for number in range(options.first, options.first + options.rollouts):
        rollouts.append(simulate(number, options))
        if len(rollouts) % 100 == 0:
            back = sum(one["state"] == State.ROLLED_BACK for one in rollouts)
            took = time.monotonic() - began
            said = f"{len(rollouts)} rollouts, {back} rolled back, {took:.0f} s"
            print(said, file=sys.stderr, flush=True)
    tell(vars(options) | report(rollouts, options), KEPT if options.keep else None)
    return 0


if __name__ == "__main__":
    sys.exit(main())

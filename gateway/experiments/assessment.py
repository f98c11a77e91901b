"""What an A/B test shows by now: its arms, its guardrails, whether shares are right, the verdict.

Knows what was added up of each arm and what is wanted of it. Knows nothing of ledgers, or of who
asks.

Arms that are compared with one control share alpha. Each guardrail has an alpha of its own: it is
there to be sure of harm, and whoever sets five of them has five chances of a false one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gateway.config.experiments import AbTest, Guardrail, Measure
from gateway.experiments.decisions import Guard, Verdict, judge
from gateway.experiments.estimates import Comparison, Estimate, compare, estimate
from gateway.experiments.mismatch import Mismatch, mismatch
from gateway.experiments.sums import CLUSTERS, Reals, Sums


@dataclass(slots=True)
class Evidence:
    """What was added up since an experiment began.

    Attributes:
        requests: by arm, (CLUSTERS,) of those that it assigned.
        sums: by measure, in the experiment's order, and arm.
        others: rows of its versions that it did not assign: asked for, or of another time.
    """

    requests: dict[str, Reals]
    sums: list[dict[str, Sums]]
    others: int = 0

    @classmethod
    def of(cls, arms: Collection[str], measures: int) -> Evidence:
        """Of no rows."""
        requests = {name: np.zeros(CLUSTERS) for name in arms}
        return cls(requests, [{name: Sums() for name in arms} for _ in range(measures)])

    def merge(self, more: Evidence) -> None:
        """Adds that of other rows of the same arms and measures."""
        for name, counts in self.requests.items():
            counts += more.requests[name]
        for own, others in zip(self.sums, more.sums, strict=True):
            for name, sums in own.items():
                sums.merge(others[name])
        self.others += more.others

    def as_json(self) -> dict[str, Any]:
        """As `read_evidence` takes it."""
        return {
            "requests": {name: counts.tolist() for name, counts in self.requests.items()},
            "sums": [{name: _plain(sums) for name, sums in by_arm.items()} for by_arm in self.sums],
            "others": self.others,
        }


def read_evidence(plain: Mapping[str, Any]) -> Evidence:
    """What `Evidence.as_json` wrote."""
    requests = {name: np.array(counts) for name, counts in plain["requests"].items()}
    sums = [{name: _sums(one) for name, one in by_arm.items()} for by_arm in plain["sums"]]
    return Evidence(requests, sums, plain["others"])


def _plain(sums: Sums) -> dict[str, Any]:
    # JSON has no infinity; of no numbers there is no least.
    bounds = [sums.least, sums.most] if sums.n else None
    return {
        "weights": sums.weights.tolist(),
        "totals": sums.totals.tolist(),
        "squares": sums.squares,
        "bounds": bounds,
    }


def _sums(plain: Mapping[str, Any]) -> Sums:
    least, most = plain["bounds"] or (np.inf, -np.inf)
    weights, totals = np.array(plain["weights"], float), np.array(plain["totals"], float)
    return Sums(weights, totals, plain["squares"], least, most)


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm by one measure.

    Attributes:
        vs_control: None of control itself, and where nothing is known.
    """

    name: str
    estimate: Estimate
    vs_control: Comparison | None


@dataclass(frozen=True, slots=True)
class Measured:
    """All arms by one measure."""

    name: str
    better: str
    arms: tuple[Arm, ...]


@dataclass(frozen=True, slots=True)
class Assessment:
    """What an A/B test shows.

    Attributes:
        verdict: what it has come to.
        measure: by what is decided.
        guardrails: in the experiment's order.
        mismatch: whether arms get their shares.
        others: as `Evidence` has them.
    """

    verdict: Verdict
    measure: Measured
    guardrails: tuple[Measured, ...]
    mismatch: Mismatch
    others: int = field(default=0)


def measures(spec: AbTest) -> list[Measure]:
    """What is to be added up, in the order of `Evidence.sums`."""
    return [spec.measure, *spec.guardrails]


def assess(
    spec: AbTest,
    control: str,
    weights: Mapping[str, float],
    evidence: Evidence,
    over: bool = False,
) -> Assessment:
    """What an A/B test shows by now.

    Args:
        spec: what is wanted.
        control: the arm that others are compared with.
        weights: of all arms.
        evidence: what was added up.
        over: its time is over.
    """
    shares = mismatch([evidence.requests[name] for name in weights], list(weights.values()))
    main, *others = (
        _measured(spec, control, weights, measure, sums)
        for measure, sums in zip(measures(spec), evidence.sums, strict=True)
    )
    guards = [
        _guard(rail, found, control) for rail, found in zip(spec.guardrails, others, strict=True)
    ]
    doubt = "arms do not get their shares" if shares.alarm else ""
    arms = _compared(main, control)
    verdict = judge(control, spec.measure.sign, arms, guards, spec.min_effect, doubt, over)
    return Assessment(verdict, main, tuple(others), shares, evidence.others)


def _measured(
    spec: AbTest,
    control: str,
    weights: Mapping[str, float],
    measure: Measure,
    sums: Mapping[str, Sums],
) -> Measured:
    alpha, total = spec.alpha / (len(sums) - 1), sum(weights.values())
    found = []
    for name, own in sums.items():
        versus = None
        if name != control:
            of_both = (weights[name] + weights[control]) / total
            versus = compare(own, sums[control], alpha, spec.expected_rows * of_both)
        found.append(Arm(name, estimate(own, spec.alpha), versus))
    return Measured(measure.name, "higher" if measure.sign > 0 else "lower", tuple(found))


def _guard(rail: Guardrail, found: Measured, control: str) -> Guard:
    arms = _compared(found, control)
    return Guard(rail.name, rail.sign, rail.margin, rail.on_harm == "stop", arms)


def _compared(found: Measured, control: str) -> dict[str, Comparison | None]:
    return {arm.name: arm.vs_control for arm in found.arms if arm.name != control}

"""Comparisons in turns, and what may be said of the figures that come of them.

Knows numbers and callables. Knows nothing of servers or load.

A shared machine's speed varies by a fifth from second to second. Absolute figures therefore say
little; contestants take short turns, A B C, C B A, ..., and ratios within a round are compared.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import comb
from statistics import median
from typing import Any, TypeVar

Turn = TypeVar("Turn")


def interval90(values: Sequence[float]) -> tuple[float, float]:
    """An interval that holds the true median with at least 90 % probability.

    Holds for any distribution: the k-th smallest to the k-th largest value, where k is the highest
    rank for which fewer than k of n fair coins come up heads with a probability of at most 5 %.
    Below five values there is no such interval, and the whole range is returned.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("interval90: expected at least one value, got none")
    ordered, n = sorted(values), len(values)
    k, below = 0, 0.0
    while (below := below + comb(n, k) / 2**n) <= 0.05:
        k += 1
    k = max(k, 1)
    return ordered[k - 1], ordered[n - k]


def take_turns(
    contestants: Mapping[str, Callable[[], Turn]],
    rounds: int,
    progress: Callable[[int, Mapping[str, Turn]], None] | None = None,
) -> list[dict[str, Turn]]:
    """Runs every contestant once a round, the order turned round each time.

    One more round goes before and is thrown away: it warms up.
    """
    kept: list[dict[str, Turn]] = []
    for number in range(rounds + 1):
        order = list(contestants.items())
        turn = {name: play() for name, play in (order if number % 2 else order[::-1])}
        if number:
            kept.append(turn)
            if progress:
                progress(number, turn)
    return kept


COMPARE = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True)
class Measure:
    """One figure against its target.

    Attributes:
        label: what is measured.
        values: one a turn.
        op: `>=` or `<=`; empty where there is no target.
        limit: the target.
    """

    label: str
    values: Sequence[float]
    op: str = ""
    limit: float = 0.0
    unit: str = ""

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def reached(self) -> bool | None:
        """Whether the median meets the target; None without one."""
        return COMPARE[self.op](self.median, self.limit) if self.op else None

    @property
    def target(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return (
            f"{self.label} {self.op} {self.limit:g}{unit}"
            if self.op
            else f"{self.label} (no target)"
        )

    def document(self) -> dict[str, Any]:
        low, high = interval90(self.values)
        return {
            "label": self.label,
            "target": self.target,
            "median": self.median,
            "interval90": [low, high],
            "unit": self.unit,
            "reached": self.reached,
            "n_turns": len(self.values),
        }


@dataclass(frozen=True)
class Result:
    """What a scenario found.

    Attributes:
        measures: the first is the headline.
        need: whether `all` measures with a target must be reached, or `any` one of them.
        faults: answers that were wrong, lost or missing; with any, nothing is reached.
        skipped: why it did not run; then there are no measures and nothing is reached.
    """

    name: str
    title: str
    measures: Sequence[Measure] = ()
    need: str = "all"
    detail: Mapping[str, Any] = field(default_factory=dict)
    faults: int = 0
    skipped: str = ""

    @property
    def reached(self) -> bool | None:
        if self.faults:
            return False
        verdicts = [m.reached for m in self.measures if m.reached is not None]
        if not verdicts:
            return None
        return any(verdicts) if self.need == "any" else all(verdicts)

    def document(self) -> dict[str, Any]:
        """As plain values; `reached` is null where there is no target or nothing was measured."""
        names = {"name": self.name, "title": self.title, "reached": self.reached}
        if not self.measures:  # skipped, or it broke down
            return names | {"skipped": self.skipped, "measures": [], "detail": dict(self.detail)}
        measures = [m.document() for m in self.measures]
        joint = " or " if self.need == "any" else "; "
        headline = next((m for m in measures if m["reached"] and self.need == "any"), measures[0])
        return names | {
            "target": joint.join(m.target for m in self.measures if m.op) or "(no target)",
            "measured": headline["median"],
            "interval90": headline["interval90"],
            "n_turns": headline["n_turns"],
            "faults": self.faults,
            "measures": measures,
            "detail": dict(self.detail),
        }


def ratios(rows: Sequence[Mapping[str, float]], mine: str, other: str) -> list[float]:
    """One contestant over another, round by round, but where the other did nothing."""
    return [row[mine] / row[other] for row in rows if row[other]]

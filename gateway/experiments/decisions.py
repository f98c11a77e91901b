"""What an experiment has come to: running, decided, futile, or stopped by a guardrail.

Knows comparisons of arms with control, and what was wanted. Knows nothing of sums, or of who acts.

Each rule reads intervals that hold at all times at once, so none of them can be tricked by looking
often. In this order:

    harm      a guardrail's interval lies wholly beyond its margin on the worse side: where it is to
              stop, the experiment ends
    doubt     arms do not get their shares, say: nothing is decided on figures that are not to be
              trusted
    decided   an arm's interval lies wholly on the better side of 0: it wins, the best of several;
              or all arms' intervals lie on the worse side: control wins
    futile    no arm can gain `min_effect` any more, or time is over
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.experiments.estimates import Comparison

RUNNING, DECIDED, FUTILE, HARMFUL = "running", "decided", "futile", "harmful"
STATES: Final = (RUNNING, DECIDED, FUTILE, HARMFUL)


@dataclass(frozen=True, slots=True)
class Harm:
    """An arm is shown to be worse in something that must not become worse.

    Attributes:
        arm: which.
        measure: in what.
        at_least: by how much.
        stops: it ends the experiment.
    """

    arm: str
    measure: str
    at_least: float
    stops: bool

    def told(self) -> str:
        """For people."""
        return f"'{self.arm}' harms {self.measure} by {self.at_least:.4g} at least"


@dataclass(frozen=True, slots=True)
class Guard:
    """What is known of a guardrail.

    Attributes:
        measure: its name.
        sign: 1 where higher is better, else -1.
        margin: less harm is none.
        stops: whether harm ends the experiment.
        arms: how each compares with control; None: nothing known.
    """

    measure: str
    sign: float
    margin: float
    stops: bool
    arms: Mapping[str, Comparison | None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What it has come to.

    Attributes:
        state: one of STATES.
        winner: the arm that is shown to be best; empty: none is.
        why: for people.
        harms: all that are shown, whether or not they stop anything.
    """

    state: str
    winner: str
    why: str
    harms: tuple[Harm, ...] = ()


def judge(
    control: str,
    sign: float,
    arms: Mapping[str, Comparison | None],
    guards: Sequence[Guard],
    min_effect: float,
    doubt: str,
    over: bool,
) -> Verdict:
    """What an experiment has come to.

    Args:
        control: the arm that others are compared with.
        sign: 1 where higher is better, else -1.
        arms: how each other arm compares; None: nothing known.
        guards: of its guardrails.
        min_effect: a smaller gain is of no use.
        doubt: why figures are not to be trusted; empty: they are.
        over: its time is over.
    """
    harms = tuple(harm for guard in guards for harm in _harms(guard))
    stopping = next((harm for harm in harms if harm.stops), None)
    if stopping is not None:
        return Verdict(HARMFUL, "", stopping.told(), harms)
    gains = {name: _gain(found, sign) for name, found in arms.items()}
    if not doubt:
        better = {name: gain for name, gain in gains.items() if gain and gain[0] > 0.0}
        if better:
            best = max(better, key=lambda name: better[name][0])
            why = f"'{best}' is better than '{control}' by {better[best][0]:.4g} at least"
            return Verdict(DECIDED, best, why, harms)
        if all(gain and gain[1] < 0.0 for gain in gains.values()):
            return Verdict(DECIDED, control, f"every other arm is worse than '{control}'", harms)
        if min_effect and all(gain and gain[1] < min_effect for gain in gains.values()):
            return Verdict(FUTILE, "", f"no arm gains {min_effect:.4g}", harms)
    if over:
        return Verdict(FUTILE, "", "its time is over and nothing is shown", harms)
    why = f"{doubt}: nothing is decided" if doubt else "not shown yet"
    return Verdict(RUNNING, "", why, harms)


def _gain(found: Comparison | None, sign: float) -> tuple[float, float] | None:
    """Where the gain over control lies; None: nothing can be said yet."""
    if found is None or found.low is None or found.high is None:
        return None
    low, high = sorted((sign * found.low, sign * found.high))
    return low, high


def _harms(guard: Guard) -> list[Harm]:
    found = []
    for arm, comparison in guard.arms.items():
        gain = _gain(comparison, guard.sign)
        if gain is not None and -gain[1] > guard.margin:
            found.append(Harm(arm, guard.measure, -gain[1], guard.stops))
    return found

"""The demo's part on outcomes: what really happened is told late, and then begins to differ.

Knows how to send rows and what came of them, and what control says. Knows nothing of how a model is
judged: it asks as anybody would.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from gateway.cli.demo_drift import ANSWERED_WITHIN_S, BURST, CONNECTIONS, PAUSE_S
from gateway.cli.demo_rows import MODEL, Row
from gateway.cli.output import progress, say, table
from gateway.errors import Unavailable

if TYPE_CHECKING:
    from gateway.client import Admin

SEED = 2
# Of the 569 rows the first so many are what later outcomes are held against.
CONFIG = "concept: {baseline_outcomes: 300}\n"
REVERSED = 0.3  # of outcomes, once what follows from the inputs has changed
ALARM_WITHIN_S = 120.0
KNOWN_WITHIN_S = 30.0
RULE = "concept_drift"
_VERSION = f"/api/models/{MODEL}/versions/1"
_SHOWN = {
    "accuracy": "share of outcomes that were predicted",
    "brier": "mean squared error of the probability",
    "ece": "expected calibration error, 15 bins",
    "roc_auc": "chance that a benign one scores higher",
}


@dataclass(frozen=True, slots=True)
class Learnt:
    """What outcomes told.

    Attributes:
        outcomes: of the first pass over the rows, that found their answer.
        delay_s: from answers to these, on average.
        figures: of them, by name, each with the ends of its interval where it has one.
        reliability: their scores by bins: upper edge, rows, mean score, mean outcome.
        rows_to_alarm: rows whose outcomes differed, before the alarm fired.
        alarm: its name and severity.
        error_rate: at first, and in the window that raised the alarm, and what that is at least.
        drifting: inputs and outputs that the drift monitor alarms on meanwhile.
    """

    outcomes: int
    delay_s: float
    figures: dict[str, tuple[float, float | None, float | None]]
    reliability: list[tuple[float, int, float, float]]
    rows_to_alarm: int
    alarm: str
    error_rate: tuple[float, float, float]
    drifting: tuple[str, ...]

    def faults(self, expected: int) -> list[str]:
        """What is not as it should be, of so many rows."""
        found = [f"{name}: alarm though inputs are as before" for name in self.drifting]
        if self.outcomes != expected:
            found.append(f"outcomes: {self.outcomes} of {expected} found their answer")
        return found

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def learn(port: int, control: Admin, rows: Sequence[Row], ids: Sequence[str]) -> Learnt:
    """Tells what came of the first answers, then of new ones what differs, until the alarm fires.

    Args:
        port: where rows are sent.
        control: asked and told.
        rows: of the first answers, and drawn from for new ones.
        ids: of the first answers.

    Raises:
        Unavailable: no figures, or no alarm, in time; or no answer.
    """
    progress(f"telling what came of the first {len(ids)} answers")
    _tell(control, [(name, row.target) for name, row in zip(ids, rows, strict=True)])
    report = _figures(control, len(ids))
    before = control.ask("GET", f"{_VERSION}/concept-drift")
    progress(f"the same rows again, but {REVERSED:.0%} of what comes of them is reversed")
    sent = _until_alarm(port, control, rows, random.Random(SEED))
    after = control.ask("GET", f"{_VERSION}/concept-drift")["error_rate"]["raised"]
    alarm = next(one for one in _alarms(control) if one["rule"] == RULE)
    return Learnt(
        outcomes=report["labelled"],
        delay_s=report["delay_mean_s"],
        figures={name: _with_ends(report, name) for name in _SHOWN},
        reliability=[
            (one["le"], one["n"], one["mean_score"], one["mean_outcome"])
            for one in report["reliability"]
            if one["n"]
        ],
        rows_to_alarm=sent,
        alarm=f"{alarm['rule']} ({alarm['severity']})",
        error_rate=(before["baseline_error_rate"], after["value"], after["low"]),
        drifting=tuple(
            column["name"]
            for one in _alarms(control)
            if one["rule"] == "drift"
            for column in one["columns"]
        ),
    )


def tell(found: Learnt) -> None:
    """The tables, and the alarm."""
    say(
        f"Outcomes of {found.outcomes} answers came {found.delay_s:.0f} s after these on average"
        " (most of these rows the model was trained on):"
    )
    lines = [
        (name, f"{value:.4f}", "" if low is None else f"{low:.4f} to {high:.4f}", _SHOWN[name])
        for name, (value, low, high) in found.figures.items()
    ]
    say(table(("figure", "value", "for sure within", "what"), lines))
    say()
    bins = [(f"{le:.2f}", n, f"{s:.3f}", f"{y:.3f}") for le, n, s, y in found.reliability]
    say(table(("score up to", "rows", "mean score", "benign"), bins))
    say()
    first, value, low = found.error_rate
    say(
        f"Then {REVERSED:.0%} of what came of the same rows was reversed: {found.rows_to_alarm}"
        f" rows later the alarm {found.alarm} fired."
    )
    say(
        f"At first {first:.1%} of outcomes were wrong; of those after them {value:.1%}, and"
        f" {low:.1%} at least."
    )
    silent = "nothing" if not found.drifting else "something: " + ", ".join(found.drifting)
    say(f"Inputs and answers look as before, and the drift monitor says {silent}.")


# ---- what is sent --------------------------------------------------------------------------------


def _tell(control: Admin, outcomes: Sequence[tuple[str, int]]) -> None:
    told = [{"id": name, "outcome": outcome} for name, outcome in outcomes]
    control.ask("POST", "/api/outcomes", {"outcomes": told})


def _until_alarm(port: int, control: Admin, rows: Sequence[Row], drawn: random.Random) -> int:
    """Sends rows and outcomes, some reversed, until the alarm fires; how many that took."""
    from gateway.cli.volley import fire

    sent, deadline = 0, time.monotonic() + ALARM_WITHIN_S
    while not any(one["rule"] == RULE for one in _alarms(control)):
        if time.monotonic() > deadline:
            raise Unavailable(f"no alarm within {ALARM_WITHIN_S:g} s, {sent} rows sent")
        start = time.monotonic()
        some = drawn.choices(rows, k=BURST)
        requests = [row.request for row in some]
        found = fire("127.0.0.1", port, requests, CONNECTIONS, ANSWERED_WITHIN_S)
        _tell(
            control,
            [
                (answer.id, row.target ^ (drawn.random() < REVERSED))
                for row, answer in zip(some, found.answers, strict=True)
            ],
        )
        sent += BURST
        # A steady rate, as traffic has one: control looks at outcomes once a second.
        time.sleep(max(0.0, start + PAUSE_S - time.monotonic()))
    return sent


# ---- what control says ---------------------------------------------------------------------------


def _figures(control: Admin, outcomes: int) -> dict[str, Any]:
    """The report, once outcomes that had to wait for their record are in it."""
    deadline = time.monotonic() + KNOWN_WITHIN_S
    while True:
        found = control.ask("GET", f"{_VERSION}/performance")
        if found["labelled"] >= outcomes:
            return found
        if time.monotonic() > deadline:
            raise Unavailable(f"{found['labelled']} of {outcomes} outcomes found their answer")
        time.sleep(PAUSE_S)  # records are drained once a second, and nobody tells when


def _with_ends(report: dict[str, Any], name: str) -> tuple[float, float | None, float | None]:
    ends = report["intervals"].get(name)
    value = report["figures"][name]
    return (value, None, None) if ends is None else (value, ends["low"], ends["high"])


def _alarms(control: Admin) -> list[dict[str, Any]]:
    """Those that fire."""
    return [one for one in control.ask("GET", "/api/alerts")["alerts"] if one["state"] == "firing"]

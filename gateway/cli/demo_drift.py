"""The demo's part on drift: the same rows again, then one feature of them shifted, until it alarms.

Knows how to send rows steadily, and what control says of them. Knows nothing of how drift is found:
it asks as anybody would.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import pstdev
from typing import TYPE_CHECKING, Any

from gateway.cli.demo_rows import MODEL, Row
from gateway.cli.output import progress, say, table
from gateway.errors import Unavailable

if TYPE_CHECKING:
    from gateway.client import Admin

SHIFTED = "mean_smoothness"
"""Of the 30, one that hardly moves the answers: nobody would notice by these."""
SEED = 1
LOOK_ROWS = 2000  # that both looks are over, at least
BURST, PAUSE_S, CONNECTIONS = 100, 0.2, 4  # 500 rows a second: most of the machine stays free
ANSWERED_WITHIN_S = 30.0
# Some 20 s of traffic tell how much rows depend on each other; a busy machine takes longer.
SETTLED_WITHIN_S, ALARM_WITHIN_S = 120.0, 120.0
SHOWN = 4  # features beside the shifted one
RULE = "drift"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a report says of a column."""

    name: str
    rows: int
    psi: float
    ks: float
    log10_e: float
    alarm: str


@dataclass(frozen=True, slots=True)
class Drifted:
    """How it went.

    Attributes:
        rows_to_alarm: shifted rows that were sent before the alarm fired.
        named: the columns that the alarm named.
        before, after: every feature and output, over the newest rows, by name.
    """

    rows_to_alarm: int
    named: tuple[str, ...]
    before: dict[str, Seen]
    after: dict[str, Seen]

    def faults(self) -> list[str]:
        """What is not as it should be."""
        quiet = [one.name for one in self.before.values() if one.alarm == "drift"]
        loud = {one.name for one in self.after.values() if one.alarm == "drift"} | {*self.named}
        found = [f"{name}: alarm on clean traffic" for name in quiet]
        found += [f"{name}: named, but was not shifted" for name in sorted(loud - {SHIFTED})]
        return found if SHIFTED in self.named else [*found, f"{SHIFTED}: shifted, but not named"]

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"shifted": SHIFTED, **asdict(self)}


def settle(port: int, control: Admin, rows: Sequence[Row], drawn: random.Random) -> None:
    """Sends clean rows until verdicts are known.

    Raises:
        Unavailable: no verdict in time, or no answer.
    """
    progress("watching clean traffic: verdicts take some 20 s of it")
    _send(port, rows, drawn, lambda: _settled(control), SETTLED_WITHIN_S, "verdict")


def shift(port: int, control: Admin, rows: Sequence[Row], drawn: random.Random) -> Drifted:
    """Sends shifted rows until the alarm fires.

    Raises:
        Unavailable: no alarm in time, or no answer.
    """
    before = _report(control)
    progress(f"shifting {SHIFTED} by one standard deviation")
    sent = _send(
        port, _shifted(rows), drawn, lambda: bool(_firing(control)), ALARM_WITHIN_S, "alarm"
    )
    named = tuple(column["name"] for alarm in _firing(control) for column in alarm["columns"])
    return Drifted(sent, named, before, _report(control))


def tell(found: Drifted) -> None:
    """The table: the shifted feature, and those with the most evidence beside it."""
    header = ("feature", "rows", "psi", "ks", "log10 e")
    after = sorted(found.after.values(), key=lambda seen: -seen.log10_e)
    names = [SHIFTED, *(seen.name for seen in after if seen.name != SHIFTED)][: SHOWN + 1]
    lines = [
        (name, *_figures(found.before[name]), *_figures(found.after[name]), found.after[name].alarm)
        for name in names
    ]
    say(table((*header, *(f"{word} after" for word in header[1:]), "alarm"), lines))
    say()
    say(
        f"{SHIFTED} was shifted by one standard deviation: {found.rows_to_alarm} rows later the"
        f" alarm named {', '.join(found.named)}."
    )
    others = sum(seen.alarm == "drift" for name, seen in found.after.items() if name != SHIFTED)
    say(f"Of the other {len(found.after) - 1} features and outputs, {others} alarm.")


def _figures(seen: Seen) -> tuple[str, ...]:
    return f"{seen.rows}", f"{seen.psi:.3f}", f"{seen.ks:.3f}", f"{seen.log10_e:.1f}"


# ---- traffic ------------------------------------------------------------------------------------


def _send(
    port: int,
    rows: Sequence[Row],
    drawn: random.Random,
    enough: Callable[[], bool],
    within_s: float,
    wanted: str,
) -> int:
    """Sends rows drawn from `rows` until it is enough, and says how many."""
    from gateway.cli.volley import fire

    requests = [row.request for row in rows]
    sent, deadline = 0, time.monotonic() + within_s
    while not enough():
        if time.monotonic() > deadline:
            raise Unavailable(f"port {port}: no {wanted} within {within_s:g} s, {sent} rows sent")
        start = time.monotonic()
        fire("127.0.0.1", port, drawn.choices(requests, k=BURST), CONNECTIONS, ANSWERED_WITHIN_S)
        sent += BURST
        # A steady rate, as traffic has one: what is waited for comes after seconds, not after rows.
        time.sleep(max(0.0, start + PAUSE_S - time.monotonic()))
    return sent


def _shifted(rows: Sequence[Row]) -> list[Row]:
    place = rows[0].features.index(SHIFTED)
    step = pstdev(float(row.values[place]) for row in rows)
    return [
        replace(
            row,
            values=(
                *row.values[:place],
                repr(float(row.values[place]) + step),
                *row.values[place + 1 :],
            ),
        )
        for row in rows
    ]


# ---- what control says --------------------------------------------------------------------------


def _settled(control: Admin) -> bool:
    return all(seen.alarm != "too_few_rows" for seen in _report(control).values())


def _report(control: Admin) -> dict[str, Seen]:
    path = f"/api/models/{MODEL}/versions/1/drift"
    report = control.ask("GET", path, query={"rows": str(LOOK_ROWS)})
    return {
        line["name"]: Seen(
            line["name"],
            line["rows"],
            line["psi"] or 0.0,
            line["ks"] or 0.0,
            line["log10_e"] or 0.0,
            line["alarm"],
        )
        for line in (*report["features"], *report["outputs"])
    }


def _firing(control: Admin) -> list[dict[str, Any]]:
    found = control.ask("GET", "/api/alerts")["alerts"]
    return [one for one in found if (one["rule"], one["state"]) == (RULE, "firing")]

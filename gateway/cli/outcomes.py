"""`penstock outcomes`: joins what came of predictions to them, from a file.

Knows what the server answers, and when to send again. Knows nothing of the ledger or of files.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from gateway.cli.actions import add_action
from gateway.cli.output import moment, say, say_json
from gateway.errors import BodyTooLarge, Unavailable

if TYPE_CHECKING:
    from gateway.client import Admin

TIMEOUT_S: Final = 60.0
BATCH: Final = 5000
NOT_JOINED: Final = 3  # not 1: the file was read and sent, and some of it fits nothing
_MISSED: Final = ("ambiguous", "unknown", "expired", "invalid")
MAX_FAULTS: Final = 20
# A control process that was killed is back within a second or two, a server within ten.
PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
# What shows that we may ask is good for a minute.
_FRESH_S: Final = 30.0


def configure(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "outcomes",
        help="join what came of predictions to them",
        description="Tells the server that runs on this home what came of its predictions.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    load = add_action(
        actions,
        "import",
        import_file,
        "send the outcomes of a file; the same again changes nothing, so try again what failed",
    )
    load.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="CSV with a header, Parquet, or JSON, one object a line: id or client_id, outcome or"
        " reward, and maybe row, metric and at",
    )
    add_action(actions, "status", show_status, "show what the ledger holds, lost and forgot")
    forget = add_action(
        actions,
        "forget-metric",
        forget_metric,
        "forget a business metric with all its numbers, which makes room for another",
    )
    forget.add_argument("metric", metavar="METRIC")


def import_file(args: argparse.Namespace) -> int:
    """Sends a file, a batch at a time; exit status 3 where some outcomes were not joined."""
    from gateway.cli.outcome_files import outcomes
    from gateway.cli.progress import Bar

    counts: Counter[str] = Counter()
    faults: list[str] = []
    with Sender(lambda: _server(args)) as sender, Bar(args.file.name) as bar:
        rows = outcomes(args.file, bar)
        while batch := list(islice(rows, BATCH)):
            found = sender.send(batch)
            counts.update(found["counts"])
            faults += found["faults"][: MAX_FAULTS - len(faults)]
    if args.json:
        say_json({"counts": dict(counts), "faults": faults, "sent_again": sender.again})
    else:
        _tell(args.file.name, counts, faults, sender.again)
    return NOT_JOINED if any(counts[name] for name in _MISSED) else 0


def show_status(args: argparse.Namespace) -> int:
    """Prints what the ledger holds."""
    with _server(args) as control:
        found = control.ask("GET", "/api/outcomes")
    if args.json:
        say_json(found)
        return 0
    since = "" if found["oldest"] is None else f" since {moment(found['oldest'])}"
    say(f"{found['records']} records{since}, {found['bytes']} bytes")
    say(
        f"{found['forgotten_records']} forgotten, {found['lost_records']} lost,"
        f" {found['skipped_rows']} rows skipped, {found['unsampled_rows']} not sampled"
    )
    told = ", ".join(f"{count} {name}" for name, count in found["outcomes"].items() if count)
    say(f"outcomes: {told or 'none'}; {found['waiting']} wait")
    if found["metrics"] or found["refused_numbers"]:
        names = ", ".join(found["metrics"]) or "none"
        say(f"metrics: {names}; {found['refused_numbers']} numbers refused")
    return 0


def forget_metric(args: argparse.Namespace) -> int:
    """Has the server forget a metric."""
    with _server(args) as control:
        found = control.ask("DELETE", f"/api/outcomes/metrics/{quote(args.metric, safe='')}")
    if args.json:
        say_json(found)
    else:
        say(f"{found['metric']}: forgotten, with all its numbers")
    return 0


class Sender:
    """Sends outcomes to a server that may be replaced meanwhile. A context manager.

    Attributes:
        again: how often something was sent again; what had arrived of it is a duplicate then.
    """

    def __init__(
        self,
        connect: Callable[[], Admin],
        pause: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes what opens connections, what waits so many seconds, and a clock."""
        self._connect = connect
        self._pause = pause
        self._now = now
        self._control = connect()
        self._until = now() + _FRESH_S
        self.again = 0

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()

    def send(self, outcomes: Sequence[Any]) -> dict[str, Any]:
        """What became of them: `counts` and `faults`.

        Raises:
            GatewayError: they were refused, or nobody took them for a minute.
        """
        for pause_s in PAUSES_S:
            try:
                return self._send(outcomes)
            except Unavailable:  # joined or not: the same once more changes nothing
                self._until = 0.0
            except BodyTooLarge:
                if len(outcomes) == 1:
                    raise
                half = len(outcomes) // 2
                return _both(self.send(outcomes[:half]), self.send(outcomes[half:]))
            self._pause(pause_s)
            self.again += 1
        return self._send(outcomes)

    def _send(self, outcomes: Sequence[Any]) -> dict[str, Any]:
        if self._now() >= self._until:
            self._control.close()
            self._control, self._until = self._connect(), self._now() + _FRESH_S
        return self._control.ask("POST", "/api/outcomes", {"outcomes": outcomes})


def _both(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    counts = {name: one["counts"][name] + other["counts"][name] for name in one["counts"]}
    return {"counts": counts, "faults": one["faults"] + other["faults"]}


def _tell(name: str, counts: Counter[str], faults: Sequence[str], again: int) -> None:
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    say(f"{name}: {told or 'no outcomes'}")
    if again:
        say(f"  {again} times the server was away; what it had joined by then is a duplicate")
    for fault in faults:
        say(f"  {fault}")


def _server(args: argparse.Namespace) -> Admin:
    from gateway.cli.running import admin_of

    return admin_of(args.home, TIMEOUT_S)

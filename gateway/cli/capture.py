"""`penstock capture status` and `penstock erase`: what is kept of requests, and its end.

Knows options and how answers are shown. Knows nothing of how rows are kept or erased.
"""

from __future__ import annotations

import argparse
from typing import Any

from gateway.cli.actions import add_action
from gateway.cli.output import moment, say, say_json, table
from gateway.cli.serve import add_home, take_home
from gateway.errors import InvalidParameter, NotFound


def configure(subparsers: Any) -> None:
    """Adds both commands."""
    capture = subparsers.add_parser(
        "capture",
        help="show what is kept of inputs and outputs",
        description="Inputs and outputs that are kept of models whose configuration says so.",
    )
    actions = capture.add_subparsers(title="actions", metavar="ACTION", required=True)
    add_action(actions, "status", show_status, "show what is captured, and what was dropped")

    erase = subparsers.add_parser(
        "erase",
        help="erase what is kept of a request, or of whom requests are about",
        description="Erases captured rows, records of the ledger and outcomes from the home, with"
        " its server or without one. The audit tells of it by a keyed hash. What was interrupted"
        " goes on when it is asked for again.",
    )
    erase.add_argument(
        "--request-id", action="append", default=[], metavar="ID", help="may be given often"
    )
    erase.add_argument(
        "--subject",
        action="append",
        default=[],
        metavar="VALUE",
        help="of the request parameter that models.NAME.capture.subject names; may be given often",
    )
    add_home(erase)
    erase.add_argument("--json", action="store_true", help="print what was erased as JSON")
    erase.set_defaults(run=run_erase)


def show_status(args: argparse.Namespace) -> int:
    """Prints a line a version."""
    from gateway.cli.running import admin_of

    with admin_of(args.home) as control:
        found = control.ask("GET", "/api/captures")
    if args.json:
        say_json(found)
        return 0
    head = ("MODEL", "VERSION", "CAPTURED", "DROPPED", "WAITING", "IN FILES", "BYTES", "SINCE")
    rows = [_line(one) for one in found["versions"]]
    say(table(head, rows) if rows else "nothing was captured: set models.NAME.capture")
    return 0


def _line(one: dict[str, Any]) -> tuple[Any, ...]:
    dropped = ", ".join(f"{count} {why}" for why, count in one["dropped"].items() if count)
    since = "-" if one["oldest"] is None else moment(one["oldest"])
    counts = (one["captured"], dropped or "0", one["waiting"], one["rows"], one["bytes"])
    return (one["model"], one["version"], *counts, since)


def run_erase(args: argparse.Namespace) -> int:
    """Asks the running server; without one, does it here."""
    from gateway.cli.running import admin, find

    if not args.request_id and not args.subject:
        raise InvalidParameter("expected --request-id or --subject, got neither")
    home = args.home.resolve()
    server = find(home)
    if server is None:
        found = _offline(args)
    else:
        wanted = {"request_ids": args.request_id, "subjects": args.subject}
        with admin(home, server) as control:
            found = control.ask("POST", "/api/erasures", wanted)
    if args.json:
        say_json(found)
    else:
        _tell(found)
    return 0


def _offline(args: argparse.Namespace) -> dict[str, Any]:
    from gateway.access.secret import server_secret
    from gateway.control.audit import at_terminal
    from gateway.control.erasures import erase_offline
    from gateway.control.store import FILE, Store

    home = args.home.resolve()
    if not (home / FILE).is_file():
        raise NotFound(f"home {home}: there is no state")
    secret = server_secret(home, make=False)
    with take_home(home), Store.open(home) as store:
        report = erase_offline(home, store, secret, at_terminal(), args.request_id, args.subject)
    return report.as_json()


def _tell(found: dict[str, Any]) -> None:
    say(
        f"{found['requests']} requests: {found['rows']} captured rows, {found['records']} records"
        f" and {found['waiting']} waiting outcomes erased"
    )
    if found["begun_anew"]:
        say(f"first rows thrown away, others are collected: {', '.join(found['begun_anew'])}")
    for name in found["references"]:
        say(
            f"{name} is held against its own first rows, whose categories and extremes may be"
            f" theirs: penstock profile reset {name.replace('/', ' ')}"
        )

"""`penstock retire` and `penstock unretire`: versions leave for good, or come back.

Knows options and sentences. Knows nothing of how a version leaves: it asks the server.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gateway.cli.arguments import positive
from gateway.cli.output import moment, say, say_json, table
from gateway.cli.serve import add_home

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S = 330.0  # longer than workers may take to load a version


def configure(subparsers: Any) -> None:
    """Adds the commands."""
    retire = _command(
        subparsers,
        "retire",
        retire_version,
        "take a version out of service for good",
        "A version that no route, alias or shadow names leaves the workers. Its files, profile and"
        " history are kept; whoever still names it is told its successor (410).",
    )
    retire.add_argument("--successor", type=positive, metavar="VERSION", help="whom to ask instead")
    retire.add_argument("--force", action="store_true", help="even if it was called of late")
    retire.add_argument(
        "--days", type=positive, default=7, metavar="N", help="callers of so many days (default: 7)"
    )
    retire.add_argument("--why", default="", metavar="TEXT", help="for whoever reads the audit")
    retire.add_argument(
        "--dry-run", action="store_true", help="show who called it, and change nothing"
    )
    _command(
        subparsers,
        "unretire",
        unretire_version,
        "let a retired version serve again",
        "It serves again if anything asks for it: an alias, a route, or its being the newest.",
    )


def retire_version(args: argparse.Namespace) -> int:
    """Retires a version; returns once no worker has it."""
    if args.dry_run:
        return _show_callers(args)
    document = {
        "successor": args.successor,
        "force": args.force,
        "days": args.days,
        "why": args.why,
    }
    made = _ask(args, "POST", "retire", document)
    if args.json:
        say_json(made)
        return 0
    successor = made["successor"]
    where = "nobody in its place" if successor is None else f"version {successor} in its place"
    say(f"model '{made['model']}': version {made['version']} is retired; callers are told: {where}")
    return 0


def unretire_version(args: argparse.Namespace) -> int:
    """Brings a version back."""
    found = _ask(args, "POST", "unretire")
    if args.json:
        say_json(found)
        return 0
    why = f" ({found['reason']})" if found["reason"] else ""
    say(f"model '{found['model']}': version {found['version']} is {found['state']}{why}")
    return 0


def _show_callers(args: argparse.Namespace) -> int:
    found = _ask(args, "GET", f"callers?days={args.days}")
    if args.json:
        say_json(found)
        return 0
    rows = [
        (one["caller"] or "(access is open)", one["requests"], moment(one["last"]))
        for one in found["callers"]
    ]
    nobody = f"nobody called it within {args.days} days"
    say(table(("CALLER", "REQUESTS", "LAST"), rows) if rows else nobody)
    return 0


def _command(subparsers: Any, name: str, run: Any, text: str, more: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, help=text, description=f"{text[:1].upper()}{text[1:]}. {more}"
    )
    add_home(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("version", type=positive, metavar="VERSION")
    parser.set_defaults(run=run)
    return parser


def _ask(
    args: argparse.Namespace, method: str, action: str, document: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    from gateway.cli.running import admin_of

    path = f"/api/models/{quote(args.model, safe='')}/versions/{args.version}/{action}"
    with admin_of(args.home, TIMEOUT_S) as control:
        return control.ask(method, path, document)

"""`penstock alerts`: alarms of the server that runs on a home, and what could not be delivered.

Knows options and tables. Knows nothing of how alarms come about: it asks the server.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from gateway.cli.actions import add_action
from gateway.cli.output import moment, say, say_json, table

if TYPE_CHECKING:
    from gateway.client import Admin

TIMEOUT_S = 30.0


def configure(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "alerts",
        help="show alarms, and send again what could not be delivered",
        description="Asks the server that runs on this home about its alarms.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    add_action(actions, "list", list_alerts, "show alarms that fire, are pending, or were over")
    add_action(actions, "dead-letters", list_dead_letters, "show what could not be delivered")
    retry = add_action(actions, "retry", retry_letter, "try to deliver a dead letter again")
    retry.add_argument("number", type=int, metavar="NUMBER")


def list_alerts(args: argparse.Namespace) -> int:
    """Prints one line an alarm; those that fire first."""
    with _server(args) as control:
        found = control.ask("GET", "/api/alerts")["alerts"]
    if args.json:
        say_json(found)
        return 0
    rows = [
        (
            one["state"],
            one["rule"],
            one["severity"],
            f"{one['model']}/{one['version']}",
            moment(one["since"]),
            one["condition"],
            ", ".join(column["name"] for column in one["columns"][:5]),
        )
        for one in found
    ]
    header = ("STATE", "RULE", "SEVERITY", "MODEL", "SINCE", "CONDITION", "COLUMNS")
    say(table(header, rows) if rows else "no alarms")
    return 0


def list_dead_letters(args: argparse.Namespace) -> int:
    """Prints one line a letter, the newest first."""
    with _server(args) as control:
        found = control.ask("GET", "/api/alerts/dead-letters")["letters"]
    if args.json:
        say_json(found)
        return 0
    rows = [
        (
            one["number"],
            moment(one["dead_at"]),
            one["sink"],
            one["attempts"],
            one["reason"],
            one["summary"],
        )
        for one in found
    ]
    header = ("NUMBER", "DIED", "SINK", "ATTEMPTS", "REASON", "WHAT")
    say(table(header, rows) if rows else "no dead letters")
    return 0


def retry_letter(args: argparse.Namespace) -> int:
    """Has a letter sent again."""
    with _server(args) as control:
        letter = control.ask("POST", f"/api/alerts/dead-letters/{args.number}/retry")
    if args.json:
        say_json(letter)
    else:
        say(f"letter {letter['number']} is on its way to {letter['sink']} again")
    return 0


def _server(args: argparse.Namespace) -> Admin:
    from gateway.cli.running import admin_of

    return admin_of(args.home, TIMEOUT_S)

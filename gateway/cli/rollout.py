"""`penstock rollout`: have a version take a route over step by step, and read how it went.

Knows options, tables and how a story is told. Knows nothing of how a rollout goes on: it asks the
server.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gateway.cli.actions import add_action
from gateway.cli.arguments import positive
from gateway.cli.output import moment, printable, say, say_json, table
from gateway.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

# Longer than a worker that died takes to be replaced.
TIMEOUT_S = 60.0
MOVES = {
    "pause": "hold a rollout where it is; its guards go on",
    "resume": "go on with a paused rollout",
    "approve": "let a rollout go on that waits for it; not by who started it",
    "promote": "promote the candidate now, or end its watch",
    "abort": "take the candidate back",
}


def configure(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "rollout",
        help="have a version take a route over step by step",
        description="Asks the server that runs on this home about its rollouts, or moves them.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    start = add_action(actions, "start", start_rollout, "have a version take a route over")
    start.add_argument("route", metavar="ROUTE", help="the model that clients call")
    start.add_argument(
        "--to", type=positive, required=True, metavar="VERSION", help="the candidate"
    )
    start.add_argument(
        "--plan",
        type=Path,
        metavar="FILE",
        help="steps and guards, in YAML; by default 1, 5, 25, 50 and 100 %%",
    )
    listing = add_action(actions, "list", list_rollouts, "show rollouts, the newest first")
    listing.add_argument("route", nargs="?", metavar="ROUTE", help="default: of all routes")
    show = add_action(actions, "show", show_rollout, "tell the story of a rollout")
    _which(show)
    for name, text in MOVES.items():
        move = add_action(actions, name, move_rollout, text)
        move.set_defaults(move=name)
        _which(move)
        move.add_argument("--why", default="", metavar="TEXT", help="for whoever reads the story")
    start.add_argument("--why", default="", metavar="TEXT", help="for whoever reads the story")


def start_rollout(args: argparse.Namespace) -> int:
    """Starts one."""
    document: dict[str, Any] = {"to": args.to, "why": args.why}
    if args.plan is not None:
        document["plan"] = _read(args.plan)
    return _tell(args, _ask(args, "POST", f"/api/routes/{_part(args.route)}/rollouts", document))


def list_rollouts(args: argparse.Namespace) -> int:
    """Prints one line a rollout."""
    found = _list(args, args.route)
    if args.json:
        say_json(found)
        return 0
    head = ("ROLLOUT", "ROUTE", "FROM", "TO", "STATE", "STEP", "STARTED", "BY")
    rows = [
        (
            *(one["number"], one["route"], one["baseline"], one["candidate"], _state(one)),
            *(f"{one['step']} of {one['steps']}", moment(one["started_at"]), one["started_by"]),
        )
        for one in found
    ]
    say(table(head, rows) if rows else "no rollouts")
    return 0


def show_rollout(args: argparse.Namespace) -> int:
    """Tells the story of one."""
    return _tell(args, _ask(args, "GET", _path(args)))


def move_rollout(args: argparse.Namespace) -> int:
    """Pauses, resumes, approves, promotes or aborts one; returns once every worker follows."""
    return _tell(args, _ask(args, "POST", f"{_path(args)}/{args.move}", {"why": args.why}))


def story(rollout: Mapping[str, Any]) -> list[str]:
    """A rollout as people read it: what it is, what happened, how it stands now."""
    lines = [
        f"rollout {rollout['number']} of '{rollout['route']}': version {rollout['baseline']} to"
        f" {rollout['candidate']}, {_state(rollout)},"
        f" step {rollout['step']} of {rollout['steps']}"
    ]
    lines += [f"warning: {printable(text)}" for text in rollout["warnings"]]
    for event in rollout["story"]:
        who = f" ({printable(event['who'])})" if event["who"] else ""
        lines.append(f"{moment(event['at'])}  {printable(event['says'])}{who}")
        # What the sentence has said already is not said again.
        told = [one for one in event["judgements"] if one["says"] not in event["says"]]
        lines += [f"    {_judged(one)}" for one in told]
    if rollout["judgements"] and not rollout["over"]:
        lines.append("now:")
        lines += [f"    {_judged(one)}" for one in rollout["judgements"]]
    if rollout["awaits"]:
        lines.append(f"it waits for {printable(rollout['awaits'])}")
    if rollout["unwritten"]:
        lines.append(f"in force, and not written down yet: {printable(rollout['unwritten'])}")
    return lines


def _judged(one: Mapping[str, Any]) -> str:
    name = "" if one["says"].startswith(one["guard"]) else f"{one['guard']}: "
    return printable(f"{one['verdict']}: {name}{one['says']}")


def _state(rollout: Mapping[str, Any]) -> str:
    state = str(rollout["state"])
    if rollout["waits"]:
        return f"{state}, waiting for approval"
    if state == "promoted" and not rollout["over"]:
        return "promoted, watched"
    return state


def _which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "rollout", metavar="ROLLOUT", help="its number, or the route: the newest of that"
    )


def _path(args: argparse.Namespace) -> str:
    if args.rollout.isdecimal():
        return f"/api/rollouts/{int(args.rollout)}"
    found = _list(args, args.rollout)
    if not found:
        raise NotFound(f"route '{args.rollout}' has had no rollout")
    return f"/api/rollouts/{found[0]['number']}"


def _list(args: argparse.Namespace, route: str | None) -> list[Any]:
    query = "" if route is None else f"?model={_part(route)}"
    found: list[Any] = _ask(args, "GET", f"/api/rollouts{query}")["rollouts"]
    return found


def _read(path: Path) -> dict[str, Any]:
    """The plan in a file, checked here: the server would name the same faults less well."""
    from gateway.config import read_text
    from gateway.config.rollout import parse_plan

    # What is not said stays unsaid: which of the usual guards can judge, the server knows.
    return parse_plan(read_text(path), str(path)).model_dump(mode="json", exclude_unset=True)


def _part(name: str) -> str:
    return quote(name, safe="")


def _tell(args: argparse.Namespace, rollout: Mapping[str, Any]) -> int:
    if args.json:
        say_json(rollout)
    else:
        say("\n".join(story(rollout)))
    return 0


def _ask(args: argparse.Namespace, method: str, path: str, document: Any = None) -> dict[str, Any]:
    from gateway.cli.running import admin_of

    with admin_of(args.home, TIMEOUT_S) as control:
        return control.ask(method, path, document)

"""`penstock monitoring`: what a version is watched by, release by release, and the way back.

Knows options and tables. Knows nothing of how releases are kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.actions import add_action
from gateway.cli.models import store_of
from gateway.cli.output import moment, say, say_json, table
from gateway.errors import ModelNotFound, VersionNotFound

if TYPE_CHECKING:
    from gateway.control.release import Release
    from gateway.control.releases import Releases
    from gateway.control.store import Store


def configure(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "monitoring",
        help="list, show and restore what a model is watched by",
        description="Profile, contract and alert rules of a version form a numbered release: the"
        " newest is in force. A server that runs on this home takes a change up at once.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    history = add_action(actions, "history", list_releases, "list the releases, the newest first")
    show = add_action(actions, "show", show_release, "show one release: its contract and its rules")
    text = "put profile, contract and rules of an earlier release in force again"
    back = add_action(actions, "rollback", roll_back, text)
    for action in (history, show, back):
        action.add_argument("model", metavar="MODEL")
        action.add_argument("version", nargs="?", metavar="VERSION|ALIAS")
    show.add_argument("--release", type=int, metavar="N", help="which (default: the newest)")
    back.add_argument("--release", type=int, metavar="N", help="which (default: the one before)")
    back.add_argument("--note", default="", metavar="TEXT", help="why, for the history")


def list_releases(args: argparse.Namespace) -> int:
    """Prints one line a release."""
    with watched_version(args.home, args.model, args.version) as (releases, model, version):
        found = releases.history(model, version)
    if args.json:
        say_json([one.as_json() for one in found])
        return 0
    rows = [
        (
            one.number,
            moment(one.at),
            one.who,
            one.profile[:12] + (" self-referenced" if one.self_referenced else ""),
            one.contract[:12] + (" edited" if one.edited else ""),
            len(one.as_json()["thresholds"]),
            one.note or "-",
        )
        for one in found
    ]
    header = ("RELEASE", "TIME", "WHO", "PROFILE", "CONTRACT", "RULES", "NOTE")
    say(table(header, rows) if rows else "no releases yet")
    return 0


def show_release(args: argparse.Namespace) -> int:
    """Prints a release with its contract."""
    from gateway.alerts.notices import condition
    from gateway.contracts import document
    from gateway.control.release import rules_of

    with watched_version(args.home, args.model, args.version) as (releases, model, version):
        found = releases.get(model, version, args.release)
        contract = releases.contract(found)
    if args.json:
        say_json({**found.as_json(), "contract_document": document.plain(contract)})
        return 0
    say(f"release {found.number} of model '{model}' version {version}: {found.note or 'no note'}")
    say(f"  profile   {found.profile} of {found.rows} rows")
    say(f"  contract  {found.contract}" + (", edited" if found.edited else ""))
    rules = rules_of(found)
    for rule in rules or ():
        say(f"  rule      {rule.name}: {condition(rule)}")
    if rules is None:
        say("  rules     of another version of Penstock; those of the configuration are in force")
    return 0


def roll_back(args: argparse.Namespace) -> int:
    """Restores a release, and waits for a running server to follow."""
    with watched_version(args.home, args.model, args.version) as (releases, model, version):
        before = releases.get(model, version).number
        found = releases.rollback(model, version, args.release, note=args.note)
    return tell(args, found, before)


# ---- what they share ----------------------------------------------------------------------------


@contextmanager
def watched_version(
    home: Path, name: str, which: str | None
) -> Iterator[tuple[Releases, str, int]]:
    """The releases of a home, and which version of a model is meant.

    Raises:
        ModelNotFound, VersionNotFound: there is no such thing.
    """
    from gateway.control.releases import Releases

    with store_of(home) as store:
        releases = Releases(store, home)
        yield releases, name, _version(store, home, releases, name, which)


def _version(store: Store, home: Path, releases: Releases, name: str, which: str | None) -> int:
    """Of a registered model, or of one that a file or folder brings."""
    from gateway.control.registry import Registry

    try:
        return Registry(store, home).resolve(name, which).version
    except (ModelNotFound, VersionNotFound):
        known = releases.versions(name)
        meant = [one for one in known if which is None or str(one) == which]
        if not meant:
            raise
        return meant[-1]


def tell(args: argparse.Namespace, found: Release, before: int) -> int:
    """Has a running server follow, and says what came of a change."""
    from gateway.cli import verdict

    answer = verdict.announce(args.home, found.model, found.version)
    if args.json:
        value = {"model": found.model, "version": found.version, "before": before}
        say_json({**value, **found.as_json(), "server": answer.as_json()})
        return answer.status
    what = f"model '{found.model}' version {found.version}"
    if found.number == before:
        say(f"{what}: release {before} says this already")
    else:
        say(f"{what}: release {found.number}, after {before}: {found.note or 'no note'}")
        say(f"  profile   {found.profile[:12]} of {found.rows} rows")
        say(f"  contract  {found.contract[:12]}" + (", edited" if found.edited else ""))
    for line in answer.words():
        say(line)
    return answer.status

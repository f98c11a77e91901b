"""`penstock contract`: what a model's inputs may hold, shown, written to a file, set.

Knows options and how a contract is shown. Knows nothing of how one is inferred or kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.output import printable, say, table
from gateway.cli.releases import tell, watched_version
from gateway.cli.serve import add_home

if TYPE_CHECKING:
    from gateway.contracts.values import Column, Contract
    from gateway.control.releases import Releases

# Lines of a table; more are for a program to read.
MAX_SHOWN = 200


def configure(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "contract",
        help="show or set what a model's inputs may hold",
        description="Prints the contract of a version: inferred from its profile, or set. `--json`"
        " prints it as a file that can be edited, and `--set FILE` puts such a file in force."
        " What becomes of inputs that break it, `models.NAME.contract` in the configuration says:"
        " observe, warn or reject. A server that runs on this home takes a change up at once.",
    )
    parser.add_argument("model", metavar="MODEL", help="a registered or watched model")
    parser.add_argument("version", nargs="?", metavar="VERSION|ALIAS")
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--set", type=Path, metavar="FILE", help="put this one in force")
    change.add_argument("--reset", action="store_true", help="put the inferred one in force")
    parser.add_argument("--note", default="", metavar="TEXT", help="why, for the history")
    add_home(parser)
    parser.add_argument("--json", action="store_true", help="print the contract, or what was done")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Shows a contract, or sets one and waits for a running server to follow."""
    from gateway.contracts import document

    wanted = None if args.set is None else document.load(args.set)
    with watched_version(args.home, args.model, args.version) as (releases, model, version):
        if wanted is None and not args.reset:
            return _show(args, *_in_force(releases, args, model, version))
        _begin(releases, args, model, version)
        before = releases.get(model, version).number
        found = releases.set_contract(model, version, wanted, note=args.note)
    return tell(args, found, before)


def _in_force(
    releases: Releases, args: argparse.Namespace, model: str, version: int
) -> tuple[Contract, str]:
    """A version's contract, and where it comes from."""
    from gateway.contracts.inference import infer

    newest = releases.newest(model, version)
    if newest is not None:
        kind = "edited" if newest.edited else "inferred"
        return releases.contract(newest), f"{kind}, release {newest.number}"
    return infer(_profile(args, model, version)), "inferred, not in force yet"


def _begin(releases: Releases, args: argparse.Namespace, model: str, version: int) -> None:
    """Makes the first release where no server has."""
    from gateway.control.release import Offer, thresholds_of
    from gateway.control.revisions import Revisions
    from gateway.profiles.document import digest

    if releases.newest(model, version) is None:
        from gateway.cli.models import store_of

        profile = _profile(args, model, version)
        with store_of(args.home) as store:
            alerts = Revisions(store).newest().config.alerts
        releases.settle(
            model, version, Offer(profile, digest(profile), thresholds_of(alerts, model))
        )


def _profile(args: argparse.Namespace, model: str, version: int) -> Any:
    from gateway.cli.profile import found_profile

    return found_profile(args.home, model, str(version))


def _show(args: argparse.Namespace, contract: Contract, source: str) -> int:
    from gateway.contracts.document import digest, text

    if args.json:
        say(text(contract).rstrip())
        return 0
    say(f"contract {digest(contract)[:12]} of '{args.model}' ({source})")
    for tensor in contract.tensors:
        say()
        say(f"input '{printable(tensor.name)}' {tensor.datatype}")
        rows = [_line(column) for column in tensor.columns[:MAX_SHOWN]]
        say(table(("COLUMN", "TAKES", "MISSING"), rows))
        if len(tensor.columns) > MAX_SHOWN:
            say(f"... and {len(tensor.columns) - MAX_SHOWN} more; --json prints all")
    return 0


def _line(column: Column) -> tuple[object, ...]:
    from gateway.contracts.words import takes

    return column.name, takes(column), "taken" if column.missing else "-"

"""`penstock doctor`: looks at this machine and installation, and says what to do.

Knows how findings are printed and what they mean for the exit status. Knows nothing of what is
looked at: `installation`, `machine`, `exposure`, `monitoring` and `providers` do.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.output import say, say_json
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from gateway.cli.findings import Case, Finding
    from gateway.config import Config


def configure(subparsers: Any) -> None:
    """Adds the command."""
    from gateway.cli.serve import add_home

    parser = subparsers.add_parser(
        "doctor",
        help="check this machine and installation, and say what to do",
        description="Checks machine, installation and configuration. Exit status 1: one failed.",
    )
    parser.add_argument(
        "--config",
        type=Path,
        help="the document that would be served; without, the newest revision that was applied",
    )
    add_home(parser)
    parser.add_argument("--json", action="store_true", help="findings as one JSON document")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints each finding as it comes; 1 if any check failed."""
    from gateway import config, layers
    from gateway.cli.findings import Case, Finding

    findings: list[Finding] = []

    def note(finding: Finding) -> None:
        findings.append(finding)
        if not args.json:
            _print(finding)

    try:
        found, name = _document(args.config, args.home)
        document = layers.effective(found, os.environ, ())
        note(Finding("configuration", "ok", name))
    except GatewayError as error:
        document = config.Config()
        for fault in str(error).splitlines():
            note(Finding("configuration", "fail", fault, "correct it: penstock config schema"))
    for finding in _examine(Case(document, args.home.absolute())):
        note(finding)
    return _conclude(findings, args.json)


def _document(path: Path | None, home: Path) -> tuple[Config, str]:
    """What `serve` would take here, and how it is called."""
    from gateway import config
    from gateway.cli import proposing

    if path is not None:
        return config.load(path), str(path)
    newest = proposing.revision(home)
    return newest.config, f"revision {newest.number}" if newest.number else "the defaults apply"


def _examine(case: Case) -> Iterator[Finding]:
    from gateway.cli import exposure, installation, machine, monitoring, providers

    rooms = (installation, machine, exposure, monitoring, providers)
    for check in (check for room in rooms for check in room.CHECKS):
        yield from check(case)


def _print(finding: Finding) -> None:
    say(f"{finding.state:<4}  {finding.check:<13}  {finding.found}")
    if finding.advice:
        say(f"{'':<21}-> {finding.advice}")


def _conclude(findings: Sequence[Finding], as_json: bool) -> int:
    failed = sum(finding.state == "fail" for finding in findings)
    warned = sum(finding.state == "warn" for finding in findings)
    if as_json:
        say_json({"ok": failed == 0, "checks": [asdict(finding) for finding in findings]})
    else:
        say(f"{len(findings)} checks: {failed} failed, {warned} to look at")
    return 1 if failed else 0

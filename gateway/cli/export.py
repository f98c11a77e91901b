"""`penstock export`: captured rows with what came of them, for a training script.

Knows options and how to say what there was and what not. Knows nothing of files of rows.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.arguments import add_version
from gateway.cli.output import say, say_json
from gateway.cli.serve import add_home
from gateway.errors import GatewayError, InvalidParameter

if TYPE_CHECKING:
    from gateway.capture.export import Exported


def configure(subparsers: Any) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "export",
        help="write captured rows, with what came of them, to a file",
        description=(
            "Writes what was captured of a model, a line for each row: its address, prediction,"
            " score and outcome, and a column for each feature. Needs no server, and minds none:"
            " one that runs is asked to write what it still holds."
        ),
    )
    add_version(parser, default="all")
    parser.add_argument("--labelled", action="store_true", help="only rows whose outcome is known")
    parser.add_argument("--window", metavar="7d", help="of what was answered so long ago at most")
    parser.add_argument(
        "--outputs", action="store_true", help="all outputs of the model, behind its features"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="FILE.parquet, .csv or .ndjson"
    )
    parser.add_argument("--force", action="store_true", help="replace FILE where it exists")
    add_home(parser)
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Writes the file and says what is in it."""
    from gateway.access.durations import read_duration
    from gateway.capture.export import export
    from gateway.capture.files import FOLDER, check_installed
    from gateway.cli.progress import Bar
    from gateway.control.ledger_store import series_in
    from gateway.control.outcomes import FOLDER as LEDGER
    from gateway.outcomes.view import LedgerView

    check_installed()
    if args.out.exists() and not args.force:
        raise InvalidParameter(f"{args.out}: it exists; --force replaces it")
    first_ms = 0
    if args.window is not None:
        first_ms = int((time.time() - read_duration(args.window, "--window")) * 1000.0)
    home = args.home.resolve()
    _flush(home)
    ledger = LedgerView(home / LEDGER)
    with Bar(args.out.name) as bar:
        found = export(
            home / FOLDER,
            ledger,
            args.model,
            args.version,
            first_ms,
            args.labelled,
            args.out,
            args.outputs,
            bar,
        )
    series = [
        one.id
        for one in series_in(home / LEDGER)
        if one.model == args.model and one.version in found.versions
    ]
    found.uncaptured = max(0, ledger.count(series, first_ms) - found.labelled)
    if args.json:
        say_json({"file": str(args.out), **asdict(found)})
    else:
        _tell(args.out, found)
    return 0


def _flush(home: Path) -> None:
    """Has a running server write what is in no file yet; one that does not is told of."""
    from gateway.cli.running import admin, find

    server = find(home)
    if server is None:
        return
    try:
        with admin(home, server) as control:
            control.ask("POST", "/api/captures/flush")
    except GatewayError as error:
        sys.stderr.write(f"penstock: rows of the last minute may be missing: {error}\n")


def _tell(out: Path, found: Exported) -> None:
    versions = ", ".join(map(str, found.versions))
    say(f"{out}: {found.rows} rows of version {versions}, {len(found.features)} features")
    say(f"{found.captured} rows were captured; the outcome of {found.labelled} is known")
    if found.uncaptured:
        say(f"{found.uncaptured} outcomes are of rows that were not captured")

"""`penstock config`: the configuration's JSON schema for editors, and a check of a document.

Knows how both are printed. Knows nothing of what may be set: `gateway.config` does.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gateway.cli.output import say, say_json


def configure(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "config",
        help="print the configuration's schema, or check a document",
        description="What a configuration document may say, and whether one says it right.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    schema = actions.add_parser(
        "schema",
        help="print the JSON schema, for editors",
        description="Prints the JSON schema of the configuration document.",
    )
    schema.add_argument("--json", action="store_true", help="on one line")
    schema.set_defaults(run=print_schema)

    check = actions.add_parser(
        "check",
        help="check a document: all faults at once, each with its path",
        description="Checks a configuration document. Exit status 0: no faults.",
    )
    check.add_argument("file", type=Path, metavar="FILE", help="YAML document")
    check.add_argument("--json", action="store_true", help="print the document as it is understood")
    check.set_defaults(run=check_file)


def print_schema(args: argparse.Namespace) -> int:
    """Prints the schema; it is JSON either way."""
    from gateway.config import Config

    say_json(Config.model_json_schema(), indent=None if args.json else 2)
    return 0


def check_file(args: argparse.Namespace) -> int:
    """Prints that the document is fine, or raises `ConfigInvalid` with all its faults."""
    from gateway import config

    document = config.load(args.file)
    if args.json:
        say_json({"ok": True, "file": str(args.file), "config": document.model_dump(mode="json")})
    else:
        named = f", {len(document.models)} models named" if document.models else ""
        say(f"{args.file}: no faults{named}")
    return 0

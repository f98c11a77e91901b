"""How a command with several actions (`penstock keys create`) declares one of them.

Knows argparse and the options that every action has. Knows no action.
"""

from __future__ import annotations

import argparse
from typing import Any

from gateway.cli.serve import add_home


def add_action(
    actions: Any, name: str, run: Any, text: str, home: bool = True
) -> argparse.ArgumentParser:
    """The parser of an action, for options of its own.

    Args:
        actions: what `add_subparsers` gave.
        name: how it is called.
        run: what it runs; takes the parsed arguments, returns the exit status.
        text: what it does, one line in lower case.
        home: whether it works on a home.
    """
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=text, description=f"{text[:1].upper()}{text[1:]}."
    )
    if home:
        add_home(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)
    return parser

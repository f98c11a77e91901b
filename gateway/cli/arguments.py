"""Arguments that several commands take, and kinds of them.

Knows text. Knows nothing of what the arguments are for. Kinds raise `argparse.ArgumentTypeError`.
"""

from __future__ import annotations

import argparse


def names(text: str) -> tuple[str, ...]:
    """`a,b` as ("a", "b")."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def positive(text: str) -> int:
    """A whole number from 1 on."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got '{text}'")
    return number


def add_version(parser: argparse.ArgumentParser, default: str = "served") -> None:
    """Adds MODEL and VERSION, and which version it is where none is named."""
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument(
        "version", nargs="?", type=int, metavar="VERSION", help=f"default: {default}"
    )

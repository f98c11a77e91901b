"""Kinds of arguments that several commands take.

Knows text. Knows nothing of what the arguments are for. Each raises `argparse.ArgumentTypeError`.
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

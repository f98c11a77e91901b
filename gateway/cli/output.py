"""How commands speak: lines, tables and JSON on stdout, progress and complaints on stderr.

Knows streams and columns. Knows nothing of what the commands do.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any


def say(text: str = "") -> None:
    """One line of result, on stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say_json(value: Any, indent: int | None = 2) -> None:
    """The whole result as one JSON document, on stdout."""
    say(json.dumps(value, indent=indent, default=str))


def progress(text: str) -> None:
    """What is going on, on stderr, so that it never mixes with results."""
    sys.stderr.write(f"penstock: {text}\n")
    sys.stderr.flush()


def moment(seconds: float) -> str:
    """Seconds since 1970 as people read them: here, and how far that is from UTC.

    Raises:
        ValueError, OverflowError, OSError: no calendar goes there.
    """
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")


def printable(text: str, most: int | None = None) -> str:
    """Names from data or clients as a line may show them, cut where they are longer than `most`.

    What moves the cursor or begins a line would say what nobody here has said.
    """
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if most is None or len(text) <= most else f"{text[: most - 3]}..."


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as their widest cell; numbers to the right, words to the left.

    What cannot be printed is `?`: a cell may hold what somebody else wrote, and is to move nothing
    on the terminal.
    """
    cells = [list(header), *([printable(str(cell)) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    right = [
        bool(rows) and all(isinstance(row[column], int | float) for row in rows)
        for column in range(len(header))
    ]
    lines = (
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in cells
    )
    return "\n".join(lines)

"""`penstock outcomes`: joins what came of predictions to them, from a file.

Knows CSV and lines of JSON. Knows nothing of the ledger: it sends what it reads to the server.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.actions import add_action
from gateway.cli.output import moment, say, say_json
from gateway.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from gateway.client import Admin

TIMEOUT_S: Final = 60.0
BATCH: Final = 5000
NOT_JOINED: Final = 3  # not 1: the file was read and sent, and some of it fits nothing
_MISSED: Final = ("ambiguous", "unknown", "expired", "invalid")
_FIELDS: Final = ("id", "outcome", "row", "at")


def configure(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "outcomes",
        help="join what came of predictions to them",
        description="Tells the server that runs on this home what came of its predictions.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    load = add_action(
        actions,
        "import",
        import_file,
        "send the outcomes of a file; the same again changes nothing, so try again what failed",
    )
    load.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="CSV with a header (id, outcome, and maybe row and at), or JSON, one object a line",
    )
    add_action(actions, "status", show_status, "show what the ledger holds, lost and forgot")


def import_file(args: argparse.Namespace) -> int:
    """Sends a file, a batch at a time; exit status 3 where some outcomes were not joined."""
    from gateway.cli.progress import Bar

    counts: Counter[str] = Counter()
    faults: list[str] = []
    size = _size(args.file)
    with _server(args) as control, Bar(args.file.name) as bar, args.file.open("rb") as file:
        rows = _rows(args.file, file)
        while batch := list(islice(rows, BATCH)):
            found = control.ask("POST", "/api/outcomes", {"outcomes": batch})
            counts.update(found["counts"])
            faults += found["faults"]
            bar(min(file.tell(), size), size)
    if args.json:
        say_json({"counts": dict(counts), "faults": faults})
    else:
        told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        say(f"{args.file.name}: {told or 'no outcomes'}")
        for fault in faults:
            say(f"  {fault}")
    return NOT_JOINED if any(counts[name] for name in _MISSED) else 0


def show_status(args: argparse.Namespace) -> int:
    """Prints what the ledger holds."""
    with _server(args) as control:
        found = control.ask("GET", "/api/outcomes")
    if args.json:
        say_json(found)
        return 0
    since = "" if found["oldest"] is None else f" since {moment(found['oldest'])}"
    say(f"{found['records']} records{since}, {found['bytes']} bytes")
    say(
        f"{found['forgotten_records']} forgotten, {found['lost_records']} lost,"
        f" {found['skipped_rows']} rows skipped, {found['unsampled_rows']} not sampled"
    )
    told = ", ".join(f"{count} {name}" for name, count in found["outcomes"].items() if count)
    say(f"outcomes: {told or 'none'}; {found['waiting']} wait")
    return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise InvalidRequest(f"{path}: {error.strerror}") from error


def _rows(path: Path, file: Any) -> Iterator[dict[str, Any]]:
    """The outcomes of a file, as the API takes them.

    Raises:
        InvalidRequest: it cannot be read as what its name says.
    """
    try:
        if path.suffix.lower() == ".csv":
            yield from _table(path, (line.decode() for line in file))
            return
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _object(path, number, line)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidRequest(f"{path}: {error}") from error


def _object(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise InvalidRequest(f"{path}: line {number}: expected JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidRequest(f"{path}: line {number}: expected an object")
    return found


def _table(path: Path, lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    reader = csv.DictReader(lines, restkey="more")
    names = set(reader.fieldnames or ())
    if not {"id", "outcome"} <= names or not names <= set(_FIELDS):
        raise InvalidRequest(
            f"{path}: expected the columns id and outcome, and maybe row and at, got"
            f" {', '.join(sorted(map(str, names))) or 'none'}"
        )
    for line in reader:
        given: dict[str, Any] = {name: cell for name, cell in line.items() if cell}
        for name in ("outcome", "row", "at"):
            if name in given:
                given[name] = _number(given[name])
        yield given


def _number(text: str) -> int | float | str:
    """A number where the text is one, else the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


@contextmanager
def _server(args: argparse.Namespace) -> Iterator[Admin]:
    from gateway.cli.running import admin, find

    server = find(args.home)
    if server is None:
        raise NotFound(f"no server runs on {args.home}")
    with admin(args.home, server, TIMEOUT_S) as control:
        yield control

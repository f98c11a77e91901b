"""`penstock audit`: shows, exports and verifies who changed what.

Knows options, tables and JSON lines. Knows nothing of how the audit is kept or proven.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from gateway.cli.actions import add_action
from gateway.cli.output import moment, printable, progress, say, say_json, table
from gateway.errors import NotFound, StoreFailed

if TYPE_CHECKING:
    from gateway.control.audit import Entry
    from gateway.control.store import Store

# `control.audit.EVER`, without the import.
_EVER = -math.inf
# Characters: a hash is told apart by fewer, a time with its zone needs 25.
_MAX_VALUE, _MAX_CHANGE = 25, 80


def configure(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "audit",
        help="show, export and verify who changed what",
        description="Every change of a home, through any door, stands in its audit: who, when, from"
        " where, what, before and after.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    shown = add_action(actions, "list", list_entries, "show the newest entries")
    shown.add_argument("--limit", type=int, default=20, metavar="N", help="how many (default 20)")

    export = add_action(actions, "export", export_entries, "write every entry as a line of JSON")
    export.add_argument(
        "--since",
        type=_since,
        default=(0, _EVER),
        metavar="ID|TIME",
        help="entries after this id, or from this time on (2025-01-31T12:00)",
    )
    export.add_argument("--out", type=Path, metavar="FILE", help="where to (default: stdout)")

    verify = add_action(
        actions, "verify", verify_entries, "prove that nothing was changed or removed"
    )
    verify.add_argument("--head", metavar="HASH", help="a head that was noted down earlier")


def list_entries(args: argparse.Namespace) -> int:
    """Prints the newest entries, oldest first; exit status 1 where one holds what none has."""
    from gateway.control.audit import Audit

    with _store(args.home) as store:
        entries = Audit(store).last(max(args.limit, 0))
    if args.json:
        say_json([entry.as_json() for entry in entries])
    else:
        rows = [
            (e.id, _time(e.at), e.who, e.door, e.action, e.subject, e.origin, _change(e.as_json()))
            for e in entries
        ]
        say(table(("ID", "TIME", "WHO", "DOOR", "ACTION", "SUBJECT", "FROM", "CHANGE"), rows))
    return 1 if sum([_complain(entry) for entry in entries]) else 0


def export_entries(args: argparse.Namespace) -> int:
    """Writes entries to a file or to stdout, one a line; with --json and --out says how many.

    Exit status 1 where one holds what none has: it is written all the same.
    """
    import orjson

    from gateway.control.audit import Audit

    count = faults = 0
    with _store(args.home) as store, _target(args.out) as stream:
        for entry in Audit(store).entries(*args.since):
            line = orjson.dumps(entry.as_json(), option=orjson.OPT_SORT_KEYS)
            stream.write(line.decode() + "\n")
            count += 1
            faults += _complain(entry)
    if args.out and args.json:
        say_json({"file": str(args.out), "entries": count})
    elif args.out:
        say(f"{args.out}: {count} entries")
    return 1 if faults else 0


def verify_entries(args: argparse.Namespace) -> int:
    """Prints what was proven; exit status 1 where something does not fit."""
    from gateway.control.verification import verify

    with _store(args.home) as store:
        proof = verify(store, args.head)
    if args.json:
        say_json(
            {
                "ok": proof.ok,
                "entries": proof.entries,
                "first": proof.first_at,
                "last": proof.last_at,
                "head": proof.head,
                "faults": list(proof.faults),
                "more_faults": proof.more_faults,
            }
        )
        return 0 if proof.ok else 1
    span = ""
    if proof.first_at is not None and proof.last_at is not None:
        span = f" from {_time(proof.first_at)} to {_time(proof.last_at)}"
    say(f"{proof.entries} entries{span}")
    say(f"head {proof.head}")
    for fault in proof.faults:
        say(fault)
    if proof.more_faults:
        say(f"and {proof.more_faults} more")
    say("nothing was changed or removed" if proof.ok else "the audit is not as it was written")
    return 0 if proof.ok else 1


# ---- what they share ----------------------------------------------------------------------------


@contextmanager
def _store(home: Path) -> Iterator[Store]:
    """The database of a home; asking for one that is not there does not make one."""
    from gateway.control.store import FILE, Store

    if not (home / FILE).exists():
        raise NotFound(f"nothing was ever changed under {home}")
    with Store.open(home) as store:
        yield store


@contextmanager
def _target(path: Path | None) -> Iterator[IO[str]]:
    """The stream to write to; a file that only its owner may read."""
    if path is None:
        yield sys.stdout
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as stream:
            yield stream
    except OSError as error:
        raise StoreFailed(f"{path}: {error.strerror}") from error


def _since(text: str) -> tuple[int, float]:
    """An id and a time, of which one counts."""
    if text.isascii() and text.isdigit():
        return min(int(text), 2**63 - 1), _EVER
    try:
        return 0, datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(
            f"wanted an id or a time such as 2025-01-31T12:00, got {text!r}"
        ) from error


def _complain(entry: Entry) -> bool:
    """Whether an entry holds what none has; says so, beside what is shown."""
    if entry.fault:
        progress(f"entry {entry.id}: {entry.fault}: it was changed; see penstock audit verify")
    return bool(entry.fault)


def _change(entry: Mapping[str, Any]) -> str:
    """What an entry replaced and what it put there, as much as a line of a table holds."""
    before, after = _fields(entry["before"]), _fields(entry["after"])
    told = []
    for name in dict.fromkeys((*before, *after)):
        if name not in before:
            told.append(f"{name} {_value(name, after[name])}")
        elif name not in after:
            told.append(f"{name} {_value(name, before[name])} -> nothing")
        elif before[name] != after[name]:
            told.append(f"{name} {_value(name, before[name])} -> {_value(name, after[name])}")
    return printable(", ".join(told), _MAX_CHANGE)


def _fields(side: Any) -> Mapping[str, Any]:
    if isinstance(side, Mapping):
        return side
    return {} if side is None else {"?": side}  # somebody tampered with it


def _value(name: str, value: Any) -> str:
    if name.endswith("_at"):
        value = None if value is None else _time(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable("none" if value is None else text, _MAX_VALUE)


def _time(seconds: object) -> str:
    """A time as people write it; what is none as it stands."""
    if isinstance(seconds, int | float):
        with suppress(ValueError, OverflowError, OSError):
            return moment(seconds)
    return str(seconds)

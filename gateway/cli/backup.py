"""`penstock backup` and `penstock restore`: a home's state in one file, and back.

Knows options and how to say what came of them. Knows nothing of what an archive holds.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gateway.cli.output import moment, say, say_json
from gateway.cli.serve import add_home, take_home


def configure(subparsers: Any) -> None:
    """Adds both commands."""
    backup = subparsers.add_parser(
        "backup",
        help="write the state of a home to one file, while its server runs",
        description="Registered models, aliases, configuration revisions, keys and audit, as they"
        " are at one moment. The file can be read by its owner alone: with the secret in it, who"
        " has it can make keys.",
    )
    backup.add_argument("file", type=Path, metavar="FILE", help="the archive to write")
    backup.add_argument(
        "--without-secret",
        action="store_true",
        help="leave out the secret that keys are hashed with; restore it another way",
    )
    backup.add_argument(
        "--force",
        action="store_true",
        help="replace FILE where it exists, once the new one is whole",
    )
    backup.set_defaults(run=run_backup)

    restore = subparsers.add_parser(
        "restore",
        help="put a backup into an empty home",
        description="Proves every file against the archive's manifest, model files against its"
        " database, and the audit against its chain before anything is put in place.",
    )
    restore.add_argument("file", type=Path, metavar="FILE", help="an archive of `penstock backup`")
    restore.set_defaults(run=run_restore)
    for parser in (backup, restore):
        add_home(parser)
        parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run_backup(args: argparse.Namespace) -> int:
    """Writes the archive and says what is in it."""
    from gateway.cli.progress import Bar
    from gateway.control import backup
    from gateway.control.audit import at_terminal
    from gateway.control.store import FILE, Store
    from gateway.errors import NotFound

    if not (args.home / FILE).is_file():
        raise NotFound(f"home {args.home}: there is no state to back up")
    with _ending_on_signals(), Store.open(args.home) as store, Bar("backing up") as bar:
        manifest = backup.write(
            store, args.file, at_terminal(), bar, not args.without_secret, args.force
        )
    return _tell(args, "backed up to", backup.summary(manifest))


def run_restore(args: argparse.Namespace) -> int:
    """Restores and says what there is now."""
    from gateway.cli.progress import Bar
    from gateway.control import backup
    from gateway.control.audit import at_terminal

    # No server may begin on a home that is half there.
    with _ending_on_signals(), take_home(args.home.resolve()), Bar("restoring") as bar:
        manifest = backup.restore(args.file, args.home, at_terminal(), bar)
    return _tell(args, "restored from", backup.summary(manifest))


@contextmanager
def _ending_on_signals() -> Iterator[None]:
    """A signal that would end this process at once has it clean up first."""

    def end(number: int, _: object) -> None:
        for each in before:  # what cleans up is not ended, too
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    ending = (signal.SIGTERM, signal.SIGHUP)
    before = [each for each in ending if signal.getsignal(each) is signal.SIG_DFL]  # not nohup's
    for each in before:
        signal.signal(each, end)
    try:
        yield
    finally:
        for each in before:
            signal.signal(each, signal.SIG_DFL)


def _tell(args: argparse.Namespace, done: str, found: dict[str, Any]) -> int:
    from gateway.cli.progress import size

    if args.json:
        say_json({"file": str(args.file), **found})
        return 0
    taken = moment(found["taken_at"])
    say(f"{done} {args.file}: {found['files']} files, {size(found['bytes'])}, as of {taken}")
    if not found["secret"]:
        say("without the secret: its keys work where that is put back (PENSTOCK_SECRET_FILE)")
    return 0

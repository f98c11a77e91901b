"""What backups and restores keep aside while they run, and what killed ones left of it.

Knows the folders that they work in, each held by a lock that ends with its process, and the half
archive that a backup writes. Knows nothing of what is in them, except that it is secret: nothing of
it stays longer than it must.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway.control.blobs import hold
from gateway.control.store import Store

log = logging.getLogger("penstock.control")

RESTORING = ".restoring"
_BACKING_UP = "penstock-backup-"
_PARTIAL = ".partial"
# In the folder of a backup: the half archive, which lies wherever the whole one is wanted.
_ARCHIVE = "archive"


@contextmanager
def backing_up(store: Store, target: Path) -> Iterator[tuple[Path, Path]]:
    """A folder under the home, and the path that an archive has until it is whole.

    Both are gone at the end; what became of the archive under another name stays.

    Raises:
        OSError: the disk refuses.
    """
    partial = target.absolute().with_name(f".{target.name}.{secrets.token_hex(4)}{_PARTIAL}")
    # Whoever sweeps looks for folders that nobody holds in a write transaction, too.
    with store.write():
        folder = Path(tempfile.mkdtemp(prefix=_BACKING_UP, dir=store.home))
        held = hold(folder, wait=True)
    try:
        (folder / _ARCHIVE).write_text(str(partial), encoding="utf-8", errors="surrogateescape")
        yield folder, partial
    finally:
        discard(folder)
        os.close(held)


@contextmanager
def restoring(home: Path) -> Iterator[Path]:
    """A folder under a home that the caller holds alone; gone at the end.

    Raises:
        OSError: the disk refuses.
    """
    folder = home / RESTORING
    discard(folder)
    folder.mkdir(mode=0o700)
    held = hold(folder, wait=True)
    try:
        yield folder
    finally:
        discard(folder)
        os.close(held)


def found(home: Path) -> Sequence[Path]:
    """The folders that no living process holds."""
    left = []
    for folder in (*sorted(home.glob(f"{_BACKING_UP}*")), home / RESTORING):
        with suppress(OSError):  # held, or not there
            os.close(hold(folder))
            left.append(folder)
    return left


def sweep(store: Store) -> None:
    """Removes what killed backups and restores left.

    Raises:
        StoreFailed: the database refuses.
    """
    if not found(store.home):
        return
    with store.write():
        held = []
        for folder in found(store.home):
            with suppress(OSError):
                held.append((folder, hold(folder)))
    for folder, descriptor in held:
        discard(folder)
        os.close(descriptor)
        log.warning("%s: removed: a backup or restore was killed there", folder)


def discard(folder: Path) -> None:
    """Removes a folder, and first the half archive that it names."""
    with suppress(OSError, ValueError):
        named = (folder / _ARCHIVE).read_text(encoding="utf-8", errors="surrogateescape")
        if named.endswith(_PARTIAL):
            Path(named).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)

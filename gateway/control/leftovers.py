"""What backups and restores keep aside while they run, and what killed ones left of it.

Knows the folders that they work in, each held by a lock that ends with its process, the half
archive that a backup writes, and what a restore was putting in place. Knows nothing of what is in
them, except that it is secret: nothing of it stays longer than it must.
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

import orjson

from gateway.control.blobs import hold, sync
from gateway.control.store import FILE, HALF_RESTORED, Store
from gateway.errors import Conflict

log = logging.getLogger("penstock.control")

RESTORING = HALF_RESTORED.parent.name
_BACKING_UP = "penstock-backup-"
_PARTIAL = ".partial"
# In the folder of a backup: the half archive, which lies wherever the whole one is wanted.
_ARCHIVE = "archive"
# In the folder of a restore: what is to be put in place, and what the files of it are known by.
_STATE, _PLACING = "state", HALF_RESTORED.name


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
    """A folder under a home that the caller holds alone, for its state to be; gone at the end.

    What a killed restore had put in place already is removed first, and at the end what this one
    had, unless it had put all of it there.

    Raises:
        OSError: the disk refuses, or another restore is at work there.
    """
    folder = home / RESTORING
    if folder in found(home):
        discard(folder)
    folder.mkdir(mode=0o700)
    held = hold(folder, wait=True)
    try:
        (folder / _STATE).mkdir(mode=0o700)
        yield folder / _STATE
    finally:
        discard(folder)
        os.close(held)


def put_in_place(state: Path, home: Path) -> None:
    """Moves what `restoring` gave a folder for into a home that holds nothing of that name.

    The database goes last: a home without one is empty to every command, and this not done.

    Raises:
        Conflict: somebody put something there meanwhile.
        OSError: the disk refuses.
    """
    _note(state)
    for name in sorted(os.listdir(state), key=lambda name: (name == FILE, name)):
        if os.path.lexists(home / name):
            raise Conflict(f"home {home}: somebody made {name} meanwhile")
        (state / name).rename(home / name)
    sync(home)


def half_placed(home: Path) -> Sequence[str]:
    """What a restore put in place that was killed before it was done: names below the home."""
    left = [place for place, mark in _noted(home / RESTORING) if _mark(home / place) == mark]
    return sorted({Path(place).parts[0] for place in left})


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
    """Removes a folder, and first the half archive or the half home that it names."""
    with suppress(OSError, ValueError):
        named = (folder / _ARCHIVE).read_text(encoding="utf-8", errors="surrogateescape")
        if named.endswith(_PARTIAL):
            Path(named).unlink(missing_ok=True)
    _take_back(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _note(state: Path) -> None:
    """Writes down what is about to be put in place; no file changes on its way there."""
    files = [path for path in sorted(state.rglob("*")) if path.is_file()]
    known = [(str(path.relative_to(state)), _mark(path)) for path in files]
    draft, note = state.parent / f"{_PLACING}.new", state.parent / _PLACING
    with draft.open("wb") as stream:
        stream.write(orjson.dumps(known))
        stream.flush()
        os.fsync(stream.fileno())
    draft.rename(note)
    sync(note.parent)


def _noted(folder: Path) -> Sequence[tuple[str, list[int]]]:
    """The files that a restore which was not done has put into the home, as they were then.

    None where it was done, the database being the last, or where somebody has begun a home there
    meanwhile: that is theirs, with all that it found.
    """
    state = folder / _STATE
    if (folder.parent / FILE).exists() or not (state / FILE).exists():
        return ()
    try:
        known = orjson.loads((folder / _PLACING).read_bytes())
    except (OSError, ValueError):  # it had not come to that
        return ()
    # What is still there has not been moved: the home's of that name is another's.
    return [(place, mark) for place, mark in known if not (state / Path(place).parts[0]).exists()]


def _take_back(folder: Path) -> None:
    """Removes from the home what a restore has put there that was not done, and only that."""
    home, noted = folder.parent, _noted(folder)
    for place, mark in noted:
        if _mark(home / place) == mark:
            (home / place).unlink()
    above = {parent for place, _ in noted for parent in Path(place).parents[:-1]}
    for each in sorted(above, reverse=True):  # a folder after those in it
        with suppress(OSError):  # it holds something else, or never was there
            (home / each).rmdir()
    # A home may be begun there again, also if this process does not come to removing the folder.
    (folder / _PLACING).unlink(missing_ok=True)


def _mark(path: Path) -> list[int]:
    """What tells a file from any other of its name, and renaming leaves as it is; or nothing."""
    try:
        found = path.lstat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]

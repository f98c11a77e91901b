"""The digest of a model's files, by which what is loaded is known to be what was looked at.

Knows files. Knows nothing of what they hold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path


def sha256(path: Path) -> str:
    """Of one file's content. Reads it whole.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def stamp(path: Path) -> tuple[int, ...]:
    """Differs once a file was written to or replaced, as far as its file system notes it.

    Raises:
        OSError: there is none.
    """
    facts = path.stat()
    # A tool may set the time of change back (`cp -p`, `rsync -t`); that of the inode it cannot.
    return facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def stamps(folder: Path, files: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """The stamp of each of some files in a folder.

    Raises:
        OSError: one is not there.
    """
    return tuple(stamp(folder / file) for file in files)


def digest(folder: Path, files: Sequence[str], of: Callable[[Path], str] = sha256) -> str:
    """Of the names and the content of files in a folder, in this order.

    Args:
        folder: where they lie.
        files: names relative to it.
        of: gives a file's SHA-256; for whoever remembers them.

    Raises:
        OSError: one of them cannot be read.
    """
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file}\0{of(folder / file)}\0".encode())
    return whole.hexdigest()

"""Folders of files that are named by what they hold.

Knows copying, hashing and atomic renames below `home/models`. Knows nothing of models, versions or
the database: who may still need a folder is for the caller to know, who calls `place` and
`discard_all_but` inside a write transaction, so that they never overlap.

A folder's digest is the SHA-256 of its manifest: one line `sha256  size  path` per file, sorted by
path.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gateway.errors import StoreFailed

Progress = Callable[[int, int], None]
"""Told (bytes done, bytes in all), often."""

_CHUNK = 4 << 20
# What a killed process left half copied is swept up after this long. Who still copies holds a lock:
# a clock that jumps makes nobody's copy old.
_STALE_S = 24 * 3600.0
_DIGEST = re.compile(r"[0-9a-f]{64}")
_INCOMING, _TRASH = ".incoming-", ".trash-"


@dataclass(frozen=True, slots=True)
class File:
    """One file of a folder: its relative path, its SHA-256 in hex, its size."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Incoming:
    """Files copied aside, not yet at their place.

    Attributes:
        folder: where they lie until `place` moves them.
        digest: what the folder will be called.
        files: sorted by path.
    """

    folder: Path
    digest: str
    files: tuple[File, ...]

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(file.bytes for file in self.files)


class Blobs:
    """The folders below one root.

    Raises:
        StoreFailed: from every method, where the disk refuses.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, digest: str) -> Path:
        """Where a folder lies, or would lie."""
        return self._root / digest

    @contextmanager
    def incoming(self, files: Iterable[tuple[str, Path]], progress: Progress) -> Iterator[Incoming]:
        """Copies files aside, hashing what is copied; what was not placed by the end is removed.

        Args:
            files: (relative path to have, file to copy).
            progress: told as the copy goes on.
        """
        wanted = sorted(files)
        with _translated("copying"):
            # Not its parents: a home that was lost is not made anew behind a running server.
            self._root.mkdir(mode=0o700, exist_ok=True)
            self._sweep()
            aside = Path(tempfile.mkdtemp(prefix=_INCOMING, dir=self._root))
            held = hold(aside)
        try:
            with _translated("copying"):
                total, done = sum(source.stat().st_size for _, source in wanted), 0
                copied = []
                for path, source in wanted:
                    target = aside / path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    digest, size = _copy(source, target, _Part(progress, done, total))
                    copied.append(File(path, digest, size))
                    done += size
                for folder in {aside, *((aside / file.path).parent for file in copied)}:
                    sync(folder)
            yield Incoming(aside, digest_of(copied), tuple(copied))
        finally:
            os.close(held)
            shutil.rmtree(aside, ignore_errors=True)

    @contextmanager
    def incoming_text(self, name: str, text: str) -> Iterator[Incoming]:
        """A folder of one file that holds a text, as `incoming`."""
        with contextlib.ExitStack() as stack:
            with _translated("writing"):
                folder = tempfile.TemporaryDirectory(prefix="penstock-")
                file = Path(stack.enter_context(folder)) / name
                file.write_text(text, encoding="utf-8")
            yield stack.enter_context(self.incoming([(name, file)], _silent))

    def place(self, incoming: Incoming) -> bool:
        """Puts a copy at its place. False: its twin was there already."""
        place = self.folder(incoming.digest)
        with _translated("placing"):
            if _looks_whole(place, incoming.files):
                return False
            if place.exists():
                place.rename(self._trash(incoming.digest))
            incoming.folder.rename(place)
            place.chmod(0o755)
            sync(self._root)
        return True

    def discard_all_but(self, kept: Set[str]) -> None:
        """Takes every other folder away at once; its files are deleted by `empty_trash`."""
        if not self._root.is_dir():
            return
        with _translated("removing"):
            for place in list(self._root.iterdir()):
                if _DIGEST.fullmatch(place.name) and place.name not in kept:
                    place.rename(self._trash(place.name))

    def empty_trash(self) -> None:
        """Deletes what was discarded, unless somebody is still reading: they do it then."""
        with contextlib.suppress(OSError):  # read, or never made
            held = hold(self._root)
            try:
                for folder in self._root.glob(f"{_TRASH}*"):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Whatever is there, or is discarded meanwhile, can be opened until the end."""
        with _translated("reading"):
            self._root.mkdir(mode=0o700, exist_ok=True)
            held = hold(self._root, wait=True, shared=True)
        try:
            yield
        finally:
            os.close(held)
            self.empty_trash()

    def open(self, digest: str, path: str) -> IO[bytes]:
        """A file of a folder, also of one that was discarded while somebody is `reading`.

        Raises:
            StoreFailed: it is not there.
        """
        place = self.folder(digest) / path
        with _translated("reading"):
            try:
                return place.open("rb")
            except FileNotFoundError:
                for folder in self._root.glob(f"{_TRASH}{digest}-*"):
                    return (folder / path).open("rb")
                raise

    def verify(self, digest: str, files: Iterable[File], progress: Progress) -> list[str]:
        """Reads every file again.

        Returns:
            What is wrong, one line a file; empty where everything is as it was registered.
        """
        wanted = list(files)
        total, done = sum(file.bytes for file in wanted), 0
        faults = []
        for file in wanted:
            try:
                got = _hash(self.folder(digest) / file.path, _Part(progress, done, total))
            except OSError as error:
                faults.append(f"{file.path}: {error.strerror}")
            else:
                if got != file.sha256:
                    faults.append(f"{file.path}: wanted SHA-256 {file.sha256}, got {got}")
            done += file.bytes
        return faults

    def _trash(self, digest: str) -> Path:
        # A name of its own for every folder: another process may be emptying the trash right now.
        return self._root / f"{_TRASH}{digest}-{secrets.token_hex(8)}"

    def _sweep(self) -> None:
        for folder in self._root.glob(f"{_INCOMING}*"):
            with contextlib.suppress(OSError):  # the copying process was just done, or is not
                if time.time() - folder.stat().st_mtime > _STALE_S:
                    os.close(hold(folder))
                    shutil.rmtree(folder, ignore_errors=True)


def digest_of(files: Iterable[File]) -> str:
    """What a folder with these files is called."""
    manifest = "".join(
        f"{file.sha256}  {file.bytes}  {file.path}\n"
        for file in sorted(files, key=lambda file: file.path)
    )
    return hashlib.sha256(manifest.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Part:
    """Progress within one of several files."""

    progress: Progress
    before: int
    total: int

    def __call__(self, done: int) -> None:
        self.progress(self.before + done, self.total)


def _copy(source: Path, target: Path, progress: Callable[[int], None]) -> tuple[str, int]:
    digest, done = hashlib.sha256(), 0
    with source.open("rb") as reading, target.open("xb") as writing:
        while chunk := reading.read(_CHUNK):
            digest.update(chunk)
            writing.write(chunk)
            done += len(chunk)
            progress(done)
        writing.flush()
        os.fchmod(writing.fileno(), 0o444)
        os.fsync(writing.fileno())
    return digest.hexdigest(), done


def _hash(path: Path, progress: Callable[[int], None]) -> str:
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as reading:
        while chunk := reading.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            progress(done)
    return digest.hexdigest()


def hold(folder: Path, wait: bool = False, shared: bool = False) -> int:
    """Holds a folder until the descriptor is closed or this process ends.

    Raises:
        OSError: it is not there, or, unless told to wait, somebody else holds it (`shared`: holds
            it alone).
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(descriptor, kind | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def sync(folder: Path) -> None:
    """Makes the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _looks_whole(place: Path, files: Iterable[File]) -> bool:
    try:
        return all((place / file.path).stat().st_size == file.bytes for file in files)
    except OSError:
        return False


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = f" {error.filename}" if error.filename else ""
        raise StoreFailed(f"{doing}{place}: {error.strerror or error}") from error


def _silent(done: int, total: int) -> None:
    """Progress that nobody watches."""

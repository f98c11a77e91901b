"""A home's lasting state in one archive, taken while a server runs, and put back into an empty one.

Knows which files of a home last and how they are proven whole. Knows nothing of what the tables
mean, beyond which folders of files they name.

The archive is a plain tar: a manifest with the SHA-256 of every file, then the files. The database
in it is a snapshot that SQLite takes of the running one; model files never change once they are
there, and stay while they are read. Compiled kernels, logs and sockets are not state: they are made
anew.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import tarfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Any

import orjson
from pydantic import Field, TypeAdapter, ValidationError

from gateway import __version__
from gateway.access import secret
from gateway.control import chain, leftovers
from gateway.control.audit import Actor, note
from gateway.control.blobs import Blobs, File, Progress, digest_of
from gateway.control.store import FILE, Store
from gateway.control.verification import verify
from gateway.errors import BackupInvalid, Conflict, StoreFailed

FORMAT = 1
MANIFEST = "manifest.json"
SECRET = secret.FILE
MODELS = "models"
# What a file system makes by itself, where locks lie, and what a killed restore left.
_NO_STATE = frozenset({"lost+found", "run", leftovers.RESTORING})
# Of a home with a hundred thousand files; anything larger is no manifest of ours.
_MAX_MANIFEST_BYTES = 64 << 20
_CHUNK = 4 << 20
# The last that can be written as a date, in any time zone.
_YEAR_9999 = 253_370_764_800
_FILES = "SELECT digest, path, sha256, bytes FROM files ORDER BY digest, path"
_PLACE = re.compile(
    rf"{re.escape(FILE)}|{re.escape(chain.FILE)}|{SECRET}|{MODELS}/[0-9a-f]{{64}}/.+"
)


@dataclass(frozen=True, slots=True)
class Member:
    """One file: its place in the home, its SHA-256 in hex, its size."""

    place: str
    sha256: str
    bytes: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive holds.

    Attributes:
        format: of the archive.
        penstock: version that wrote it.
        taken_at: seconds since 1970.
        files: in the order in which they follow.
    """

    format: int
    penstock: str
    taken_at: Annotated[float, Field(ge=0, lt=_YEAR_9999)]
    files: tuple[Member, ...]

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(file.bytes for file in self.files)


_MANIFEST = TypeAdapter(Manifest)


def write(
    store: Store,
    target: Path,
    actor: Actor,
    progress: Progress,
    with_secret: bool = True,
    replace: bool = False,
) -> Manifest:
    """Writes an archive of the store's home, readable by its owner alone.

    Args:
        store: of the home; a server may be using it.
        target: the file to write; it has its name once it is whole.
        actor: who asks; the audit says so, in the archive too.
        progress: told as files are copied.
        with_secret: without the secret that keys are hashed with, no key of the archive works
            where it is restored, unless the secret comes another way.
        replace: what has the name of the target, once the archive is whole.

    Raises:
        Conflict: something has that name, and is not to be replaced.
        StoreFailed: the disk refuses, or a model's files are not what was registered.
    """
    if os.path.lexists(target) and not replace:
        raise Conflict(f"{target}: it exists, and is replaced with --force only")
    with store.write() as db:
        note(db, actor, "backup", target.name, None, {"secret": with_secret})
    leftovers.sweep(store)
    blobs = Blobs(store.home / MODELS)
    with (
        _disk(f"home {store.home}"),
        leftovers.backing_up(store, target) as (aside, partial),
        _replacing(target, partial) as stream,
        blobs.reading(),
    ):
        members = _snapshot(store, aside, with_secret)
        return _pack(stream, members, lambda member: _open(blobs, aside, member), progress)


def restore(archive: Path, home: Path, actor: Actor, progress: Progress) -> Manifest:
    """Puts the state of an archive into a home that is empty or not there yet.

    Nothing is put in place before all of it has been read and proven: every file against the
    manifest, model files against the database, the audit against its chain.

    Raises:
        Conflict: the home holds something.
        BackupInvalid: the archive is damaged, cut short, or none.
        StoreFailed: the disk refuses, or the archive is of a newer release.
    """
    with _disk(f"home {home}"):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        # First, for what a killed restore had put in place goes with it.
        with leftovers.restoring(home) as aside:
            found = sorted({path.name for path in home.iterdir()} - _NO_STATE)
            if found:
                raise Conflict(f"home {home}: expected an empty folder, got {', '.join(found[:5])}")
            manifest = _unpack(archive, aside, progress)
            _prove(aside, manifest, actor)
            leftovers.put_in_place(aside, home)
    return manifest


# ---- writing -------------------------------------------------------------------------------------


@contextmanager
def _replacing(target: Path, partial: Path) -> Iterator[IO[bytes]]:
    with _disk(str(target)):
        # Only its owner may read it from the first byte on.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(partial, flags, 0o600), "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, target)


def _snapshot(store: Store, folder: Path, with_secret: bool) -> Sequence[Member]:
    """Everything that lasts as it is at one moment: model files at their place, the rest aside."""
    home = store.home
    kept = [folder / FILE]
    with store.write() as db:  # nobody changes anything meanwhile
        beside = (chain.FILE, SECRET) if with_secret else (chain.FILE,)
        there = [name for name in beside if (home / name).is_file()]
        if SECRET in there and (home / SECRET).stat().st_size < secret.BYTES:
            raise StoreFailed(
                f"{home / SECRET}: expected {secret.BYTES} bytes: restore it, or leave it out"
            )
        kept += [Path(shutil.copy2(home / name, folder / name)) for name in there]
        models = db.execute(_FILES).fetchall()
        store.snapshot(folder / FILE)
    return [
        *(_member(path.name, path) for path in sorted(kept)),
        *(Member(f"{MODELS}/{digest}/{path}", *rest) for digest, path, *rest in models),
    ]


def _open(blobs: Blobs, folder: Path, member: Member) -> IO[bytes]:
    """What `_snapshot` has found; model files never change, and are kept for who is `reading`."""
    if not member.place.startswith(f"{MODELS}/"):
        return (folder / member.place).open("rb")
    _, digest, path = member.place.split("/", 2)
    return blobs.open(digest, path)


def _pack(
    stream: IO[bytes],
    members: Sequence[Member],
    opened: Callable[[Member], IO[bytes]],
    progress: Progress,
) -> Manifest:
    manifest = Manifest(FORMAT, __version__, time.time(), tuple(members))
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        text = orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2)
        tar.addfile(_header(MANIFEST, len(text), manifest.taken_at), io.BytesIO(text))
        done = 0
        for member in members:
            with opened(member) as source:
                _add(tar, member, source, manifest.taken_at)
            done += member.bytes
            progress(done, manifest.bytes)
    return manifest


def _member(place: str, path: Path) -> Member:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Member(place, digest, path.stat().st_size)


def _header(place: str, size: int, at: float) -> tarfile.TarInfo:
    header = tarfile.TarInfo(place)
    header.size, header.mtime, header.mode = size, int(at), 0o600
    return header


def _add(tar: tarfile.TarFile, member: Member, source: IO[bytes], at: float) -> None:
    hashing = _Hashing(source)
    tar.addfile(_header(member.place, member.bytes, at), hashing)
    if hashing.hexdigest() != member.sha256:
        raise StoreFailed(
            f"{member.place}: it is no longer what was registered; the backup is not written"
        )


class _Hashing:
    """A file that hashes what is read of it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._stream.read(size)
        self._digest.update(piece)
        return piece

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


# ---- reading -------------------------------------------------------------------------------------


def _unpack(archive: Path, folder: Path, progress: Progress) -> Manifest:
    try:
        stream = archive.open("rb")
    except OSError as error:
        raise BackupInvalid(f"{archive}: {error.strerror}") from error
    with stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                manifest = _read_manifest(archive, tar)
                _unpack_members(archive, tar, manifest, folder, progress)
                return manifest
        except tarfile.TarError as error:
            raise BackupInvalid(f"{archive}: not a backup, or damaged: {error}") from error


def _read_manifest(archive: Path, tar: tarfile.TarFile) -> Manifest:
    first = tar.next()
    stream = None if first is None or first.name != MANIFEST else tar.extractfile(first)
    if first is None or stream is None or first.size > _MAX_MANIFEST_BYTES:
        raise BackupInvalid(f"{archive}: expected {MANIFEST} as its first file")
    try:
        manifest = _MANIFEST.validate_json(stream.read(), strict=True)
    except ValidationError as error:
        raise BackupInvalid(f"{archive}: {MANIFEST}: not what a backup says") from error
    if manifest.format != FORMAT:
        raise BackupInvalid(f"{archive}: expected format {FORMAT}, got {manifest.format}")
    _check_places(archive, manifest.files)
    return manifest


def _check_places(archive: Path, files: Sequence[Member]) -> None:
    for file in files:
        place = file.place
        inside = isinstance(place, str) and "\0" not in place and _PLACE.fullmatch(place)
        # `a//b`, `a/./b` and `a/../b` are written as no backup writes them.
        if not inside or str(PurePosixPath(place)) != place or ".." in place.split("/"):
            raise BackupInvalid(f"{archive}: {MANIFEST}: no place of a backup: {place!r}")
    places = [file.place for file in files]
    if len(set(places)) != len(places) or FILE not in places:
        raise BackupInvalid(f"{archive}: {MANIFEST}: expected {FILE}, and each place once")


def _unpack_members(
    archive: Path, tar: tarfile.TarFile, manifest: Manifest, folder: Path, progress: Progress
) -> None:
    done = 0
    for file in manifest.files:
        found = tar.next()
        stream = tar.extractfile(found) if found is not None and found.isreg() else None
        if found is None or stream is None or found.name != file.place:
            got = "its end" if found is None else repr(found.name)
            raise BackupInvalid(f"{archive}: expected {file.place}, got {got}")
        _copy(archive, file, stream, folder / file.place)
        done += file.bytes
        progress(done, manifest.bytes)


def _copy(archive: Path, file: Member, source: IO[bytes], target: Path) -> None:
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    # Model files are as the registry keeps them: readable, and never written again.
    mode = 0o444 if file.place.startswith(f"{MODELS}/") else 0o600
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as copy:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            copy.write(chunk)
        copy.flush()
        os.fsync(copy.fileno())
    if (size, digest.hexdigest()) != (file.bytes, file.sha256):
        raise BackupInvalid(f"{archive}: {file.place}: not what its manifest says")


def _prove(folder: Path, manifest: Manifest, actor: Actor) -> None:
    """Opens the database, which brings it up to this release, and holds everything against it."""
    sizes = {file.place: file.bytes for file in manifest.files}
    if sizes.get(SECRET, secret.BYTES) < secret.BYTES:
        raise BackupInvalid(f"the backup's secret: expected at least {secret.BYTES} bytes")
    with Store.open(folder) as store:
        with store.read() as db:
            rows = [tuple(row) for row in db.execute(_FILES)]
        _prove_models(manifest, rows)
        # That the head was missing once stays in the audit, which `audit verify` says again; a home
        # that this happened to can be restored all the same.
        proof = verify(store, gaps=False)
        if not proof.ok:
            raise BackupInvalid(f"the backup's audit does not hold: {proof.faults[0]}")
        with store.write() as db:
            after = {"taken_at": manifest.taken_at, "penstock": manifest.penstock}
            note(db, actor, "restore", "home", None, after)


def _prove_models(manifest: Manifest, rows: Sequence[tuple[str, str, str, int]]) -> None:
    """Model files are those that the database names, all of them, and each folder is as called."""
    wanted, folders = {}, defaultdict(list)
    for digest, path, sha256, size in rows:
        wanted[f"{MODELS}/{digest}/{path}"] = (sha256, size)
        folders[digest].append(File(path, sha256, size))
    got = {
        file.place: (file.sha256, file.bytes)
        for file in manifest.files
        if file.place.startswith(f"{MODELS}/")
    }
    odd = sorted(place for place in wanted.keys() | got if wanted.get(place) != got.get(place))
    if odd:
        raise BackupInvalid(f"{odd[0]}: not what the backup's database names")
    for digest, files in folders.items():
        if digest_of(files) != digest:
            raise BackupInvalid(f"{MODELS}/{digest}: the backup's database names other files")


@contextmanager
def _disk(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreFailed(f"{what}: {error.strerror or error}") from error


def summary(manifest: Manifest) -> dict[str, Any]:
    """The manifest in a few values."""
    models = {file.place.split("/")[1] for file in manifest.files if "/" in file.place}
    return {
        "taken_at": manifest.taken_at,
        "penstock": manifest.penstock,
        "files": len(manifest.files),
        "bytes": manifest.bytes,
        "model_folders": len(models),
        "secret": any(file.place == SECRET for file in manifest.files),
    }

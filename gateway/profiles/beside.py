"""The profile that stands beside a model: `<model>/<version>/profile.json` in a repository.

Knows the file's name. Knows nothing of how a profile is read.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from gateway.errors import ProfileInvalid, StoreFailed
from gateway.profiles import document
from gateway.profiles.values import Profile

FILE = "profile.json"


def find(folder: Path) -> Profile | None:
    """The profile in a version's folder, if there is one.

    Raises:
        ProfileInvalid: what stands there is none.
    """
    place = folder / FILE
    return load(place) if place.exists() else None


def load(path: Path) -> Profile:
    """The profile in a file.

    Raises:
        ProfileInvalid: there is none.
    """
    try:
        with path.open("rb") as stream:
            given = stream.read(document.MAX_BYTES + 1)
    except OSError as error:
        raise ProfileInvalid(f"{path}: {error.strerror}") from error
    try:
        return document.read(given)
    except ProfileInvalid as error:
        raise ProfileInvalid(f"{path}: {error}") from error


def save(profile: Profile, path: Path) -> None:
    """Writes a profile to a file, whole or not at all.

    Raises:
        StoreFailed: it cannot be written.
    """
    try:
        descriptor, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(document.text(profile))
                os.fchmod(stream.fileno(), 0o644)
            os.replace(aside, path)
        except BaseException:
            os.unlink(aside)
            raise
    except OSError as error:
        raise StoreFailed(f"{path}: {error.strerror or error}") from error

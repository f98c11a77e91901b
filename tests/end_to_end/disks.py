"""Disks that fill up when a test wants them to."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Disk:
    """A small file system of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._ballast = place / "ballast"

    def fill(self, leave: int = 0) -> None:
        """Takes all the room there is, but for so many bytes."""
        with self._ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                file.truncate(file.tell() - leave)

    def protect(self, protected: bool = True) -> None:
        """Lets nobody write, or everybody again; no file of it may be open for that."""
        words = ["mount", "-o", f"remount,{'ro' if protected else 'rw'}", str(self.place)]
        subprocess.run(words, timeout=20, check=True)

    def make_room(self) -> None:
        """Gives it back."""
        self._ballast.unlink()


@contextmanager
def disk(place: Path, megabytes: int = 16) -> Iterator[Disk]:
    """Mounts one, where this user may; skips the test elsewhere."""
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "penstock-test", str(place)]
    try:
        tried = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    except FileNotFoundError:
        pytest.skip("mount is not installed")
    if tried.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {tried.stderr.strip()}")
    try:
        yield Disk(place)
    finally:
        # Lazily: whoever still has a file open there must not keep the test from ending.
        subprocess.run(["umount", "--lazy", str(place)], timeout=20, check=True)

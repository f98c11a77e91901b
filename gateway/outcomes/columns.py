"""Numbers beside the records of a file of the ledger: a column for each metric.

Knows such files and how they follow their records. Knows nothing of names of metrics, or of what is
in a record. Blocking: never on an event loop.

A column has a number for each record that its file has or has room for, NaN where nothing is known,
in their order. It is there once the first number is: 8 bytes a record and metric. Its name is that
of its file and `.m` with the number of the metric.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from gateway.errors import StoreFailed
from gateway.outcomes.mapped import Held, Mapped

Words = np.ndarray[Any, np.dtype[np.int64]]
Reals = np.ndarray[Any, np.dtype[np.float64]]
# See `segment`: what one call writes, the kernel looks through for each number.
_PIECE: Final = 2048
_HALF: Final = ".half"
_NAME = re.compile(r"(.+)\.m([0-9]{1,6})", re.ASCII)


class Columns:
    """Of one file of records."""

    def __init__(
        self, path: Path, room: int, metrics: Iterable[int] = (), held: Held | None = None
    ) -> None:
        """Takes up what is there.

        Args:
            path: of the records.
            room: for how many it has.
            metrics: that have a column.
            held: lets go of columns where others are used more.
        """
        self._path, self._room, self._held = path, room, held
        self._files = {one: Mapped(self._of(path, one), room, held) for one in metrics}

    def __contains__(self, metric: int) -> bool:
        return metric in self._files

    def __iter__(self) -> Iterator[int]:
        return iter(self._files)

    @property
    def nbytes(self) -> int:
        """Of all columns."""
        return sum(one.nbytes for one in self._files.values())

    def values(self, metric: int) -> Reals:
        """(room,) numbers of a metric that is there, to be read.

        Raises:
            StoreFailed: it cannot be mapped.
        """
        file = self._files[metric]
        _fill(file.path, self._room)
        return file.words().view(np.float64)

    def add(self, metric: int) -> None:
        """Makes a column, unless it is there.

        Raises:
            StoreFailed: there is no room on the disk.
        """
        if metric not in self._files:
            path = self._of(self._path, metric)
            _write(path, np.full(self._room, np.nan))
            self._files[metric] = Mapped(path, self._room, self._held)

    def put(self, metric: int, places: Words, values: Reals) -> None:
        """Writes numbers of a metric that is there, as `Mapped.put` does.

        Raises:
            StoreFailed: the disk takes them no more; some may have been written.
        """
        self._files[metric].put(places, values)

    def clear(self, places: Words) -> None:
        """Forgets the numbers of some records, of ascending places.

        Raises:
            StoreFailed: the disk takes it not; some may be forgotten.
        """
        for metric in self._files:
            known = places[~np.isnan(self.values(metric)[places])]
            if len(known):
                self.put(metric, known, np.full(len(known), np.nan))

    def drop(self, metric: int) -> None:
        """Forgets all numbers of a metric, if it has any.

        Raises:
            StoreFailed: its file cannot be removed.
        """
        if metric not in self._files:
            return
        file = self._files[metric]
        file.let_go()
        try:
            file.path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreFailed(f"{file.path}: {error.strerror}") from error
        del self._files[metric]

    def copy(self, path: Path, order: Words) -> None:
        """Writes the numbers of other records: those of these places, in this order.

        Args:
            path: where those records will be.
            order: places of them here.

        Raises:
            StoreFailed: there is no room on the disk.
        """
        for metric in self._files:
            _write(self._of(path, metric), self.values(metric)[order])

    def remove(self) -> None:
        """Forgets all numbers.

        Raises:
            OSError: a file cannot be removed.
        """
        for one in self._files.values():
            one.let_go()
            one.path.unlink(missing_ok=True)

    @staticmethod
    def _of(path: Path, metric: int) -> Path:
        return path.with_name(f"{path.name}.m{metric}")


def columns_in(folder: Path) -> dict[str, list[int]]:
    """The metrics that have a column, by names of files of records.

    Raises:
        OSError: the folder cannot be read.
    """
    found: dict[str, list[int]] = {}
    for path in folder.glob("*.m*"):
        name = _NAME.fullmatch(path.name)
        if name is not None:
            found.setdefault(name[1], []).append(int(name[2]))
    return found


def clear_up(folder: Path) -> None:
    """Removes columns whose records are gone.

    Raises:
        OSError: the folder cannot be written.
    """
    for name, metrics in columns_in(folder).items():
        if not (folder / name).exists():
            Columns(folder / name, 0, metrics).remove()


def _write(path: Path, values: Reals) -> None:
    half = path.with_name(path.name + _HALF)
    try:
        with half.open("wb", buffering=_PIECE * values.itemsize) as file:
            for start in range(0, len(values), _PIECE):
                file.write(values[start : start + _PIECE].tobytes())
        half.rename(path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise StoreFailed(f"{path}: {error.strerror}") from error


def _fill(path: Path, room: int) -> None:
    """A file that was cut short knows nothing of what it has lost, and of all else what it did."""
    try:
        size = path.stat().st_size
        if size >= room * 8:
            return
        kept = np.fromfile(path, np.float64, size // 8)
    except OSError as error:
        raise StoreFailed(f"{path}: {error.strerror}") from error
    _write(path, np.concatenate((kept, np.full(room - len(kept), np.nan))))

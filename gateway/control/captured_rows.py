"""What workers captured, on its way from their rings into files.

Knows the arena, what is captured of each version, and files. Knows nothing of how rows are chosen,
of plans or of HTTP. Blocking: it lives on one thread.

Rows wait in memory until they are a file's worth or a minute old, and are written whole. While the
disk takes nothing they go on waiting, up to a bound; beyond it they stay in the ring, which fills,
and workers drop and count what comes after.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

from gateway.capture import erasure, files, ring
from gateway.capture.erasure import Erased, Wanted
from gateway.capture.files import File
from gateway.capture.frames import Frame, decode, rows_of
from gateway.capture.ring import Ring
from gateway.capture.table import Hashed, fits, table
from gateway.config import Capture as Settings
from gateway.control.capture_wishes import CaptureWish
from gateway.errors import StoreFailed
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.directory import Block, Words
from gateway.outcomes.hours import HOUR_MS

log = logging.getLogger("penstock.control")

# Of what waits for a disk that takes nothing, in files' worth.
MAX_WAITING_FILES: Final = 2
# So often full rings are taken at once, where they hold more than may wait; traffic goes on.
_FLUSHES: Final = 4
# Files that somebody else removes are missed by then.
LOOK_THROUGH_S: Final = 600.0
# A worker that is so late with what it answered is hung, and about to be replaced.
LATE_S: Final = 60.0
Version = tuple[str, int]


class Facts(NamedTuple):
    """What became of the rows of a version.

    Attributes:
        model, version: whose.
        captured: rows that workers kept since the server was started.
        waiting: of them, those that are in no file yet.
        dropped: rows that were to be kept and are not, by why: `ring` had no room; `error`, the log
            says which; `lost` with a control process that was killed.
        rows, nbytes: of the files that there are.
        oldest_ms: when the first row in them was answered; None: there is none.
    """

    model: str
    version: int
    captured: int
    waiting: int
    dropped: dict[str, int]
    rows: int
    nbytes: int
    oldest_ms: int | None


@dataclass(slots=True)
class _Waiting:
    """Rows of one ring on their way to a file.

    Attributes:
        since: when the first was taken, by the clock.
        frames: each with the slot of the worker that wrote it.
        nbytes: of them.
    """

    since: float
    frames: list[tuple[int, bytes]] = field(default_factory=list)
    nbytes: int = 0

    def drop(self, gone: Collection[int]) -> None:
        """Lets go of frames, by `id`."""
        self.frames = [one for one in self.frames if id(one[1]) not in gone]
        self.nbytes = sum(len(raw) for _, raw in self.frames)


class CapturedRows:
    """Of one server."""

    def __init__(
        self,
        arena: Arena,
        folder: Path,
        wishes: Mapping[str, CaptureWish],
        settings: Callable[[], Settings],
        stream: Callable[[int, int], str],
        hashed: Hashed,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        threshold: Callable[[str], float],
    ) -> None:
        """Takes its collaborators.

        Args:
            arena: shared memory.
            folder: of the files.
            wishes: what is captured, by the name of the ring; it grows.
            settings: of files, as they are in force.
            stream: what the ids of a worker's requests begin with, by slot and epoch.
            hashed: the keyed hash of a value.
            monotonic: seconds of a clock that nobody sets.
            wall: seconds since 1970.
            threshold: above which a model's positive class is predicted.
        """
        self._arena = arena
        self._folder = folder
        self._wishes = wishes
        self._settings = settings
        self._stream = stream
        self._hashed = hashed
        self._monotonic = monotonic
        self._wall = wall
        self._threshold = threshold
        self._waiting: dict[str, _Waiting] = {}
        self._seen: set[str] = set()
        self._there: list[File] | None = None
        self._looked_at = 0.0
        self._erased: list[tuple[float, Wanted]] = []
        """What was lately: a worker keeps rows once they are answered, and may be late."""
        """When folders were last looked through; in between it is known what is written there."""

    @property
    def any(self) -> bool:
        """There is something to look after."""
        return bool(self._wishes) or self._there is not None or self._folder.is_dir()

    def look(self) -> None:
        """Takes what workers kept, and writes what is due.

        Raises:
            StoreFailed: the disk does not take it; what is in no file still waits.
        """
        self._begin()
        if self._monotonic() - self._looked_at > LOOK_THROUGH_S:
            self._look_through()
        settings = self._settings()
        self._drain()
        latest = self._monotonic() - settings.file_s
        try:
            self._write_all(
                key
                for key, waiting in self._waiting.items()
                if waiting.since <= latest or waiting.nbytes >= settings.file_bytes
            )
        finally:
            oldest_ms = int((self._wall() - settings.max_age_s) * 1000.0)
            there = self._there or []
            self._there = files.tidy(self._folder, there, settings.max_bytes, oldest_ms)

    def flush(self) -> None:
        """Writes all that was kept until now.

        Raises:
            StoreFailed: the disk does not take it; what is in no file still waits.
        """
        self._begin()
        for _ in range(_FLUSHES):
            self._drain()
            if not self._waiting:
                return
            self._write_all(self._waiting)

    def find(self, wanted: Wanted) -> Erased:
        """The rows of requests or subjects that are in files.

        Raises:
            StoreFailed: a file cannot be read.
        """
        return erasure.find(self._folder, wanted)

    def erase(self, wanted: Wanted) -> Erased:
        """Writes the files anew without them.

        Raises:
            StoreFailed: a file cannot be read or written; the same again goes on.
        """
        self._begin()
        self._erased.append((self._monotonic(), wanted))
        try:
            return erasure.erase(self._folder, wanted)
        finally:
            self._look_through()

    def facts(self) -> list[Facts]:
        """What became of each version's rows; may be asked on another thread, too."""
        counts: dict[Version, Counter[str]] = {}
        for block in self._arena.blocks(layout.CAPTURE):
            name, version, _ = layout.capture_of(block.name)
            counts.setdefault((name, version), Counter()).update(self._counts(block))
        there = files.files_in(self._folder) if self._there is None else self._there
        versions = counts.keys() | {(one.model, one.version) for one in there}
        return list(_facts(sorted(versions), counts, there))

    def _counts(self, block: Block) -> Counter[str]:
        slots = self._arena.slots(block)
        first = slots[0]
        captured = int(slots[:, ring.ROWS].sum())
        lost = int(first[ring.ROWS_LOST])
        return Counter(
            captured=captured,
            waiting=max(0, captured - lost - int(first[ring.ROWS_KEPT])),
            ring=int(slots[:, ring.DROPPED].sum()),
            error=int(slots[:, layout.SKETCH_SKIPPED].sum()),
            lost=lost,
        )

    # ---- from rings into files ------------------------------------------------------------------

    def _begin(self) -> None:
        if self._there is None:
            files.clear_up(self._folder)
            self._look_through()

    def _look_through(self) -> None:
        self._there = files.files_in(self._folder)
        self._looked_at = self._monotonic()

    def _drain(self) -> None:
        for block in list(self._arena.blocks(layout.CAPTURE)):
            slots = self._arena.slots(block)
            if block.name not in self._seen:
                # What an earlier control had taken and not written went with it.
                self._seen.add(block.name)
                first = slots[0]
                first[ring.ROWS_LOST] = first[ring.ROWS_TAKEN] - first[ring.ROWS_KEPT]
            for slot in range(self._arena.workers):
                if self._room() <= 0:
                    return
                self._drain_slot(block, slot, slots[0])

    def _room(self) -> int:
        """Bytes that may still be taken from rings."""
        waiting = sum(one.nbytes for one in self._waiting.values())
        return MAX_WAITING_FILES * self._settings().file_bytes - waiting

    def _drain_slot(self, block: Block, slot: int, first: Words) -> None:
        written = Ring(self._arena.array(block.offset, slot))
        taken = written.read()
        if not taken.frames:
            written.done(taken)
            return
        first[ring.ROWS_TAKEN] += taken.rows
        if block.name not in self._wishes:  # of a version that went with an earlier control
            first[ring.ROWS_LOST] += taken.rows
        else:
            waiting = self._waiting.setdefault(block.name, _Waiting(self._monotonic()))
            waiting.frames += [(slot, frame) for frame in taken.frames]
            waiting.nbytes += sum(map(len, taken.frames))
        written.done(taken)

    def _write_all(self, keys: Iterable[str]) -> None:
        """What one disk or name refuses keeps nobody else waiting."""
        faults = []
        for key in tuple(keys):
            try:
                self._write(key)
            except StoreFailed as fault:
                faults.append(fault)
        if faults:
            raise faults[0]

    def _write(self, key: str) -> None:
        """Writes what waits of one ring.

        Raises:
            StoreFailed: the disk does not take it; what is in no file still waits.
        """
        waiting = self._waiting[key]
        try:
            self._write_hours(key, waiting)
        except StoreFailed:
            raise
        except Exception:  # they would be in the way for ever
            lost = sum(rows_of(raw) for _, raw in waiting.frames)
            log.exception("%s: %d captured rows are lost", key, lost)
            self._account(key, ring.ROWS_LOST, lost)
        del self._waiting[key]

    def _write_hours(self, key: str, waiting: _Waiting) -> None:
        """A file for each hour; what is in one waits no more."""
        wish = self._wishes[key]
        datatypes = [part.datatype for part in wish.schema.parts]
        some = [(slot, raw, decode(raw, datatypes)) for slot, raw in waiting.frames]
        unfit = [one for one in some if not fits(wish.schema, one[2])]
        if unfit:
            rows = sum(len(frame.rows) for _, _, frame in unfit)
            log.error("%s: %d rows are not as wide as declared, and lost", key, rows)
            self._account(key, ring.ROWS_LOST, rows)
            waiting.drop({id(raw) for _, raw, _ in unfit})
        fitting = [one for one in some if fits(wish.schema, one[2])]
        fitting.sort(key=lambda one: one[2].at_ms)
        for _, hour in groupby(fitting, lambda one: one[2].at_ms // HOUR_MS):
            done = list(hour)
            self._write_file(wish, [(slot, frame) for slot, _, frame in done])
            self._account(key, ring.ROWS_KEPT, sum(len(frame.rows) for _, _, frame in done))
            waiting.drop({id(raw) for _, raw, _ in done})

    def _write_file(self, wish: CaptureWish, some: Sequence[tuple[int, Frame]]) -> None:
        schema, found = wish.schema, wish.reading
        rows = [(self._stream(slot, frame.epoch), frame) for slot, frame in some]
        threshold = self._threshold(schema.model)
        made = table(
            schema,
            rows,
            self._hashed,
            None if found is None else found.index,
            None if found is None else partial(found.answers, threshold=threshold),
        )
        made = self._without_erased(made)
        if not made.num_rows:
            return
        times = [frame.at_ms for _, frame in some]
        path = files.write(self._folder, schema.model, schema.version, min(times), max(times), made)
        file = files.file_of(path)
        if file is not None:
            self._there = [*(self._there or ()), file]

    def _without_erased(self, made: Any) -> Any:
        """Of a table of rows those that nobody has had erased lately."""
        since = self._monotonic() - self._settings().file_s - LATE_S
        self._erased = [one for one in self._erased if one[0] >= since]
        for _, wanted in self._erased:
            made = erasure.without(made, wanted)
        return made

    def _account(self, key: str, word: int, rows: int) -> None:
        offset = self._arena.find(layout.CAPTURE, key)
        if offset is not None:
            self._arena.array(offset, 0)[word] += rows


def _facts(
    versions: Sequence[Version], counts: dict[Version, Counter[str]], there: Sequence[File]
) -> Iterator[Facts]:
    files_of: dict[Version, list[File]] = {}
    for one in there:
        files_of.setdefault((one.model, one.version), []).append(one)
    for version in versions:
        counted, own = counts.get(version, Counter()), files_of.get(version, [])
        yield Facts(
            *version,
            counted["captured"],
            counted["waiting"],
            {why: counted[why] for why in ("ring", "error", "lost")},
            sum(one.rows for one in own),
            sum(one.nbytes for one in own),
            min((one.first_ms for one in own), default=None),
        )

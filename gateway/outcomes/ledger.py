"""The ledger: every answer that was given lately, in files, found by the address in its id.

Knows segments, bounds, and the sums of what it had to forget. Knows nothing of arenas, of ids as
text, or of who sends outcomes. Blocking: it lives on one thread.

Files are of one stream each and ascend with it, so a join is two searches: for the file, and within
it. What a model did is added up from the records themselves, so that nothing has to be brought in
line with them after a kill; only what is forgotten leaves sums behind, of an hour each, kept in the
same transaction that says that its file is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import numpy as np

from gateway.errors import StoreFailed
from gateway.outcomes.hours import HOUR_MS, Hour, by_hour
from gateway.outcomes.mapped import Held
from gateway.outcomes.metric_sums import MetricHours, metrics_by_hour
from gateway.outcomes.named import NO_ENTRIES
from gateway.outcomes.segment import CAPACITY, Segment, clear_up, segments_in
from kernels.groups import Reals, add_cells, no_cells
from kernels.ledger import (
    FILE,
    NOT_THERE,
    OUTCOME,
    SEQUENCE,
    SERIES_AND_ROW,
    Words,
    rows_of,
    series_and_rows,
    series_of,
    wanted,
)
from kernels.marks import GROUPINGS
from kernels.named import SEQUENCE as NAMED_SEQUENCE
from kernels.named import find
from kernels.performance import THRESHOLD, Sums, add, merge, no_sums

log = logging.getLogger("penstock.control")

# In place of a series: nothing is known of this row any more, and no outcome joins it.
ERASED: Final = 0
# A file that thin traffic does not fill is sealed nonetheless, or its oldest would never go.
SEAL_AFTER_MS: Final = 24 * HOUR_MS


class Forgotten(NamedTuple):
    """How far a stream was forgotten.

    Attributes:
        number: of its last file.
        high: the highest sequence in any.
    """

    number: int
    high: int


class Remains(Protocol):
    """What is kept of records that were forgotten."""

    def forgotten(self) -> Mapping[str, Forgotten]:
        """How far each stream was."""

    def forget(
        self,
        stream: str,
        upto: Forgotten,
        records: int,
        hours: Iterable[Hour],
        metrics: MetricHours,
    ) -> None:
        """Keeps, in one transaction, that a file is gone and what its records added up to.

        Args:
            stream: of the file.
            upto: how far the stream is forgotten then.
            records: in the file.
            hours: what they add up to.
            metrics: sums of their numbers.

        Raises:
            StoreFailed: it could not be kept.
        """

    def sums(self, series: int, first_hour: int, mask: int = 0, marks: int = 0) -> Iterable[Sums]:
        """What was forgotten of a series, or of a group of it, from an hour on."""

    def cells(self, series: int, first_hour: int) -> Iterable[Reals]:
        """The same by groups and pairs of them."""


class Facts(NamedTuple):
    """What the ledger holds.

    Attributes:
        records, nbytes: of all files.
        first_ms: when the oldest record was answered; None where there is none.
    """

    records: int
    nbytes: int
    first_ms: int | None


class Ledger:
    """Of one home."""

    def __init__(
        self,
        folder: Path,
        remains: Remains,
        capacity: int = CAPACITY,
        threshold: Callable[[int], float] = lambda series: THRESHOLD,
        groupings: Callable[[int], int] = lambda series: GROUPINGS,
        forgetting: Callable[[Segment], None] = lambda segment: None,
    ) -> None:
        """Opens the folder, or makes it.

        Args:
            folder: of the files.
            remains: keeps what is forgotten.
            capacity: records in a file.
            threshold: above which a series' positive class is predicted. What is forgotten stays
                as it was predicted then.
            groupings: how many slicings tell a series' rows apart.
            forgetting: is shown each file before it is forgotten; where it raises, that stays.

        Raises:
            StoreFailed: the folder can be neither read nor made.
        """
        self._folder = folder
        self._remains = remains
        self._capacity = capacity
        self._threshold = threshold
        self._groupings = groupings
        self._forgetting = forgetting
        self._held = Held()
        self._forgotten = dict(remains.forgotten())
        self._streams: dict[str, list[Segment]] = {}
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StoreFailed(f"{folder}: {error.strerror}") from error
        clear_up(folder)
        found, faults = segments_in(folder, self._held)
        for fault in faults:
            log.error("%s: left alone", fault)
        for segment in found:
            self._adopt(segment)

    def facts(self) -> Facts:
        """What it holds now."""
        segments = list(self.segments())
        starts = [segment.first_ms for segment in segments if segment.count]
        return Facts(
            sum(segment.count for segment in segments),
            sum(segment.nbytes for segment in segments),
            min(starts, default=None),
        )

    # ---- records --------------------------------------------------------------------------------

    def append(
        self, stream: str, records: Words, anew: bool = False, named: Words = NO_ENTRIES
    ) -> Words:
        """Takes records of a stream; those that were not there.

        Args:
            stream: that they are of.
            records: (records, ledger.RECORD_WORDS).
            anew: some of them may have been taken before.
            named: (entries, named.ENTRY_WORDS) of their requests.

        Raises:
            StoreFailed: there is no room on the disk. What was taken stays: try all again `anew`.
        """
        if anew and len(records):
            found = wanted(records[:, SEQUENCE], rows_of(records))
            self.find(stream, np.argsort(found[:, SEQUENCE], kind="stable"), found, [])
            records = records[found[:, FILE] == NOT_THERE]
        taken = records
        for segment in self._streams.get(stream, ()) if anew else ():
            named = segment.named.lacks(named)
        while len(records):
            segment = self._open(stream)
            part, records = records[: segment.room], records[segment.room :]
            segment.append(part)
            its = np.isin(named[:, NAMED_SEQUENCE], part[:, SEQUENCE])
            segment.named.add(named[its])
            named = named[~its]
        if len(named):  # their records came before
            self._open(stream).named.add(named)
        return taken

    def find(self, stream: str, chosen: Words, found: Words, files: list[Segment]) -> None:
        """Copies out the records of a stream that are looked for.

        Args:
            stream: that they are of.
            chosen: which of `found` to look for, by ascending sequence.
            found: (wanted, FOUND_WORDS), filled in.
            files: added to: what FILE counts.

        Raises:
            StoreFailed: a file cannot be mapped.
        """
        sequences = found[chosen, SEQUENCE]
        for segment in reversed(self._streams.get(stream, ())):
            first = int(np.searchsorted(sequences, segment.low))
            end = int(np.searchsorted(sequences, segment.high, "right"))
            if end > first and segment.count:
                segment.gather(chosen[first:end], found, len(files))
                files.append(segment)

    def find_named(self, digests: Words, series: Words, found: Words) -> tuple[str, ...]:
        """Looks for the requests that digests of clients' ids mean, as `kernels.named.find` does.

        Returns:
            The streams, by the numbers that `found` has for them.

        Raises:
            StoreFailed: a file cannot be mapped.
        """
        for number, segments in enumerate(self._streams.values()):
            for segment in segments:
                for entries in segment.named.parts():
                    find(entries, digests, series, number, found)
        return tuple(self._streams)

    def knows(self, stream: str) -> bool:
        """Whether anything was ever taken of a stream."""
        return stream in self._streams or stream in self._forgotten

    def forgot(self, stream: str, sequence: int) -> bool:
        """Whether a record that is not there may have been forgotten."""
        return stream in self._forgotten and sequence <= self._forgotten[stream].high

    def names(self, stream: str, sequences: Words) -> set[int]:
        """Digests of what clients call some requests of a stream.

        Raises:
            StoreFailed: a file cannot be mapped.
        """
        segments = self._streams.get(stream, ())
        return {digest for one in segments for digest in one.named.of(sequences).tolist()}

    def erase(self, stream: str, sequences: Words) -> list[int]:
        """Empties the records of requests but for their address, by which others are found.

        What is beside them goes, too: numbers of metrics, and clients' ids.

        Args:
            stream: that they are of.
            sequences: of the requests.

        Returns:
            The series of each record that was emptied.

        Raises:
            StoreFailed: a file cannot be written; the same again goes on.
        """
        erased: list[int] = []
        for segment in self._streams.get(stream, ()):
            records = segment.records()
            there = np.isin(records[:, SEQUENCE], sequences)
            places = np.flatnonzero(there & (series_of(records) != ERASED))
            if len(places):
                erased += series_of(records[places]).tolist()
                segment.put(places, _emptied(records[places]))
            # Also where that was interrupted.
            segment.columns.clear(np.flatnonzero(there))
            segment.named.drop(sequences)
        return erased

    # ---- what they add up to --------------------------------------------------------------------

    def sums(self, series: int, first_ms: int, end_ms: int, mask: int = 0, marks: int = 0) -> Sums:
        """What the records of a series add up to that were answered in a stretch of time.

        Of those that were forgotten, whole hours that begin in it count.

        Args:
            series: whose records.
            first_ms: wall clock, milliseconds.
            end_ms: the same, behind the last.
            mask: of a group (`kernels.marks.grouped`); 0: whatever group they are in.
            marks: the same.

        Raises:
            StoreFailed: a file cannot be mapped.
        """
        found = no_sums()
        threshold = self._threshold(series)
        for records in self._between(first_ms, end_ms):
            add(found, records, series, first_ms, end_ms, mask, marks, threshold)
        for more in self._remains.sums(series, -(-first_ms // HOUR_MS), mask, marks):
            merge(found, more)
        return found

    def cells(self, series: int, groupings: int, first_ms: int, end_ms: int) -> Reals:
        """The same by the groups and pairs of groups of some slicings (`kernels.groups`)."""
        found = no_cells(groupings)
        for records in self._between(first_ms, end_ms):
            add_cells(found, records, series, first_ms, end_ms, self._threshold(series))
        for more in self._remains.cells(series, -(-first_ms // HOUR_MS)):
            found += more[:groupings, :groupings]
        return found

    def _between(self, first_ms: int, end_ms: int) -> Iterator[Words]:
        """Records of every file that may hold some of a stretch of time."""
        for segment in self.segments():
            if segment.count and segment.last_ms >= first_ms and segment.first_ms < end_ms:
                yield segment.records()

    # ---- bounds ---------------------------------------------------------------------------------

    def tidy(self, max_bytes: int, oldest_ms: int, live: Iterable[str], now_ms: int) -> None:
        """Seals what takes no more records, and forgets what is too old, too much or removed.

        Args:
            max_bytes: of all files. Those that are open count; if they alone are more, they stay.
            oldest_ms: what was answered before is forgotten, a file at a time.
            live: streams that may go on.
            now_ms: wall clock.

        Raises:
            StoreFailed: a file could not be written or removed.
        """
        self._miss()
        going_on = set(live)
        for stream, segments in self._streams.items():
            last = segments[-1]
            aged = last.count and last.first_ms < now_ms - SEAL_AFTER_MS
            if not last.sealed and (stream not in going_on or aged):
                segments[-1] = last.seal()
        nbytes = self.facts().nbytes
        while True:
            oldest = self._oldest()
            if oldest is None or (nbytes <= max_bytes and oldest.last_ms >= oldest_ms):
                return
            nbytes -= oldest.nbytes
            self._forget(oldest)

    def _miss(self) -> None:
        """Lets go of files that somebody else removed, or records would go where nobody looks.

        Raises:
            StoreFailed: their folder is gone; it may come back, with all of them.
        """
        if not self._folder.is_dir():
            raise StoreFailed(f"{self._folder}: is gone")
        for stream, segments in list(self._streams.items()):
            gone = [one for one in segments if _is_gone(one.path)]
            for segment in gone:
                log.error("%s: removed, and %d records with it", segment.path, segment.count)
                segment.remove()
                segments.remove(segment)
            if not segments:
                del self._streams[stream]

    def _oldest(self) -> Segment | None:
        firsts = (segments[0] for segments in self._streams.values())
        return min((one for one in firsts if one.sealed), key=lambda one: one.last_ms, default=None)

    def _forget(self, segment: Segment) -> None:
        stream = segment.stream
        stood = self._forgotten.get(stream, Forgotten(-1, -1))
        upto = Forgotten(segment.number, max(stood.high, segment.high))
        hours = by_hour(segment.records(), self._threshold, self._groupings)
        metrics = metrics_by_hour(segment, self._groupings)
        self._forgetting(segment)
        self._remains.forget(stream, upto, segment.count, hours, metrics)
        self._forgotten[stream] = upto
        segments = self._streams[stream]
        del segments[0]
        if not segments:
            del self._streams[stream]
        segment.remove()

    # ---- files ----------------------------------------------------------------------------------

    def _adopt(self, segment: Segment) -> None:
        stood = self._forgotten.get(segment.stream)
        if stood is not None and segment.number <= stood.number:
            segment.remove()  # it was being forgotten when this was killed
        else:
            self._streams.setdefault(segment.stream, []).append(segment)

    def _open(self, stream: str) -> Segment:
        """A segment with room."""
        segments = self._streams.get(stream, [])
        if segments and segments[-1].room:
            return segments[-1]
        if segments and not segments[-1].sealed:
            segments[-1] = segments[-1].seal()
        last = segments[-1].number if segments else self._forgotten.get(stream, _NEVER).number
        made = Segment.create(self._folder, stream, last + 1, self._capacity, self._held)
        self._streams.setdefault(stream, segments).append(made)
        return made

    def segments(self) -> Iterator[Segment]:
        """All files."""
        for segments in self._streams.values():
            yield from segments


_NEVER: Final = Forgotten(-1, -1)


def _is_gone(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except OSError:  # a disk that is away may come back
        return False
    return False


def _emptied(records: Words) -> Words:
    empty = np.zeros_like(records)
    empty[:, SEQUENCE] = records[:, SEQUENCE]
    empty[:, SERIES_AND_ROW] = series_and_rows(ERASED, rows_of(records))
    empty.view(np.float64)[:, OUTCOME] = np.nan
    return empty

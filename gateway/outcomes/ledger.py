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
from gateway.outcomes.segment import CAPACITY, Segment, clear_up, segments_in
from kernels import ring
from kernels.ledger import (
    MARKS,
    OUTCOME,
    RECORD_WORDS,
    SCORE,
    SEQUENCE,
    SERIES_AND_ROW,
    TIME_MS,
    TOP_AND_CORRECTIONS,
    Words,
)
from kernels.performance import THRESHOLD, Sums, add, merge, no_sums

log = logging.getLogger("penstock.control")

HOUR_MS: Final = 3_600_000
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
        self, stream: str, upto: Forgotten, records: int, sums: Mapping[tuple[int, int], Sums]
    ) -> None:
        """Keeps, in one transaction, that a file is gone and what its records added up to.

        Args:
            stream: of the file.
            upto: how far the stream is forgotten then.
            records: in the file.
            sums: by series and hour since 1970.

        Raises:
            StoreFailed: it could not be kept.
        """

    def sums(self, series: int, first_hour: int) -> Iterable[Sums]:
        """What was forgotten of a series from an hour on."""


class Found(NamedTuple):
    """Where records are.

    Attributes:
        segment: the file.
        records: all of it, as `Segment.records` has them.
        asked: which of those that were asked for.
        places: of each in it.
    """

    segment: Segment
    records: Words
    asked: Words
    places: Words


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
    ) -> None:
        """Opens the folder, or makes it.

        Args:
            folder: of the files.
            remains: keeps what is forgotten.
            capacity: records in a file.
            threshold: above which a series' positive class is predicted. What is forgotten stays
                as it was predicted then.

        Raises:
            StoreFailed: the folder can be neither read nor made.
        """
        self._folder = folder
        self._remains = remains
        self._capacity = capacity
        self._threshold = threshold
        self._forgotten = dict(remains.forgotten())
        self._streams: dict[str, list[Segment]] = {}
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StoreFailed(f"{folder}: {error.strerror}") from error
        clear_up(folder)
        found, faults = segments_in(folder)
        for fault in faults:
            log.error("%s: left alone", fault)
        for segment in found:
            self._adopt(segment)

    def facts(self) -> Facts:
        """What it holds now."""
        segments = list(self._segments())
        starts = [segment.first_ms for segment in segments if segment.count]
        return Facts(
            sum(segment.count for segment in segments),
            sum(segment.nbytes for segment in segments),
            min(starts, default=None),
        )

    # ---- records --------------------------------------------------------------------------------

    def append(self, stream: str, records: Words, anew: bool = False) -> Words:
        """Takes records of a stream; those that were not there.

        Args:
            stream: that they are of.
            records: (records, ledger.RECORD_WORDS).
            anew: some of them may have been taken before.

        Raises:
            StoreFailed: there is no room on the disk. What was taken stays: try all again `anew`.
        """
        if anew and len(records):
            rows = records[:, SERIES_AND_ROW] & 0xFFFFFFFF
            there = np.zeros(len(records), np.bool_)
            for found in self.find(stream, records[:, SEQUENCE].copy(), rows.copy()):
                there[found.asked] = True
            records = records[~there]
        taken = records
        while len(records):
            segment = self._open(stream)
            part, records = records[: segment.room], records[segment.room :]
            segment.append(part)
        return taken

    def find(self, stream: str, sequences: Words, rows: Words) -> Iterator[Found]:
        """Where records of a stream are; those that are in no file are in no answer.

        Raises:
            StoreFailed: a file cannot be mapped.
        """
        missing = np.arange(len(sequences))
        for segment in reversed(self._streams.get(stream, ())):
            there, places, records = segment.find(sequences[missing], rows[missing])
            if len(there):
                yield Found(segment, records, missing[there], places)
                missing = np.delete(missing, there)
            if not len(missing):
                return

    def knows(self, stream: str) -> bool:
        """Whether anything was ever taken of a stream."""
        return stream in self._streams or stream in self._forgotten

    def forgot(self, stream: str, sequence: int) -> bool:
        """Whether a record that is not there may have been forgotten."""
        return stream in self._forgotten and sequence <= self._forgotten[stream].high

    # ---- what they add up to --------------------------------------------------------------------

    def sums(self, series: int, first_ms: int, end_ms: int) -> Sums:
        """What the records of a series add up to that were answered in a stretch of time.

        Of those that were forgotten, whole hours that begin in it count.

        Raises:
            StoreFailed: a file cannot be mapped.
        """
        found = no_sums()
        for segment in self._segments():
            if segment.count and segment.last_ms >= first_ms and segment.first_ms < end_ms:
                records, threshold = segment.records(), self._threshold(series)
                add(found, records, series, first_ms, end_ms, threshold=threshold)
        for more in self._remains.sums(series, -(-first_ms // HOUR_MS)):
            merge(found, more)
        return found

    # ---- bounds ---------------------------------------------------------------------------------

    def tidy(self, max_bytes: int, oldest_ms: int, live: Iterable[str], now_ms: int) -> None:
        """Seals what takes no more records, and forgets what is too old or too much.

        Args:
            max_bytes: of all files. Those that are open count; if they alone are more, they stay.
            oldest_ms: what was answered before is forgotten, a file at a time.
            live: streams that may go on.
            now_ms: wall clock.

        Raises:
            StoreFailed: a file could not be written or removed.
        """
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

    def _oldest(self) -> Segment | None:
        firsts = (segments[0] for segments in self._streams.values())
        return min((one for one in firsts if one.sealed), key=lambda one: one.last_ms, default=None)

    def _forget(self, segment: Segment) -> None:
        stream = segment.stream
        stood = self._forgotten.get(stream, Forgotten(-1, -1))
        upto = Forgotten(segment.number, max(stood.high, segment.high))
        self._remains.forget(stream, upto, segment.count, self._by_hour(segment.records()))
        self._forgotten[stream] = upto
        segments = self._streams[stream]
        del segments[0]
        if not segments:
            del self._streams[stream]
        segment.remove()

    def _by_hour(self, records: Words) -> dict[tuple[int, int], Sums]:
        """What records add up to, by series and hour."""
        found: dict[tuple[int, int], Sums] = {}
        hours = records[:, TIME_MS] // HOUR_MS
        pairs = np.unique(np.stack((records[:, SERIES_AND_ROW] >> 32, hours), axis=1), axis=0)
        for series, hour in pairs.tolist():
            sums, first_ms = no_sums(), hour * HOUR_MS
            threshold = self._threshold(series)
            add(sums, records, series, first_ms, first_ms + HOUR_MS, threshold=threshold)
            found[series, hour] = sums
        return found

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
        made = Segment.create(self._folder, stream, last + 1, self._capacity)
        self._streams.setdefault(stream, segments).append(made)
        return made

    def _segments(self) -> Iterator[Segment]:
        for segments in self._streams.values():
            yield from segments


_NEVER: Final = Forgotten(-1, -1)


def of_ring(taken: Words) -> Words:
    """(records, ledger.RECORD_WORDS) without outcomes, of what a ring held of one stream."""
    records = np.zeros((len(taken), RECORD_WORDS), np.int64)
    records[:, SEQUENCE] = taken[:, ring.SEQUENCE]
    records[:, TIME_MS] = taken[:, ring.TIME_MS]
    records[:, SERIES_AND_ROW] = taken[:, ring.SERIES_AND_ROW]
    records[:, SCORE] = taken[:, ring.SCORE]
    records[:, TOP_AND_CORRECTIONS] = ring.upper(taken[:, ring.TOP_AND_EPOCH]) << 32
    records[:, MARKS] = taken[:, ring.MARKS]
    records.view(np.float64)[:, OUTCOME] = np.nan
    return records

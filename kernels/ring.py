"""A ring of fixed-size records that one writer fills and one reader empties, without a lock.

Knows words of one slot. Knows nothing of requests, models or files.

A record is RESERVED before it is written and WRITTEN afterwards. A reader copies what is written,
looks at RESERVED once more, and drops of its copy what a writer may have been in the middle of: the
oldest places of a ring that has come round. A writer never waits; what it overtakes is lost, and
the reader counts it. Who is killed halfway leaves a record that is not written, and its successor
writes over it.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from kernels._jit import kernel

Words = np.ndarray[Any, np.dtype[np.int64]]
Matrix = np.ndarray[Any, np.dtype[Any]]

# Words of a slot: the writer's, those that the ring leaves alone, the reader's; then the records.
RESERVED, WRITTEN = 0, 1
DRAINED, LOST = 6, 7
HEAD_WORDS: Final = 8

# Words of a record. Two narrow numbers share a word: the first in the upper half.
SEQUENCE, TIME_MS, SERIES_AND_ROW, SCORE, TOP_AND_EPOCH, MARKS, LOT = range(7)
RECORD_WORDS: Final = 7
BEST: Final = -1  # in place of a column: the one with the largest value
NOBODY: Final = -1  # in place of a sequence: these rows are not recorded
NAME: Final = 0xFFFFFFFF  # in place of a row: no record, but the digest of a client's id
_HALF: Final = 32
_LOW: Final = 0xFFFFFFFF


class Drained(NamedTuple):
    """What a reader took.

    Attributes:
        records: (records, RECORD_WORDS), oldest first.
        end: what DRAINED is to be once they are kept.
        lost: records that were overwritten before anybody read them.
    """

    records: Words
    end: int
    lost: int


def words_for(records: int) -> int:
    """Words of a slot with room for so many records."""
    return HEAD_WORDS + records * RECORD_WORDS


_SIGNATURE: Final = (
    "boolean(int64[::1], int64[::1], int64, {}[:, ::1], int64, int64, int64[::1], int64, int64,"
    " int64)"
)


@kernel(_SIGNATURE.format("float32"), _SIGNATURE.format("float64"))
def append(
    slot: Words,
    requests: Words,
    count: int,
    outputs: Matrix,
    column: int,
    told: int,
    marks: Words,
    series: int,
    epoch: int,
    now_ms: int,
) -> bool:
    """Writes a record for each row of the requests of a batch.

    Args:
        slot: the writer's own.
        requests: the sequences of `count` requests (NOBODY: its rows are passed over), behind them
            how many rows each has, which add up to the rows of `outputs`, and behind these how
            each got its variant (`kernels.lots`).
        count: of requests.
        outputs: (rows, columns).
        column: whose value is the score; BEST: that of the largest, whose number is the top.
        told: the top where there is one column.
        marks: (rows,) of `kernels.marks`; none: nothing is said of any row.
        series: 31 bits.
        epoch: of the writer, 32 bits.
        now_ms: wall clock.

    Returns:
        Whether outputs and marks have those rows, and that column; where not, nothing is written.
    """
    capacity = (len(slot) - HEAD_WORDS) // RECORD_WORDS
    scores = slot.view(np.float64)
    written = slot[WRITTEN]
    number, rows = written, 0
    for request in range(count):
        rows += requests[count + request]
        if requests[request] != NOBODY:
            number += requests[count + request]
    if outputs.shape[0] != rows or outputs.shape[1] <= max(column, 0):
        return False
    marked = len(marks) > 0
    if marked and len(marks) != rows:
        return False
    slot[RESERVED] = number
    number = written
    first = 0
    for request in range(count):
        rows = requests[count + request]
        if requests[request] != NOBODY:
            for row in range(rows):
                place, top = column, told
                if column == BEST:
                    place = 0
                    for other in range(1, outputs.shape[1]):
                        if outputs[first + row, other] > outputs[first + row, place]:
                            place = other
                    top = place
                at = HEAD_WORDS + number % capacity * RECORD_WORDS
                slot[at + SEQUENCE] = requests[request]
                slot[at + TIME_MS] = now_ms
                slot[at + SERIES_AND_ROW] = series << _HALF | row
                scores[at + SCORE] = outputs[first + row, place]
                slot[at + TOP_AND_EPOCH] = top << _HALF | epoch & _LOW
                slot[at + MARKS] = marks[first + row] if marked else 0
                slot[at + LOT] = requests[2 * count + request]
                number += 1
        first += rows
    slot[WRITTEN] = number
    return True


@kernel("void(int64[::1], int64[:, ::1], int64, int64, int64)")
def append_names(slot: Words, names: Words, series: int, epoch: int, now_ms: int) -> None:
    """Writes an entry for each request that its client gave an id, among the records.

    Args:
        slot: the writer's own.
        names: (requests, 3) their sequences, digests of their ids, and how many rows they have.
        series: 31 bits.
        epoch: of the writer, 32 bits.
        now_ms: wall clock.
    """
    capacity = (len(slot) - HEAD_WORDS) // RECORD_WORDS
    number = slot[WRITTEN]
    slot[RESERVED] = number + len(names)
    for one in range(len(names)):
        at = HEAD_WORDS + number % capacity * RECORD_WORDS
        slot[at + SEQUENCE] = names[one, 0]
        slot[at + TIME_MS] = now_ms
        slot[at + SERIES_AND_ROW] = series << _HALF | NAME
        slot[at + SCORE] = names[one, 1]
        slot[at + TOP_AND_EPOCH] = names[one, 2] << _HALF | epoch & _LOW
        slot[at + MARKS] = 0
        slot[at + LOT] = 0
        number += 1
    slot[WRITTEN] = number


def read(slot: Words) -> Drained:
    """What was written and not drained. Changes nothing: see `done`."""
    capacity = (len(slot) - HEAD_WORDS) // RECORD_WORDS
    ring = slot[HEAD_WORDS : HEAD_WORDS + capacity * RECORD_WORDS].reshape(capacity, RECORD_WORDS)
    drained, end = int(slot[DRAINED]), int(slot[WRITTEN])
    first = max(drained, end - capacity)
    records = ring[np.arange(first, end) % capacity]
    # While it was copied, the writer may have come round to its oldest records.
    safe = min(max(first, int(slot[RESERVED]) - capacity), end)
    return Drained(records[safe - first :], end, safe - drained)


def done(slot: Words, drained: Drained) -> None:
    """What was read is kept elsewhere: it will not be read again."""
    slot[LOST] += drained.lost
    slot[DRAINED] = drained.end


def names(records: Words) -> Any:
    """(records,) which of them are no records, but digests of clients' ids in place of scores."""
    return lower(records[:, SERIES_AND_ROW]) == NAME


def upper(words: Words) -> Words:
    """The first of two numbers in a word, with its sign."""
    return words >> _HALF


def lower(words: Words) -> Words:
    """The second of two numbers in a word, without a sign."""
    return words & _LOW

"""What one request to a language model leaves behind: how it ended, its tokens, cost and times.

Knows a section of int64, one record of a request and the order of the words of both. Knows nothing
of models, providers or HTTP.

Words of a section, all sums that only grow:

    RESULTS ..     requests by how they ended, then scalars, see below
    TOKEN_BUCKETS  requests by tokens read, then by tokens written, in powers of four
    TIME_NS        one word a time, sums
    TIMES_FIRST    one histogram (kernels.histogram) a time
"""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

import numpy as np

from kernels import histogram
from kernels._jit import kernel
from kernels.histogram import Counts

Record = np.ndarray[Any, np.dtype[np.float64]]

Result = Literal["ok", "left", "failed", "broken", "filtered", "fell_back"]
"""ok: answered. left: the client went first. failed: it got an error. broken: in mid-stream.
filtered: the answer was cut off by a content policy and held back: another model was asked.
fell_back: there was none, and another model was asked."""
RESULTS: Final[tuple[Result, ...]] = get_args(Result)
FAILURES: Final[tuple[Result, ...]] = ("failed", "broken", "fell_back")
"""Results that are an upstream's failure, or the gateway's."""
TIMES: Final = ("duration", "first_token", "gap", "per_token", "overhead", *FAILURES)
"""Seconds, of requests that were answered; `gap` of all streams, and of each failure how long it
took from the first byte of the request.

duration: from the first byte of the request to the last of the answer. first_token: from asking the
upstream to the first content, of streams. gap: between two pieces of a stream. per_token: of the
time after the first content, for each further token. overhead: what the gateway took: until the
upstream was asked, and from the last byte that it sent to the last that the client got.
"""

RETRIES: Final = len(RESULTS)
INPUT: Final = RETRIES + 1
OUTPUT: Final = RETRIES + 2
CACHE_READ: Final = RETRIES + 3
CACHE_WRITE: Final = RETRIES + 4
REASONING: Final = RETRIES + 5
COST: Final = RETRIES + 6  # pico-dollars: nine million dollars fit
UNPRICED: Final = RETRIES + 7  # requests that somebody worked for, and nobody knows what it cost
ESTIMATED: Final = RETRIES + 8  # requests whose tokens nobody told
COUNTED: Final = RETRIES + 9  # requests whose tokens are in these sums
PIECES: Final = RETRIES + 10  # of streams
TOKEN_BUCKETS: Final = RETRIES + 11
TOKEN_WIDTH: Final = 15  # up to 1, 4, 16, ... 4**13, and more
TIME_NS: Final = TOKEN_BUCKETS + 2 * TOKEN_WIDTH
TIMES_FIRST: Final = TIME_NS + len(TIMES)
WORDS: Final = TIMES_FIRST + len(TIMES) * histogram.BUCKETS

# Places in a record. Clock readings are seconds of one monotonic clock.
RESULT: Final = 0  # by index in RESULTS
TRIES: Final = 1  # of this model, after the first
MOVES: Final = 2  # from other models, which were asked before
READ: Final = 3  # tokens; below 0: nobody worked for it
WRITTEN: Final = 4
CACHED: Final = 5
STORED: Final = 6
THOUGHT: Final = 7
PAID: Final = 8  # pico-dollars; below 0: nobody knows
GUESSED: Final = 9  # 1.0 or 0.0
STREAMED: Final = 10  # 1.0 or 0.0
ARRIVED: Final = 11
ASKED: Final = 12
CONTENT: Final = 13  # 0: the client got none
LAST_IN: Final = 14  # when the upstream's last byte was there
ENDED: Final = 15
STAMPS: Final = 16  # when each piece came, the first content included

_DURATION, _FIRST, _GAP, _PER_TOKEN, _OVERHEAD = range(len(TIMES) - len(FAILURES))
_OK: Final = RESULTS.index("ok")
_BY_RESULT: Final = tuple(
    _DURATION if one == "ok" else TIMES.index(one) if one in FAILURES else -1 for one in RESULTS
)
"""Which time is how long a request took, by its result; -1: none."""


@kernel("void(int64[::1], int64, float64)")
def _time(section: Counts, time: int, seconds: float) -> None:
    ns = max(int(seconds * 1e9 + 0.5), 0)  # a clock that went backwards took no time
    section[TIME_NS + time] += ns
    section[TIMES_FIRST + time * histogram.BUCKETS + histogram.index(ns)] += 1


@kernel("int64(float64)")
def token_bucket(tokens: float) -> int:
    """The bucket of a number of tokens, by its power of four."""
    bucket, bound = 0, 1.0
    while bucket < TOKEN_WIDTH - 1 and tokens > bound:
        bucket += 1
        bound *= 4.0
    return bucket


@kernel("void(int64[::1], float64[::1])")
def _tokens(section: Counts, record: Record) -> None:
    read, written = record[READ], record[WRITTEN]
    section[COUNTED] += 1
    section[INPUT] += int(read)
    section[OUTPUT] += int(written)
    section[CACHE_READ] += int(record[CACHED])
    section[CACHE_WRITE] += int(record[STORED])
    section[REASONING] += int(record[THOUGHT])
    section[TOKEN_BUCKETS + token_bucket(read)] += 1
    section[TOKEN_BUCKETS + TOKEN_WIDTH + token_bucket(written)] += 1
    section[ESTIMATED] += int(record[GUESSED])
    if record[PAID] < 0.0:
        section[UNPRICED] += 1
    else:
        section[COST] += int(record[PAID])


@kernel("void(int64[::1], float64[::1])")
def _times(section: Counts, record: Record) -> None:
    ended, content = record[ENDED], record[CONTENT]
    if record[TRIES] == 0.0 and record[MOVES] == 0.0:  # else others' failures are in it
        own = record[ASKED] - record[ARRIVED] + ended - record[LAST_IN]
        _time(section, _OVERHEAD, own)
    if record[STREAMED] != 0.0 and content > 0.0:
        _time(section, _FIRST, content - record[ASKED])
        if record[WRITTEN] > 1.0 and record[GUESSED] == 0.0:
            _time(section, _PER_TOKEN, (record[LAST_IN] - content) / (record[WRITTEN] - 1.0))


@kernel("float64(int64[::1], float64[::1], int64)")
def observe(section: Counts, record: Record, pieces: int) -> float:
    """Counts one request that is over.

    Args:
        section: (WORDS,) of one writer.
        record: STAMPS words about the request, then when each of its pieces came.
        pieces: how many came.

    Returns:
        Seconds of the longest gap between two pieces; NaN where there was none.
    """
    result = int(record[RESULT])
    section[result] += 1
    section[RETRIES] += int(record[TRIES])
    section[PIECES] += pieces
    if record[READ] >= 0.0:
        _tokens(section, record)
    took = _BY_RESULT[result]
    if took >= 0:
        _time(section, took, record[ENDED] - record[ARRIVED])
    if result == _OK:
        _times(section, record)
    longest = np.nan
    for piece in range(1, pieces):
        gap = record[STAMPS + piece] - record[STAMPS + piece - 1]
        _time(section, _GAP, gap)
        if not gap <= longest:
            longest = gap
    return longest

"""Finds the request that a client's own id means, if it means one.

Knows entries and digests. Knows nothing of ids as text, or of files.

An entry is ENTRY_WORDS words: a digest, the sequence of a request, and its series with how many
rows it has, as two narrow numbers in a word.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from kernels._jit import kernel
from kernels.ledger import Words

DIGEST, SEQUENCE, SERIES_AND_ROWS = range(3)
ENTRY_WORDS: Final = 3
# Of what is looked for: how many requests it means, as far as MANY, and the first of them.
HITS, STREAM, NUMBER = range(3)
FOUND_WORDS: Final = 3
MANY: Final = 2
_HALF: Final = 32


def by_digest(entries: Words) -> Words:
    """The same entries in the order of their digests."""
    ordered: Words = entries[np.argsort(entries[:, DIGEST], kind="stable")]
    return ordered


@kernel("void(int64[:, ::1], int64[::1], int64[::1], int64, int64[:, ::1])")
def find(entries: Words, digests: Words, series: Words, stream: int, found: Words) -> None:
    """Looks for digests among the entries of a stream, beside what was found before.

    Args:
        entries: (entries, ENTRY_WORDS) by digest.
        digests: (wanted,).
        series: whose entries count; none: all do.
        stream: the number of the stream.
        found: (wanted, FOUND_WORDS), brought up to date.
    """
    count = len(entries)
    for one in range(len(digests)):
        digest = digests[one]
        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            if entries[middle, DIGEST] < digest:
                low = middle + 1
            else:
                high = middle
        while low < count and entries[low, DIGEST] == digest and found[one, HITS] < MANY:
            its = entries[low, SERIES_AND_ROWS] >> _HALF
            counts = len(series) == 0
            for other in series:
                counts = counts or other == its
            # The same may stand in two files, where a control process was killed.
            if counts and found[one, HITS] == 0:
                found[one, HITS] = 1
                found[one, STREAM] = stream
                found[one, NUMBER] = entries[low, SEQUENCE]
            elif counts and (
                found[one, STREAM] != stream or found[one, NUMBER] != entries[low, SEQUENCE]
            ):
                found[one, HITS] = MANY
            low += 1

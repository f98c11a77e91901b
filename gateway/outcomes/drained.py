"""What a ring of a worker held, as the ledger keeps it.

Knows the words of a ring, of records and of entries. Knows nothing of arenas or files.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kernels import ring
from kernels.ledger import (
    LOT_SHIFT,
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


class Taken(NamedTuple):
    """Of one stream.

    Attributes:
        records: (records, ledger.RECORD_WORDS) without outcomes.
        named: (entries, named.ENTRY_WORDS) of requests whose clients gave them an id.
    """

    records: Words
    named: Words


def of_ring(taken: Words) -> Taken:
    """What (taken, ring.RECORD_WORDS) are."""
    its = ring.names(taken)
    return Taken(_records(taken[~its]), _entries(taken[its]))


def _records(taken: Words) -> Words:
    records = np.zeros((len(taken), RECORD_WORDS), np.int64)
    records[:, SEQUENCE] = taken[:, ring.SEQUENCE]
    records[:, TIME_MS] = taken[:, ring.TIME_MS]
    records[:, SERIES_AND_ROW] = taken[:, ring.SERIES_AND_ROW]
    records[:, SCORE] = taken[:, ring.SCORE]
    tops = ring.upper(taken[:, ring.TOP_AND_EPOCH]) << 32
    records[:, TOP_AND_CORRECTIONS] = tops | taken[:, ring.LOT] << LOT_SHIFT
    records[:, MARKS] = taken[:, ring.MARKS]
    records.view(np.float64)[:, OUTCOME] = np.nan
    return records


def _entries(taken: Words) -> Words:
    """A digest stands where the score does, and how many rows there are where the top does."""
    series = ring.upper(taken[:, ring.SERIES_AND_ROW]) << 32
    rows = ring.upper(taken[:, ring.TOP_AND_EPOCH])
    return np.stack((taken[:, ring.SCORE], taken[:, ring.SEQUENCE], series | rows), axis=1)

"""Which request each outcome is of, also where it names one by its client's own id.

Knows digests and the ledger. Knows nothing of records, or of what becomes of outcomes.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from gateway.digests import digest
from gateway.outcomes.arrivals import NONE, Arrivals
from gateway.outcomes.ledger import Ledger
from kernels.ledger import Words
from kernels.named import FOUND_WORDS, HITS, MANY, NUMBER, STREAM

EVERYBODYS: Final = np.empty(0, np.int64)


class Addressed(NamedTuple):
    """Addresses of some outcomes.

    Attributes:
        streams: that they are in.
        stream: (outcomes,) which of those; NONE: the id is a client's, and of no request.
        sequence: (outcomes,) which request of it.
        ambiguous: (outcomes,) whether the id is of several requests.
    """

    streams: list[str]
    stream: Words
    sequence: Words
    ambiguous: Any


def addressed(arrivals: Arrivals, ledger: Ledger, series: Words) -> Addressed:
    """Where the records of some outcomes are.

    Args:
        arrivals: the outcomes.
        ledger: of the records.
        series: whose requests clients' ids may mean; none: everybody's.

    Raises:
        StoreFailed: a file of the ledger cannot be read.
    """
    theirs = arrivals.stream == NONE
    ambiguous = np.zeros(len(arrivals), np.bool_)
    if not theirs.any():
        return Addressed(arrivals.streams, arrivals.stream, arrivals.sequence, ambiguous)
    found = np.zeros((len(arrivals.clients), FOUND_WORDS), np.int64)
    digests = np.array([digest(text) for text in arrivals.clients], np.int64)
    streams = ledger.find_named(digests, series, found)
    stream, sequence = arrivals.stream.copy(), arrivals.sequence.copy()
    its = found[sequence[theirs]]
    ambiguous[theirs] = its[:, HITS] == MANY
    only = its[:, HITS] == 1
    stream[theirs] = np.where(only, len(arrivals.streams) + its[:, STREAM], NONE)
    sequence[theirs] = np.where(only, its[:, NUMBER], NONE)
    return Addressed([*arrivals.streams, *streams], stream, sequence, ambiguous)

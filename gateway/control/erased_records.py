"""Empties the records of requests in a ledger that is open, with a server or without one.

Knows records, series and who lets go of outcomes that wait. Knows nothing of captured rows or of
who asked. Blocking.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

import numpy as np

from gateway.control.ledger_rows import Series
from gateway.outcomes.address import Address
from gateway.outcomes.ledger import Ledger


@dataclass(slots=True)
class ErasedRecords:
    """What was erased of the ledger.

    Attributes:
        records: rows.
        waiting: outcomes that waited for their record.
        versions: that answered, by model and number.
    """

    records: int = 0
    waiting: int = 0
    versions: set[tuple[str, int]] = field(default_factory=set)


def erase_records(
    ledger: Ledger,
    series: Iterable[Series],
    requests: Collection[Address],
    forget: Callable[[Collection[Address], Collection[int]], int],
) -> ErasedRecords:
    """Empties the records of requests. Blocking.

    Args:
        ledger: of the records.
        series: that they may be of.
        requests: which.
        forget: lets go of outcomes that wait, as `Early.forget` does.

    Raises:
        StoreFailed: a file cannot be written; the same again goes on.
    """
    versions = {one.id: (one.model, one.version) for one in series}
    streams: dict[str, list[int]] = {}
    for one in requests:
        streams.setdefault(one.stream, []).append(one.sequence)
    named = {
        name
        for stream, some in streams.items()
        for name in ledger.names(stream, np.array(some, np.int64))
    }
    # First: what clients call them goes with the records, and is not known then.
    found = ErasedRecords(waiting=forget(requests, named))
    for stream, sequences in streams.items():
        erased = ledger.erase(stream, np.array(sequences, np.int64))
        found.records += len(erased)
        found.versions |= {versions[number] for number in set(erased) & versions.keys()}
    return found

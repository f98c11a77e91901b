"""Empties the records of requests in a ledger that is open, with a server or without one.

Knows records and series. Knows nothing of outcomes that wait, of captured rows or of who asked.
Blocking.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from gateway.control.ledger_store import Series
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
    ledger: Ledger, series: Iterable[Series], requests: Iterable[Address]
) -> ErasedRecords:
    """Empties the records of requests. Blocking.

    Raises:
        StoreFailed: a file cannot be written; the same again goes on.
    """
    versions = {one.id: (one.model, one.version) for one in series}
    streams: dict[str, list[int]] = {}
    for one in requests:
        streams.setdefault(one.stream, []).append(one.sequence)
    found = ErasedRecords()
    for stream, sequences in streams.items():
        erased = ledger.erase(stream, np.array(sequences, np.int64))
        found.records += len(erased)
        found.versions |= {versions[number] for number in set(erased) & versions.keys()}
    return found

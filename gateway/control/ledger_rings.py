"""The rings that workers write answers into, until these are in the ledger's files.

Knows the arena, and what the ids of a worker's requests begin with. Knows nothing of files, of
which version a record is of, or of outcomes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gateway.monitor import layout
from gateway.monitor.arena import EPOCH, Arena
from gateway.monitor.directory import Words
from gateway.outcomes.drained import of_ring
from kernels import ring

Keep = Callable[[str, Words, bool, Words], None]
"""Takes a stream, its records, whether some of them may have been taken before, and entries of
clients' ids, both as `outcomes.drained.Taken` has them."""


class LedgerRings:
    """Of one server."""

    def __init__(self, arena: Arena, stream: Callable[[int, int], str]) -> None:
        """Takes shared memory, and what ids begin with, by a worker's slot and epoch."""
        self._arena = arena
        self._stream = stream
        self._sure: set[str] = set()
        """Streams of which nothing that a ring holds was taken before."""

    @property
    def there(self) -> bool:
        """A model ever had a ledger since the server was started."""
        return self._arena.find(layout.LEDGER, layout.LEDGER_BLOCK) is not None

    def block(self) -> int:
        """Where all deployments of a worker write; made where it is not there.

        Raises:
            ArenaFull: there is no room.
        """
        return self._arena.allocate(layout.LEDGER, layout.LEDGER_BLOCK)

    def drain(self, keep: Keep) -> None:
        """Takes what every worker wrote down; what `keep` fails at stays where it is."""
        for slot, words in enumerate(self._slots()):
            drained = ring.read(words)
            epochs = ring.lower(drained.records[:, ring.TOP_AND_EPOCH])
            for epoch in np.unique(epochs).tolist():
                self._take(self._stream(slot, epoch), drained.records[epochs == epoch], keep)
            ring.done(words, drained)

    def _take(self, stream: str, records: Words, keep: Keep) -> None:
        taken = of_ring(records)
        # A predecessor may have been killed, or a disk full, after some of them were taken.
        anew = stream not in self._sure
        self._sure.discard(stream)
        keep(stream, taken.records, anew, taken.named)
        self._sure.add(stream)

    def live(self) -> set[str]:
        """Streams whose records may still come."""
        arena = self._arena
        return {self._stream(slot, arena.row(slot)[EPOCH]) for slot in range(arena.workers)}

    def missing(self) -> dict[str, int]:
        """What is in no record, since the server was started, by why."""
        slots = self._slots()
        return {
            "lost_records": sum(int(words[ring.LOST]) for words in slots),
            "skipped_rows": sum(int(words[layout.SKETCH_SKIPPED]) for words in slots),
            "unsampled_rows": sum(int(words[layout.LEDGER_UNSAMPLED]) for words in slots),
        }

    def _slots(self) -> list[Words]:
        offset = self._arena.find(layout.LEDGER, layout.LEDGER_BLOCK)
        if offset is None:
            return []
        return [self._arena.array(offset, slot) for slot in range(self._arena.workers)]

"""Counts what a deployment's traffic breaks of its contract, and stands at its door where it may.

Knows terms, and a block of the arena. Knows nothing of requests' bytes or of how answers look.

    Observed    counts each batch after its answers, as a sketch does: a taker of batches
    Enforced    examines each request before it is queued: `warn` lets it pass, `reject` does not

Both count into one block, whose words stand in the order of the contract's columns and of
`kernels.contracts`' rules. Nothing that goes wrong here reaches a request: it is said once, and
counted as rows that were not examined.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from gateway.contracts.live import Finding, Inputs, Terms
from gateway.errors import ContractViolated
from gateway.monitor import layout
from gateway.monitor.sketch import Arrays, Slot, Taker, light_rows
from gateway.tensors import Signature

log = logging.getLogger("penstock.worker")

Examined = Finding | bool
"""What a request breaks; True: nothing; False: it could not be examined."""


class Observed(Taker):
    """Counts the batches of one deployment."""

    def __init__(self, terms: Terms, signature: Signature, slot: Slot) -> None:
        """Begins to count."""
        super().__init__(slot, light_rows([spec.shape for spec in signature.inputs]))
        self._terms = terms

    def _add(self, inputs: Arrays, outputs: Arrays, rows: int) -> int:
        try:
            self._terms.count(inputs, self._words[layout.CONTRACT_FIRST :][: self._terms.words])
        except Exception:
            self._complain()
            return rows
        self._words[layout.CONTRACT_ROWS] += rows
        return 0


class Enforced:
    """Examines the requests of one deployment."""

    def __init__(self, terms: Terms, slot: Slot, rejects: bool) -> None:
        """Begins to examine; `rejects`: what breaks the contract is refused."""
        self._terms = terms
        self._slot = slot
        self._rejects = rejects
        self._complained = False
        slot.use()

    def close(self) -> None:
        """Examines no more."""
        self._slot.leave()

    def examine(self, inputs: Inputs) -> Examined:
        """Looks at a request's inputs, in the signature's order. On any thread: never raises."""
        try:
            return self._terms.examine(inputs) or True
        except Exception:
            if not self._complained:
                self._complained = True
                log.exception("a request could not be held against its contract, nor will others")
            return False

    def settle(self, examined: Examined, rows: int) -> str:
        """Counts a request that was examined. On the event loop.

        Args:
            examined: as `examine` said.
            rows: of the request.

        Returns:
            What its answer warns of; empty where that is nothing.

        Raises:
            ContractViolated: it is refused; the message names row, feature, wanted and got.
        """
        if self._slot.busy:  # batches of an earlier policy are still being counted
            self._slot.line_up(partial(self._count, examined, rows), rows, 0)
        elif skipped := self._count(examined, rows):
            self._slot.words[layout.SKETCH_SKIPPED] += skipped
        if isinstance(examined, bool):
            return ""
        if self._rejects:
            raise ContractViolated(_refusal(examined))
        return examined.summary

    def _count(self, examined: Examined, rows: int) -> int:
        """How many rows were not examined."""
        if examined is False:
            return rows
        words = self._slot.words
        words[layout.CONTRACT_ROWS] += rows
        if examined is not True:
            words[layout.CONTRACT_FIRST :][: self._terms.words] += examined.counts
        return 0


def _refusal(found: Finding) -> str:
    breaches = int(found.counts.sum())
    more = f"; and {breaches - 1} more: {found.summary}" if breaches > 1 else ""
    return f"contract: {found.first}{more}"


def block_words(columns: Sequence[object]) -> int:
    """Words of one slot for a contract of so many columns."""
    return layout.CONTRACT_FIRST + len(columns) * layout.CONTRACT_RULES

"""Counts what a deployment's traffic breaks of its contract, and stands at its door where it may.

Knows terms, and a block of the arena. Knows nothing of requests' bytes or of how answers look.

    Observed    counts each batch after its answers, beside the sketch, which knows most that
                cannot break anything
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
from gateway.monitor.slot import Slot

log = logging.getLogger("penstock.worker")

Examined = Finding | bool
"""What a request breaks; True: nothing; False: it could not be examined."""


class Observed:
    """Counts the batches of one deployment, beside its sketch."""

    def __init__(self, terms: Terms, slot: Slot, covered: bool) -> None:
        """Begins to count.

        Args:
            terms: of the contract.
            slot: of its block.
            covered: what is not unusual to the sketch cannot break the contract.
        """
        self._terms = terms
        self._slot = slot
        self._counts = slot.words[layout.CONTRACT_FIRST :][: terms.words]
        self._covered = covered
        self._complained = False
        slot.use()

    def close(self) -> None:
        """Counts no more."""
        self._slot.leave()

    def add(self, inputs: Inputs, rows: int, unusual: int) -> None:
        """Takes a batch; called where and when the sketch counts it. Never raises.

        Args:
            inputs: in the signature's order.
            rows: of the batch.
            unusual: how many of its values are in no bin or outside the reference's range.
        """
        words = self._slot.words
        if unusual or not self._covered:
            try:
                self._terms.count(inputs, self._counts)
            except Exception:
                words[layout.SKETCH_SKIPPED] += rows
                if not self._complained:
                    self._complained = True
                    log.exception(
                        "a batch was not held against its contract; others are not told of"
                    )
                return
        words[layout.CONTRACT_ROWS] += rows


class Enforced:
    """Examines the requests of one deployment."""

    def __init__(self, terms: Terms, slot: Slot, counting: Slot, rejects: bool) -> None:
        """Begins to examine.

        Args:
            terms: of the contract.
            slot: of its block.
            counting: the sketch's, beside which batches of an earlier policy may still be counted.
            rejects: what breaks the contract is refused.
        """
        self._terms = terms
        self._slot = slot
        self._counting = counting
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
                log.exception("a request was not held against its contract; others are not told of")
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
        if self._counting.busy:
            self._counting.line_up(partial(self._count, examined, rows), 0, 0)
        else:
            self._count(examined, rows)
        if isinstance(examined, bool):
            return ""
        if self._rejects:
            raise ContractViolated(_refusal(examined))
        return examined.summary

    def _count(self, examined: Examined, rows: int) -> int:
        """None of the sketch's rows is skipped because of it."""
        words = self._slot.words
        words[layout.SKETCH_SKIPPED if examined is False else layout.CONTRACT_ROWS] += rows
        if not isinstance(examined, bool):
            words[layout.CONTRACT_FIRST :][: self._terms.words] += examined.counts
        return 0


def _refusal(found: Finding) -> str:
    breaches = int(found.counts.sum())
    more = f"; and {breaches - 1} more: {found.summary}" if breaches > 1 else ""
    return f"contract: {found.first}{more}"


def block_words(columns: Sequence[object]) -> int:
    """Words of one slot for a contract of so many columns."""
    return layout.CONTRACT_FIRST + len(columns) * layout.CONTRACT_RULES

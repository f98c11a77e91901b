"""Who may not join the queue, in words, and how long those who may will wait.

Knows limits, fitted costs and times as numbers. Knows nothing of riders, lines or clocks.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.errors import (
    BatchTooLarge,
    DeadlineUnmeetable,
    Draining,
    GatewayError,
    InvalidTensor,
    QueueFull,
)
from gateway.serving.cost import CostModel

# So many rows may wait however slow the model is: a handful of callers is no overload.
FREE_ROWS = 64
# A model that is too slow for its clients is tried out a tenth of the time at most.
PROBE_REST = 9
PROBE_REST_S = 1.0


@dataclass(frozen=True, slots=True)
class Admission:
    """The limits of one deployment.

    Attributes:
        name: the model's.
        max_rows: most rows of a batch; 0: each request runs alone, whatever its rows.
        max_queue_rows: most rows that may wait.
        max_queue_s: longest wait for a slot that a newcomer may expect.
        instances: batches that run at the same time.
    """

    name: str
    max_rows: int
    max_queue_rows: int
    max_queue_s: float
    instances: int

    def room(self, cost: CostModel) -> int:
        """How many rows may wait, at what runs cost now.

        A bound in rows, worked out once a run, is all that a request has to be held against.
        """
        rows = max(self.max_rows, 1)
        each = cost.estimate(rows)
        if not each:
            return self.max_queue_rows
        in_time = int(self.max_queue_s / each * self.instances * rows)
        return min(self.max_queue_rows, max(in_time, FREE_ROWS, rows * self.instances))

    def objection(self, rows: int, queued_rows: int, room: int, draining: bool) -> GatewayError:
        """Why a request of so many rows is not taken; called only where one of these holds."""
        if draining:
            return Draining(f"model '{self.name}' is being unloaded")
        if rows > self.max_rows > 0:
            return BatchTooLarge(
                f"inference request batch-size must be <= {self.max_rows} for '{self.name}',"
                f" got {rows}"
            )
        if rows < 1:
            return InvalidTensor(f"model '{self.name}': expected at least one row, got {rows}")
        if rows > self.max_queue_rows:
            return BatchTooLarge(
                f"model '{self.name}': expected at most max_queue_rows"
                f" {self.max_queue_rows} rows in a request, got {rows}"
            )
        return QueueFull(
            f"model '{self.name}': Exceeds maximum queue size: {queued_rows} rows wait,"
            f" {room} may, {rows} came"
        )

    def expected_s(self, cost: CostModel, rows: int, rows_before: int, slot_free_s: float) -> float:
        """Seconds until a newcomer's run is over.

        Args:
            cost: of a run.
            rows: the newcomer's.
            rows_before: rows that wait and go before it.
            slot_free_s: until a run may start.

        Returns:
            Waiting for a slot, the full batches before it, and its own batch; 0.0 of each where
            `cost` has seen no run.
        """
        if self.max_rows > 1:
            batches, beside = divmod(rows_before, self.max_rows)
            own = min(beside + rows, self.max_rows)
            each = cost.estimate(self.max_rows)
        else:
            batches, own, each = rows_before, rows, cost.estimate(1)
        return slot_free_s + batches * each / self.instances + cost.estimate(own)

    def unmeetable(self, left_s: float, expected_s: float) -> GatewayError:
        """The refusal of a request whose answer would come too late."""
        return DeadlineUnmeetable(
            f"model '{self.name}': Request timeout expired: {left_s * 1e3:.3g} ms left,"
            f" an answer is expected in {expected_s * 1e3:.3g} ms"
        )


class Probe:
    """When a model that an estimate alone keeps from running is to be tried out once more.

    Where everybody's deadline is shorter than the estimate nothing runs, so nothing is learnt, and
    a model that was slow while it was warmed up would refuse its clients for good.
    """

    __slots__ = ("_runs", "_since")

    def __init__(self) -> None:
        self._runs = -1
        self._since = 0.0

    def due(self, now: float, runs: int, expected_s: float) -> bool:
        """Asked where a request would be refused though nothing runs or waits.

        Args:
            now: the time.
            runs: the cost model's; another number than last time says that something has run.
            expected_s: what the request would take.
        """
        if runs != self._runs:
            self._runs = runs
            self._since = now
            return False
        if now - self._since < max(PROBE_REST * expected_s, PROBE_REST_S):
            return False
        self._runs = -1
        return True

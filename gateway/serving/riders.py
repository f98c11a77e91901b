"""Riders and batches: one request's share of a run, and the run itself.

Knows tensors and times. Knows nothing of queues, of how a model runs, or of how an answer is
written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from gateway.errors import GatewayError
from gateway.serving.runtime import Runtime
from gateway.tensors import Array

INFINITE = float("inf")

REASONS = ("full", "preferred", "delay", "idle", "drain")
"""Why a batch was let go.

full: no further rider fits. preferred: it reached a preferred size. delay: its oldest rider's delay
was over. idle: with no delay configured, it took what was there once a slot was free. drain: the
deployment is leaving and waits for nobody.
"""

DEFAULT_LEVEL = 5
"""The priority of a request that names none (0): others may go before it, or let it pass."""


class Leaver(Protocol):
    """All that serving knows of a request's carrier."""

    @property
    def gone(self) -> bool:
        """The client left; nobody waits for this answer."""


class Rider:
    """One request's share of a batch.

    Attributes:
        exchange: whom to answer.
        request: the endpoint's own; never looked at here.
        inputs: in the signature's order; dtypes and fixed dimensions already checked against it.
        rows: leading dimension of the inputs, or 1 where the signature is not batched.
        wanted: indices of the outputs asked for, ascending. Equal ones should be the same object.
        priority: 1 is the highest; 0 stands for `DEFAULT_LEVEL`; larger is lower.
        deadline: when its wait is over, seconds of the batcher's clock; submitting may bring it
            forward.
        queued: when it was submitted; set by the batcher.
        accept: the endpoint's own, as `request`.
    """

    __slots__ = (
        "accept",
        "deadline",
        "exchange",
        "inputs",
        "priority",
        "queued",
        "request",
        "rows",
        "wanted",
    )

    def __init__(
        self,
        exchange: Leaver,
        request: Any,
        inputs: tuple[Array, ...],
        rows: int,
        wanted: tuple[int, ...],
        priority: int = 0,
        deadline: float = INFINITE,
    ) -> None:
        self.exchange: Any = exchange
        self.request = request
        self.inputs = inputs
        self.rows = rows
        self.wanted = wanted
        self.priority = priority
        self.deadline = deadline
        self.queued = 0.0
        self.accept: Any = None


class Batch:
    """Riders that share one run. Times are seconds of the batcher's clock.

    Attributes:
        riders: in the order of their rows.
        rows: rows of all riders.
        wanted: the outputs that any rider asked for, ascending.
        runtime: what it runs on; None: the deployment's own, which makes every output.
        reason: one of `REASONS`.
        formed: when the riders left the queue.
        started: when its thread (or the loop) took it up.
        assembled: when its inputs were one tensor each; the model runs from here.
        finished: when the outputs were there.
        cpu_s: processor time of the running thread from `started` to `finished`.
        on_loop: it ran on the event loop.
        inputs: what the model ran on, in the signature's order; padded where padding was needed.
        outputs: one per output of the signature, None where no rider asked for it.
        trimmed: None; or, where padding was cut back from the outputs, per rider what `outputs` is
            for the batch, with that rider's rows alone.
        error: why there are no outputs.
        cells, padded_cells: values in the padded inputs in all, and those among them that are
            padding.
        isolated: a part of a batch that failed, run again on its own.
    """

    __slots__ = (
        "assembled",
        "cells",
        "cpu_s",
        "error",
        "finished",
        "formed",
        "inputs",
        "isolated",
        "on_loop",
        "outputs",
        "padded_cells",
        "reason",
        "riders",
        "rows",
        "runtime",
        "started",
        "trimmed",
        "wanted",
    )

    def __init__(self, riders: list[Rider], rows: int, reason: str, formed: float) -> None:
        self.riders = riders
        self.rows = rows
        self.wanted = _union(riders)
        self.runtime: Runtime | None = None
        self.reason = reason
        self.formed = formed
        self.started = self.assembled = self.finished = formed
        self.cpu_s = 0.0
        self.on_loop = False
        self.inputs: Sequence[Array] = ()
        self.outputs: list[Array | None] = []
        self.trimmed: list[list[Array | None]] | None = None
        self.error: GatewayError | None = None
        self.cells = 0
        self.padded_cells = 0
        self.isolated = False

    @property
    def oldest(self) -> float:
        """When its first rider was queued; `formed - oldest` is the batch's queue age."""
        return min(rider.queued for rider in self.riders)


def _union(riders: Sequence[Rider]) -> tuple[int, ...]:
    first = riders[0].wanted
    for rider in riders:
        if rider.wanted is not first and rider.wanted != first:
            return tuple(sorted({index for rider in riders for index in rider.wanted}))
    return first

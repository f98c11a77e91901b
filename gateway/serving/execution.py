"""Runs one batch: joins its riders' tensors, runs the model, checks what came out.

Knows batches and runtimes. Knows nothing of queues or of the event loop: it runs on whichever
thread calls it, and never raises.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter, thread_time

import numpy as np

from gateway.errors import GatewayError, ModelFailed
from gateway.serving.padding import Padder
from gateway.serving.riders import Batch
from gateway.serving.runtime import Runtime
from gateway.tensors import Array

log = logging.getLogger("penstock.serving")

Clock = Callable[[], float]

QUIET_S = 10.0
"""Pause between two log lines about failing runs of one model."""


class Execution:
    """How the batches of one deployment run."""

    def __init__(
        self,
        name: str,
        runtime: Runtime,
        padder: Padder | None,
        clock: Clock = perf_counter,
        cpu_clock: Clock = thread_time,
    ) -> None:
        self._name = name
        self._runtime = runtime
        self._padder = padder
        self._outputs = runtime.signature.outputs
        self._inputs = range(len(runtime.signature.inputs))
        self._batched = runtime.signature.batched
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._quiet_until = 0.0

    def run(self, batch: Batch) -> None:
        """Fills in outputs or error, and the times."""
        batch.started = batch.assembled = self._clock()
        cpu = self._cpu_clock()
        try:
            self._run(batch)
        except GatewayError as error:
            self._complain(error)
            batch.error = error.bare()
        except Exception as error:
            log.exception("model '%s': a run failed in an unforeseen way", self._name)
            batch.error = ModelFailed(f"model run failed: {type(error).__name__}")
        batch.cpu_s = self._cpu_clock() - cpu
        batch.finished = self._clock()

    def isolate(self, failed: Batch) -> list[Batch]:
        """Runs the riders of a failed batch again in halves, so that one's values fail nobody else.

        One bad rider among n costs about 2 log2(n) runs, of twice the batch's rows in all.

        Returns:
            Batches with outputs, and batches of one rider with that rider's error.
        """
        middle = len(failed.riders) // 2
        parts = []
        for riders in (failed.riders[:middle], failed.riders[middle:]):
            rows = sum(rider.rows for rider in riders)
            part = Batch(riders, rows, failed.reason, failed.formed)
            part.runtime = failed.runtime
            part.isolated = True
            self.run(part)
            parts += self.isolate(part) if part.error and len(riders) > 1 else [part]
        return parts

    def _complain(self, error: GatewayError) -> None:
        """Tells the operator all that the client is not told, but not as often as clients ask."""
        now = self._clock()
        if isinstance(error, ModelFailed) and now >= self._quiet_until:
            self._quiet_until = now + QUIET_S
            log.warning("model '%s': %s; in full: %s", self._name, error, error.__cause__ or error)

    def _run(self, batch: Batch) -> None:
        riders = batch.riders
        if self._padder is not None:
            batch.inputs, batch.cells, batch.padded_cells = self._padder.join(riders, batch.rows)
        elif len(riders) == 1:
            batch.inputs = riders[0].inputs
        else:
            batch.inputs = [
                np.concatenate([rider.inputs[index] for rider in riders]) for index in self._inputs
            ]
        batch.assembled = self._clock()
        wanted, runtime = batch.wanted, batch.runtime or self._runtime
        outputs: list[Array | None] = [None] * len(self._outputs)
        for index, output in zip(wanted, runtime.run(batch.inputs, wanted), strict=True):
            if self._batched and (output.ndim == 0 or output.shape[0] != batch.rows):
                raise ModelFailed(
                    f"output '{self._outputs[index].name}': expected {batch.rows} rows,"
                    f" got shape {list(output.shape)}"
                )
            outputs[index] = output
        batch.outputs = outputs
        if batch.padded_cells and self._padder is not None:
            batch.trimmed = self._padder.trim(riders, outputs)

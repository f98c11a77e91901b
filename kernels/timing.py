"""What one executed batch leaves behind: phases of its riders, its duration by size, its cost.

Knows a section of int64 and the order of its words. Knows nothing of models, batchers or HTTP.

Words of a section, all sums that only grow but for LARGEST and LAST_MS, which are overwritten:

    PHASE_NS       one word a phase, sums over riders
    RIDERS ..      scalars, see below
    TABLE          a row of five words per batch size 1..MAX_SIZE, and one for all larger batches
    HISTOGRAMS     one latency histogram (kernels.histogram) a phase
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from kernels import histogram
from kernels._jit import kernel
from kernels.histogram import Counts

Stamps = np.ndarray[Any, np.dtype[np.float64]]

PHASES: Final = ("decode", "queue", "infer", "encode", "total")
MAX_SIZE: Final = 1024

PHASE_NS: Final = 0
RIDERS: Final = 5
INPUT_NS: Final = 6  # these three per rider: each of ten riders waited for the whole batch
INFER_NS: Final = 7
OUTPUT_NS: Final = 8
BATCHES: Final = 9
ROWS: Final = 10
OLDEST_NS: Final = 11  # age of the oldest rider of each batch at its release
CPU_NS: Final = 12
LOOP_RUNS: Final = 13
THREAD_RUNS: Final = 14
PADDED_CELLS: Final = 15
CELLS: Final = 16
LARGEST: Final = 17  # rows of the largest batch so far: readers need look no further in TABLE
LAST_MS: Final = 18  # wall clock
TABLE: Final = 24
TABLE_WIDTH: Final = 5  # batches, nanoseconds of input, infer and output, and of the processor
HISTOGRAMS: Final = TABLE + (MAX_SIZE + 1) * TABLE_WIDTH
WORDS: Final = HISTOGRAMS + len(PHASES) * histogram.BUCKETS

# Places in the stamps of a batch. Clock readings are seconds of one monotonic clock.
STARTED: Final = 0  # released from the queue
READY: Final = 1  # inputs put together
FINISHED: Final = 2  # outputs there
ENCODED: Final = 3  # replies written
ROW_COUNT: Final = 4
CPU_S: Final = 5
ON_LOOP: Final = 6  # 1.0 or 0.0
PADDING: Final = 7
CELL_COUNT: Final = 8
WALL_S: Final = 9
ARRIVED: Final = 10  # one a rider, then as many of when each was queued


@kernel("int64(float64)")
def _nanoseconds(seconds: float) -> int:
    return max(int(seconds * 1e9 + 0.5), 0)  # a clock that went backwards took no time


@kernel("void(int64[::1], int64, float64)")
def _phase(section: Counts, phase: int, seconds: float) -> None:
    ns = _nanoseconds(seconds)
    section[PHASE_NS + phase] += ns
    section[HISTOGRAMS + phase * histogram.BUCKETS + histogram.index(ns)] += 1


@kernel("void(int64[::1], int64, float64, int64)")
def _phase_of_all(section: Counts, phase: int, seconds: float, riders: int) -> None:
    ns = _nanoseconds(seconds)
    section[PHASE_NS + phase] += ns * riders
    section[HISTOGRAMS + phase * histogram.BUCKETS + histogram.index(ns)] += riders


@kernel("void(int64[::1], float64[::1], int64)")
def observe_batch(section: Counts, stamps: Stamps, riders: int) -> None:
    """Counts one executed batch.

    Args:
        section: (WORDS,) of one writer.
        stamps: ARRIVED words about the batch, then `riders` arrivals, then `riders` queue entries.
        riders: how many were answered; 0 counts the batch alone.
    """
    started, finished = stamps[STARTED], stamps[FINISHED]
    encoded = stamps[ENCODED]
    oldest = started
    for rider in range(riders):
        arrived = stamps[ARRIVED + rider]
        queued = stamps[ARRIVED + riders + rider]
        oldest = min(oldest, queued)
        _phase(section, 0, queued - arrived)
        _phase(section, 1, started - queued)
        _phase(section, 4, encoded - arrived)
    if riders > 0:
        _phase_of_all(section, 2, finished - started, riders)
        _phase_of_all(section, 3, encoded - finished, riders)
    input_ns = _nanoseconds(stamps[READY] - started)
    infer_ns = _nanoseconds(finished - stamps[READY])
    output_ns = _nanoseconds(encoded - finished)
    rows = int(stamps[ROW_COUNT])
    section[RIDERS] += riders
    section[INPUT_NS] += input_ns * riders
    section[INFER_NS] += infer_ns * riders
    section[OUTPUT_NS] += output_ns * riders
    section[BATCHES] += 1
    section[ROWS] += rows
    section[OLDEST_NS] += _nanoseconds(started - oldest)
    cpu_ns = _nanoseconds(stamps[CPU_S])
    section[CPU_NS] += cpu_ns
    section[LOOP_RUNS if stamps[ON_LOOP] != 0.0 else THREAD_RUNS] += 1
    section[PADDED_CELLS] += int(stamps[PADDING])
    section[CELLS] += int(stamps[CELL_COUNT])
    section[LARGEST] = max(section[LARGEST], rows)
    section[LAST_MS] = int(stamps[WALL_S] * 1e3)
    row = TABLE + min(max(rows, 1) - 1, MAX_SIZE) * TABLE_WIDTH
    section[row] += 1
    section[row + 1] += input_ns
    section[row + 2] += infer_ns
    section[row + 3] += output_ns
    section[row + 4] += cpu_ns

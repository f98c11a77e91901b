"""Adds the slots of the arena up, for whoever asks.

Knows layouts. Knows nothing of who wants the figures or in which format.

Reading changes nothing, so any process may do it at any time. Sums of counters are exact, whichever
workers wrote them and whether or not they still live; what is counted during a reading may be in
one sum and not yet in another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.errors import CODES
from gateway.monitor import arena as rows
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.directory import Block, Words
from kernels import histogram, timing

_HEAD_END: Final = layout.TIMING + timing.TABLE


@dataclass(frozen=True, slots=True)
class BatchSize:
    """Runs of one batch size.

    Attributes:
        rows: the size; `timing.MAX_SIZE + 1` stands for all larger ones.
        batches: how many ran.
        input_ns, infer_ns, output_ns: what their parts took, in all.
        cpu_ns: processor time of the thread that ran them.
    """

    rows: int
    batches: int
    input_ns: int
    infer_ns: int
    output_ns: int
    cpu_ns: int


@dataclass(frozen=True, slots=True)
class ModelCounters:
    """Everything that was counted of one version of a model, by all workers.

    Attributes:
        name, version: identity.
        results: requests by `ok`, `failed`, `refused`, `left`.
        errors: requests by error code, where there were any.
        rows: of requests that went well.
        executions, executed_rows: runs that went well, and rows in them.
        non_finite: of those rows, those of which an output holds NaN or infinity.
        reruns: riders run once more, alone, after their batch failed.
        pruned_runs: runs that computed only the outputs asked for.
        pruned_built, pruned_refused: sessions for them that were built, or could not be.
        released: batches by why they were launched.
        loads, loaded_by, load_s: how often it was loaded, by how many workers it is held, and what
            the slowest of their loads took.
        fail_ns, fail_timed: what requests that ended in an error took, and how many are in that.
        queued_rows, queued_requests, in_flight: now.
        riders: answered requests whose timing is known; the next five are about them.
        phase_ns: sum by phase.
        input_ns, infer_ns, output_ns: sums over riders: each waited for its whole batch.
        histograms: by phase, (histogram.BUCKETS,); empty where nothing was timed.
        batches, batch_rows: runs whose timing is known, and rows in them.
        sizes: those runs by size, where there were any.
        oldest_ns: ages of the oldest rider of each batch at its release, in all.
        cpu_ns: CPU time of runs.
        loop_runs, thread_runs: where they ran.
        padded_cells, cells: values that only filled up, and all that ran.
        last_ms: milliseconds since 1970 of the latest run; 0 for none.
    """

    name: str
    version: str
    results: dict[str, int]
    errors: dict[str, int]
    rows: int
    executions: int
    executed_rows: int
    non_finite: int
    reruns: int
    pruned_runs: int
    pruned_built: int
    pruned_refused: int
    released: dict[str, int]
    loads: int
    loaded_by: int
    load_s: float
    fail_ns: int
    fail_timed: int
    queued_rows: int
    queued_requests: int
    in_flight: int
    riders: int
    phase_ns: dict[str, int]
    input_ns: int
    infer_ns: int
    output_ns: int
    histograms: dict[str, Words]
    batches: int
    batch_rows: int
    sizes: tuple[BatchSize, ...]
    oldest_ns: int
    cpu_ns: int
    loop_runs: int
    thread_runs: int
    padded_cells: int
    cells: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class WorkerCounters:
    """One worker slot: the process in it, and what its processes counted beside models.

    Attributes:
        worker: number of the slot.
        pid, epoch, restarts, exit_status: of the process now in it, and of the one before.
        state: one of `arena.STATES`.
        heartbeat_ns: monotonic.
        plan: number of the newest plan that it serves.
        ready_s: from birth to ready.
        counts: by name, those of `COUNTS`.
        gauges: by name, those of `WORKER_GAUGES`.
        cut: connections ended without a word, by why.
        statuses: answers of the ASGI side by class.
        errors: requests refused before any model was known, by code, where there were any.
    """

    worker: int
    pid: int
    epoch: int
    restarts: int
    exit_status: int
    state: str
    heartbeat_ns: int
    plan: int
    ready_s: float
    counts: dict[str, int]
    gauges: dict[str, int]
    cut: dict[str, int]
    statuses: dict[str, int]
    errors: dict[str, int]


COUNTS: Final = {
    "accepted": layout.ACCEPTED,
    "closed": layout.CLOSED,
    "handed_over": layout.HANDED_OVER,
    "failed_handshakes": layout.FAILED_HANDSHAKES,
    "adopted": layout.ADOPTED,
    "refused_connections": layout.REFUSED_CONNECTIONS,
    "clients_left": layout.CLIENTS_LEFT,
    "pauses": layout.PAUSES,
    "mailbox_sent": layout.MAILBOX_SENT,
    "mailbox_dropped": layout.MAILBOX_DROPPED,
    "access_dropped": layout.ACCESS_DROPPED,
    "traces_dropped": layout.TRACES_DROPPED,
}
WORKER_GAUGES: Final = {
    "open_connections": layout.OPEN_CONNECTIONS,
    "loop_lag_ns": layout.LOOP_LAG_NS,
    "max_loop_lag_ns": layout.MAX_LOOP_LAG_NS,
    "reading_paused": layout.READING_PAUSED,
    "buffered_bytes": layout.BUFFERED_BYTES,
}


def read_models(arena: Arena) -> Iterator[ModelCounters]:
    """The counters of every model that has a block."""
    return (read_model(arena, block) for block in arena.blocks(layout.MODEL))


def find_model(arena: Arena, name: str, version: int) -> ModelCounters | None:
    """The counters of one version, or none where it has no block."""
    key = layout.model_key(name, version)
    offset = arena.find(layout.MODEL, key)
    if offset is None:
        return None
    return read_model(arena, Block(layout.MODEL, key, offset, layout.MODEL_WORDS))


def answered_rows(arena: Arena, name: str, version: int) -> int:
    """The rows of one version's requests that went well, since the server was started."""
    key = layout.model_key(name, version)
    offset = arena.find(layout.MODEL, key)
    if offset is None:
        return 0
    block = Block(layout.MODEL, key, offset, layout.MODEL_WORDS)
    return int(arena.slots(block)[:, layout.ROWS].sum())


def results(arena: Arena, offset: int) -> tuple[int, int]:
    """Requests of the version that counts at this offset that went well, and that failed.

    Failures are read first: a request that is counted meanwhile makes nobody look worse.
    """
    slots = arena.slots(Block(layout.MODEL, "", offset, layout.MODEL_WORDS))
    failed = int(slots[:, layout.FAILED].sum())
    return int(slots[:, layout.OK].sum()), failed


def named(arena: Arena, block: Block) -> tuple[int, float]:
    """Requests whose path named a version, and when it last ran (seconds since 1970; 0.0)."""
    slots = arena.slots(block)
    return int(slots[:, layout.NAMED].sum()), int(
        slots[:, layout.TIMING + timing.LAST_MS].max()
    ) / 1000


def read_model(arena: Arena, block: Block) -> ModelCounters:
    """The counters of one block of kind MODEL."""
    name, version = layout.model_of(block.name)
    slots = arena.slots(block)
    head = slots[:, :_HEAD_END].copy()
    total: list[int] = head.sum(axis=0).tolist()
    timed = total[layout.TIMING :]
    return ModelCounters(
        name=name,
        version=version,
        results={
            "ok": total[layout.OK],
            "failed": total[layout.FAILED],
            "refused": total[layout.REFUSED],
            "left": total[layout.LEFT],
        },
        errors=_errors(total, layout.ERRORS),
        rows=total[layout.ROWS],
        executions=total[layout.EXECUTIONS],
        executed_rows=total[layout.EXECUTED_ROWS],
        non_finite=total[layout.NON_FINITE],
        reruns=total[layout.RERUNS],
        pruned_runs=total[layout.PRUNED_RUNS],
        pruned_built=total[layout.PRUNED_BUILT],
        pruned_refused=total[layout.PRUNED_REFUSED],
        released={reason: total[place] for reason, place in layout.REASON_PLACE.items()},
        loads=total[layout.LOADS],
        loaded_by=int(np.count_nonzero(head[:, layout.LOADED])),
        load_s=int(head[:, layout.LOAD_NS].max()) / 1e9,
        fail_ns=total[layout.FAIL_NS],
        fail_timed=total[layout.FAIL_TIMED],
        queued_rows=total[layout.QUEUED_ROWS],
        queued_requests=total[layout.QUEUED_REQUESTS],
        in_flight=total[layout.IN_FLIGHT],
        riders=timed[timing.RIDERS],
        phase_ns=dict(zip(timing.PHASES, timed[timing.PHASE_NS :], strict=False)),
        input_ns=timed[timing.INPUT_NS],
        infer_ns=timed[timing.INFER_NS],
        output_ns=timed[timing.OUTPUT_NS],
        histograms=_histograms(slots) if timed[timing.RIDERS] else {},
        batches=timed[timing.BATCHES],
        batch_rows=timed[timing.ROWS],
        sizes=_sizes(slots, int(head[:, layout.TIMING + timing.LARGEST].max())),
        oldest_ns=timed[timing.OLDEST_NS],
        cpu_ns=timed[timing.CPU_NS],
        loop_runs=timed[timing.LOOP_RUNS],
        thread_runs=timed[timing.THREAD_RUNS],
        padded_cells=timed[timing.PADDED_CELLS],
        cells=timed[timing.CELLS],
        last_ms=int(head[:, layout.TIMING + timing.LAST_MS].max()),
    )


def read_workers(arena: Arena) -> list[WorkerCounters]:
    """Every worker slot, in order."""
    slots = arena.slots(Block(layout.WORKER, "worker", arena.worker_block, layout.WORKER_WORDS))
    return [_read_worker(arena, number, slots[number].tolist()) for number in range(arena.workers)]


def _read_worker(arena: Arena, number: int, words: list[int]) -> WorkerCounters:
    row = arena.row(number)
    return WorkerCounters(
        worker=number,
        pid=row[rows.PID],
        epoch=row[rows.EPOCH],
        restarts=row[rows.RESTARTS],
        exit_status=row[rows.EXIT_STATUS],
        state=rows.STATES[row[rows.STATE]],
        heartbeat_ns=row[rows.HEARTBEAT_NS],
        plan=row[rows.PLAN],
        ready_s=row[rows.READY_NS] / 1e9,
        counts={name: words[place] for name, place in COUNTS.items()},
        gauges={name: words[place] for name, place in WORKER_GAUGES.items()},
        cut=dict(zip(layout.CUT_REASONS, words[layout.CUT :], strict=False)),
        statuses=dict(zip(layout.STATUS_CLASSES, words[layout.STATUS :], strict=False)),
        errors=_errors(words, layout.HTTP_ERRORS),
    )


def _errors(words: list[int], first: int) -> dict[str, int]:
    counts = words[first : first + len(CODES)]
    return {code: count for code, count in zip(CODES, counts, strict=True) if count}


def _sizes(slots: Words, largest: int) -> tuple[BatchSize, ...]:
    # No further than the largest batch: merely reading a page of shared memory makes it take room.
    known = min(largest, timing.MAX_SIZE + 1)
    first = layout.TIMING + timing.TABLE
    table = slots[:, first : first + known * timing.TABLE_WIDTH].sum(axis=0)
    table = table.reshape(known, timing.TABLE_WIDTH)
    return tuple(BatchSize(int(at) + 1, *table[at].tolist()) for at in np.flatnonzero(table[:, 0]))


def _histograms(slots: Words) -> dict[str, Words]:
    first = layout.TIMING + timing.HISTOGRAMS
    counts = slots[:, first : first + len(timing.PHASES) * histogram.BUCKETS].sum(axis=0)
    return dict(zip(timing.PHASES, counts.reshape(len(timing.PHASES), -1), strict=True))

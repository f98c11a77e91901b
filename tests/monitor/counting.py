"""A program that forks counters over one arena, kills one with SIGKILL, and prints what was left.

Run by test_processes.py in a process of its own, which has one thread and may therefore fork.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import time

from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.observe import BatchObserver
from gateway.monitor.report import find_model
from kernels._jit import compile_all

WORKERS, BATCHES, RIDERS = 4, 400, 3
RENAMED = 55  # a kind of block whose name tells how many words it has


def count(arena, offset, worker, batches, progress):
    """One worker: each batch is told to the parent after it was counted."""
    arena.claim(worker, os.getpid(), 1, time.monotonic_ns())
    observer = BatchObserver(arena, offset, worker)
    for batch in range(1, batches + 1):
        observer.waiting(RIDERS, RIDERS, RIDERS)
        observer.counted("full", RIDERS, RIDERS, RIDERS)
        now = time.perf_counter()
        observer.observed([now] * RIDERS, [now] * RIDERS, now, now, now, now, RIDERS)
        os.write(progress, struct.pack("=ii", worker, batch))
    observer.waiting(0, 0, 0)


def forked(function, *arguments):
    """The process id of a child that runs `function` and ends."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            function(*arguments)
            code = 0
        finally:
            os._exit(code)
    return pid


def counters(arena):
    """What all of them counted."""
    model = find_model(arena, "m", 1)
    assert model is not None
    return model


def told(reading):
    """The last batch that each worker told of."""
    done = {}
    while piece := reading.read(8):
        worker, batch = struct.unpack("=ii", piece)
        done[worker] = batch
    return done


def counting():
    """Concurrent workers, one of them killed and replaced."""
    compile_all()
    arena = Arena.create(WORKERS)
    offset = arena.allocate(layout.MODEL, "m/1")
    read, write = os.pipe()
    endless = forked(count, arena, offset, 0, 10**9, write)
    others = [forked(count, arena, offset, n, BATCHES, write) for n in range(1, WORKERS)]
    os.close(write)
    growing: list[int] = []
    with os.fdopen(read, "rb") as reading:
        done: dict[int, int] = {}
        while len(done) < WORKERS:  # everybody has begun
            worker, batch = struct.unpack("=ii", reading.read(8))
            done[worker] = batch
            growing.append(counters(arena).results["ok"])
        os.kill(endless, signal.SIGKILL)
        done |= told(reading)
    statuses = [os.waitpid(pid, 0)[1] for pid in [endless, *others]]
    killed = int(arena.slot(offset, 0)[layout.OK])
    gauge = int(arena.slot(offset, 0)[layout.IN_FLIGHT])
    arena.bury(0, statuses[0])
    read, write = os.pipe()
    heir = forked(count, arena, offset, 0, BATCHES, write)
    os.waitpid(heir, 0)
    model = counters(arena)
    return {
        "statuses": statuses,
        "told_by_killed": done[0] * RIDERS,
        "counted_by_killed": killed,
        "gauge_of_killed": gauge,
        "told_by_others": [done[n] for n in range(1, WORKERS)],
        "growing": growing,
        "ok": model.results["ok"],
        "timed": model.riders,
        "in_flight": model.in_flight,
    }


def rename(arena, rounds):
    """Control: blocks of four sizes come and go under changing names, in the same places."""
    held = []
    for turn in range(rounds):
        words = 8 + turn % 4
        held.append(arena.allocate(RENAMED, f"{words}/{'x' * (turn % 700)}/{turn}", words))
        if len(held) > 4:
            arena.free(held.pop(0))


def watching():
    """A reader beside a writer of the directory sees whole entries only."""
    arena = Arena.create(1)
    writer = forked(rename, arena, 3000)
    seen = torn = 0
    while os.waitpid(writer, os.WNOHANG) == (0, 0):
        for block in arena.blocks(RENAMED):
            words, fill, turn = block.name.split("/")
            whole = int(words) == block.words and len(fill) == int(turn) % 700
            seen, torn = seen + 1, torn + (not whole)
    return {"seen": seen, "torn": torn}


if __name__ == "__main__":
    result = {"counting": counting, "watching": watching}[sys.argv[1]]()
    sys.stdout.write(json.dumps(result))

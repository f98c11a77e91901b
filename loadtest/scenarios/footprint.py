"""What a server takes before and beside answering: memory, time to ready, CPU per request.

Knows what to read from /proc and when. Knows nothing of how load or servers work.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from loadtest.bench import Bench
from loadtest.servers import CannotRun, Penstock
from loadtest.tally import failed
from loadtest.turns import Measure, Result, ratios, take_turns


def memory(bench: Bench) -> list[Result]:
    """Resident memory of one worker, and what each further one has for itself, after some load."""
    resident, private, whole = [], [], []
    for _ in range(bench.turns(3)):
        ours = bench.penstock(bench.model("gbt"))
        _exercise(bench, ours)
        resident.append(_resident_mb(ours.status()["workers"][0]["pid"]))
        whole.append(ours.rss_bytes() / 2**20)
        ours.stop()
        ours = bench.penstock(bench.model("gbt"), workers=3)
        _exercise(bench, ours)
        private.append(max(_private_mb(w["pid"]) for w in ours.status()["workers"][1:]))
        ours.stop()
    one = Measure("resident memory of a worker", resident, "<=", 200, "MB")
    more = Measure("private memory of each further worker", private, "<=", 60, "MB")
    detail = {"all_processes_resident_mb": round(median(whole), 1)}
    return [
        Result("memory-worker", "One worker with the demo model", [one], detail=detail),
        Result("memory-further", "Each further worker", [more]),
    ]


def _exercise(bench: Bench, ours: Penstock) -> None:
    """A worker that never worked is no measure."""
    stream = bench.stream(ours.port, "gbt", bench.gbt_pool("json"))
    if lost := failed(bench.generate(stream, seconds=bench.turn_s)["gbt"]):
        raise RuntimeError(f"{lost} requests failed")


def _resident_mb(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss / 2**20)


def _private_mb(pid: int) -> float:
    """Pages that nobody shares, from the kernel's own sum.

    Raises:
        CannotRun: this system has no /proc/PID/smaps_rollup.
    """
    path = Path(f"/proc/{pid}/smaps_rollup")
    if not path.exists():
        raise CannotRun(f"{path}: private memory can only be read on Linux")
    return (
        sum(int(kb) for kb in re.findall(r"^Private_\w+:\s+(\d+) kB", path.read_text(), re.M))
        / 1024
    )


def time_to_ready(bench: Bench) -> list[Result]:
    """From the command to the first ready answer, with the kernels' cache and without."""
    model, home = bench.model("gbt"), bench.folder / "warm-home"

    def start(where: Path) -> float:
        ours = bench.penstock(model, home=where)
        ours.stop()
        return ours.ready_s

    cold = [start(bench.folder / f"cold-home-{number}") for number in range(bench.turns(5))]
    start(home)
    warm = [start(home) for _ in range(bench.rounds)]
    return [
        Result(
            f"ready-{name}",
            f"`penstock serve` to ready, {name} kernel cache, one core",
            [Measure("seconds to ready", values, "<=", limit, "s")],
        )
        for name, values, limit in (("warm", warm, 6.0), ("cold", cold, 20.0))
    ]


def two_workers(bench: Bench) -> list[Result]:
    """Requests per CPU-second of all processes of the server, two workers against one."""
    pool, where = bench.gbt_pool("json"), bench.all_cores[:2]
    servers = {
        1: bench.penstock(bench.model("gbt"), workers=1, where=where),
        2: bench.penstock(bench.model("gbt"), workers=2, where=where),
    }
    speeds: dict[int, list[float]] = {1: [], 2: []}
    faults: list[int] = []

    def play(workers: int) -> Callable[[], float]:
        ours = servers[workers]
        # As many connections for each worker, so that the batches can be alike.
        stream = bench.stream(ours.port, "gbt", pool, connections=32 * workers)

        def turn() -> float:
            before = ours.cpu_s()
            done: dict[str, Any] = bench.generate(stream, seconds=2.0 * bench.turn_s, warmup_s=0)[
                "gbt"
            ]
            faults.append(failed(done))
            speeds[workers].append(done["rps"])
            return float(done["answered"] / (ours.cpu_s() - before))

        return turn

    rows = take_turns({"one": play(1), "two": play(2)}, bench.rounds, bench.show)
    measure = Measure(
        "requests per CPU-second, two workers over one", ratios(rows, "two", "one"), ">=", 0.9
    )
    detail = {f"{name}_per_cpu_s": round(median(row[name] for row in rows)) for name in rows[0]}
    detail |= {f"rps_{workers}_workers": round(median(each)) for workers, each in speeds.items()}
    detail["cores"] = len(bench.all_cores)
    return [
        Result(
            "two-workers",
            "Two workers against one, 32 connections each",
            [measure],
            detail=detail,
            faults=sum(faults),
        )
    ]

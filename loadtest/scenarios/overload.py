"""More offered than can be done: what is still answered, how fast the rest is refused, and memory.

Knows the scenarios' rates and targets. Knows nothing of how load or servers work.
"""

from __future__ import annotations

import threading
from statistics import median
from typing import Any

from loadtest.bench import INFER, Bench
from loadtest.bodies import Pool
from loadtest.generator import Load
from loadtest.servers import Penstock
from loadtest.turns import Measure, Result, take_turns

SAMPLE_S = 0.25
# Enough that what is offered reaches the server: more than the heavy model's queue holds, and for
# the small model more than one turn of the server's loop can read.
CONNECTIONS = 2000
# The queue is full, and batches have found their size, before anything is counted.
WARMUP_S = 1.0
GROWTH = "resident memory, last third over first"


class Watch:
    """Samples a server's resident memory while load runs."""

    def __init__(self, server: Penstock) -> None:
        self.server = server
        # Found once: looking for them among all processes costs more than asking for their memory.
        self.processes = server.tree()
        self.samples: list[float] = []

    def during(self, load: Load) -> dict[str, Any]:
        done = threading.Event()
        thread = threading.Thread(target=self._sample, args=(done,))
        thread.start()
        try:
            return load.result()
        finally:
            done.set()
            thread.join()

    def _sample(self, done: threading.Event) -> None:
        while not done.wait(SAMPLE_S):
            self.samples.append(float(self.server.rss_bytes(self.processes)))

    def growth(self) -> float:
        """Resident memory in the last third of all samples over that in the first."""
        third = max(1, len(self.samples) // 3)
        return median(self.samples[-third:]) / median(self.samples[:third])


def heavy(bench: Bench) -> list[Result]:
    """2 ms a request, three times the capacity offered: by a bounded queue, and by deadlines."""
    model = bench.model("row_2ms")
    # The default bound of 4,096 rows would be nine seconds of this model's work.
    bounded = bench.penstock(model, config={"models": {"row_2ms": {"max_queue_rows": 64}}})
    patient, hurried = bench.synthetic_pool(), bench.synthetic_pool(timeout_us=100_000)
    by_queue = _overload(bench, bounded, "row_2ms", patient, patient, 3.0)
    bounded.stop()
    plain = bench.penstock(model)
    by_deadline = _overload(bench, plain, "row_2ms", patient, hurried, 3.0)
    title = "2 ms a request, three times the capacity offered"
    return [
        _heavy_result("overload-heavy-queue", f"{title}, queue of 64 rows", by_queue),
        _heavy_result("overload-heavy-deadline", f"{title}, deadline of 100 ms", by_deadline),
    ]


def _heavy_result(name: str, title: str, found: dict[str, Any]) -> Result:
    refused = [each["refused_ms"]["p99"] for each in found["runs"] if each["refused_ms"]]
    measures = [Measure("goodput over capacity", found["shares"], ">=", 0.9)]
    if refused:
        measures.append(Measure("p99 of the refused", refused, "<=", 50.0, "ms"))
    measures.append(Measure(GROWTH, [found["growth"]], "<=", 1.05))
    # Offered three times what can be done, somebody must have been refused.
    faults = found["faults"] + (0 if refused else 1)
    return Result(name, title, measures, detail=found["detail"], faults=faults)


def small(bench: Bench) -> list[Result]:
    """The small model at one and a half times its capacity."""
    ours = bench.penstock(bench.model("gbt"))
    pool = bench.gbt_pool("json")
    found = _overload(bench, ours, "gbt", pool, pool, 1.5)
    measures = [
        Measure("goodput over capacity", found["shares"], ">=", 0.5),
        Measure(GROWTH, [found["growth"]], "<=", 1.05),
    ]
    title = "One row JSON at one and a half times the capacity"
    return [
        Result("overload-small", title, measures, detail=found["detail"], faults=found["faults"])
    ]


def _overload(
    bench: Bench, ours: Penstock, model: str, patient: Pool, offered: Pool, times: float
) -> dict[str, Any]:
    """Turns of measuring the capacity (closed loop) and of offering a multiple (open loop)."""
    target, watch = INFER.format(model), Watch(ours)
    runs: list[dict[str, Any]] = []
    capacities: list[float] = []

    def capacity() -> float:
        speed = bench.closed(ours.port, target, patient, 32, 2.0 * bench.turn_s)
        capacities.append(speed.rps)
        return speed.rps

    def goodput() -> float:
        rate = times * capacities[-1]
        stream = bench.stream(
            ours.port, model, offered, mode="open", rate=rate, connections=CONNECTIONS
        )
        load = bench.start_load(stream, seconds=3.0 * bench.turn_s, warmup_s=WARMUP_S)
        run = watch.during(load)["streams"][model]
        runs.append(run)
        return float(run["rps"])

    plays = {"capacity": capacity, "goodput": goodput}
    capacity()
    rows = take_turns(plays, bench.rounds, bench.show)
    del runs[0]  # of the round that warmed up
    return {
        "shares": [row["goodput"] / row["capacity"] for row in rows],
        "runs": runs,
        "growth": watch.growth(),
        "faults": sum(_unanswered(run) for run in runs),
        "detail": _detail(rows, runs, watch, times),
    }


def _unanswered(run: dict[str, Any]) -> int:
    """Refusals are answers; a lost connection, silence or any other status is not."""
    odd = sum(n for status, n in run["statuses"].items() if status not in ("200", "429", "503"))
    return int(run["cut"] + run["timeouts"] + run["bad_answers"] + odd)


def _detail(
    rows: list[dict[str, float]], runs: list[dict[str, Any]], watch: Watch, times: float
) -> dict[str, Any]:
    capacity = median(row["capacity"] for row in rows)
    statuses: dict[str, int] = {}
    for run in runs:
        for status, count in run["statuses"].items():
            statuses[status] = statuses.get(status, 0) + count
    return {
        "capacity_rps": round(capacity, 1),
        "offered_rps": round(capacity * times, 1),
        "sent": sum(run["sent"] for run in runs),
        "statuses": statuses,
        "unsent": sum(run["unsent"] for run in runs),
        "late_arrivals": sum(run["late"] for run in runs),
        "answered_p99_ms": round(median(run["latency_ms"].get("p99", 0.0) for run in runs), 1),
        "resident_mb": [round(min(watch.samples) / 2**20, 1), round(max(watch.samples) / 2**20, 1)],
    }

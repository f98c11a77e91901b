"""How long requests take: beside busy neighbours, large answers, idle connections; at half load.

Knows each scenario's streams and target. Knows nothing of how load or servers work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from statistics import median
from typing import Any

from loadtest.bench import INFER, Bench
from loadtest.bodies import Pool
from loadtest.servers import Nginx, need
from loadtest.tally import failed
from loadtest.turns import Measure, Result, ratios, take_turns

GBT = INFER.format("gbt")
# What 2,000 connections cost to accept is over by then; what they cost to have is the question.
SETTLE_S = 0.5


def beside_busy(bench: Bench) -> list[Result]:
    """A fast model's p99 beside a model that is kept busy, over its p99 alone."""
    return [
        _beside(
            bench,
            name=f"beside-busy-{took.replace(' ', '')}",
            title=f"A fast model at 500 requests/s beside a busy one of {took} a run",
            what=f"{took} runs",
            busy=busy,
            pool=bench.synthetic_pool(),
            connections=8,
        )
        for busy, took in (("run_200us", "200 us"), ("run_2ms", "2 ms"))
    ]


def large_answers(bench: Bench) -> list[Result]:
    """A fast model's p99 beside a client that fetches large answers, over its p99 alone."""
    return [
        _beside(
            bench,
            name=f"large-answers-{kind}",
            title=f"A fast model at 500 requests/s beside a client that fetches {size} of {kind}",
            what=f"answers of {size} of {kind}",
            busy="outer",
            pool=bench.outer_pool(kind),
            connections=1,
        )
        for kind, size in (("json", "46 MB"), ("binary", "17 MB"))
    ]


def _beside(
    bench: Bench, name: str, title: str, what: str, busy: str, pool: Pool, connections: int
) -> Result:
    ours = bench.penstock(bench.model("gbt"), bench.model(busy))
    fast = bench.stream(ours.port, "gbt", bench.gbt_pool("binary"), mode="open", rate=500.0)
    other = bench.stream(ours.port, busy, pool, connections=connections)
    seen: list[dict[str, Any]] = []

    def play(*streams: Any) -> Callable[[], float]:
        def turn() -> float:
            done = bench.generate(*streams, seconds=2.0 * bench.turn_s)
            seen.append(done)
            return float(done["gbt"]["latency_ms"]["p99"])

        return turn

    rows = take_turns({"alone": play(fast), "beside": play(fast, other)}, bench.rounds, bench.show)
    ours.stop()
    more = [row["beside"] - row["alone"] for row in rows]
    detail = {f"p99_{name}_ms": round(median(row[name] for row in rows), 3) for name in rows[0]}
    detail["busy_rps"] = round(median(each[busy]["rps"] for each in seen if busy in each), 1)
    faults = sum(failed(stream) for each in seen for stream in each.values())
    measure = Measure(f"p99 beside {what} over p99 alone", more, "<=", 5.0, "ms more")
    return Result(name, title, [measure], detail=detail, faults=faults)


def open_loop(bench: Bench) -> list[Result]:
    """p99 at half of its own capacity, over nginx's at the same rate."""
    need("nginx")
    ours, pool = bench.penstock(bench.model("gbt")), bench.gbt_pool("json")
    answer = bench.answer(ours.port, GBT, pool)
    floor = bench.stack.enter_context(Nginx(answer, bench.server_cores, bench.folder))
    capacity = median(bench.closed(ours.port, GBT, pool).rps for _ in range(3))
    seen: list[dict[str, Any]] = []

    def play(port: int) -> Callable[[], float]:
        stream = bench.stream(port, "gbt", pool, mode="open", rate=capacity / 2, connections=64)
        # Turns differ in their arrivals; contestants of one round do not.
        seeds = count(1)

        def turn() -> float:
            fresh = replace(stream, seed=next(seeds))
            done = bench.generate(fresh, seconds=bench.turn_s)["gbt"]
            seen.append(done)
            return float(done["latency_ms"]["p99"])

        return turn

    plays = {"penstock": play(ours.port), "nginx": play(floor.port)}
    rows = take_turns(plays, bench.rounds, bench.show)
    more = [row["penstock"] - row["nginx"] for row in rows]
    detail = {f"p99_{name}_ms": round(median(row[name] for row in rows), 3) for name in rows[0]}
    detail |= {"capacity_rps": round(capacity), "rate_rps": round(capacity / 2)}
    detail["late_arrivals"] = sum(each["late"] for each in seen)
    measure = Measure("p99 over nginx's at the same rate", more, "<=", 3.0, "ms more")
    title = "Open loop, Poisson arrivals, at half of its own capacity"
    faults = sum(map(failed, seen))
    return [Result("open-loop", title, [measure], detail=detail, faults=faults)]


def idle_connections(bench: Bench) -> list[Result]:
    """2,000 connections that keep silent beside 32 busy ones."""
    ours, pool, idle = bench.penstock(bench.model("gbt")), bench.gbt_pool("json"), 2000
    busy = bench.stream(ours.port, "gbt", pool)
    silent = bench.stream(ours.port, "gbt", pool, name="idle", mode="idle", connections=idle)
    kept: list[int] = []
    faults: list[int] = []

    def alone() -> float:
        done = bench.generate(busy, seconds=bench.turn_s, warmup_s=SETTLE_S)
        faults.append(failed(done["gbt"]))
        return float(done["gbt"]["rps"])

    def beside() -> float:
        done = bench.generate(silent, busy, seconds=bench.turn_s, warmup_s=SETTLE_S)
        faults.append(failed(done["gbt"]))
        kept.append(done["idle"]["open"])
        return float(done["gbt"]["rps"])

    rows = take_turns({"alone": alone, "beside": beside}, bench.rounds, bench.show)
    measure = Measure(
        "requests/s beside 2,000 idle connections over alone",
        ratios(rows, "beside", "alone"),
        ">=",
        0.95,
    )
    detail = {f"{name}_rps": round(median(row[name] for row in rows)) for name in rows[0]}
    lost = sum(idle - open_at_end for open_at_end in kept)
    detail["idle_connections_lost"] = lost
    title = "2,000 idle connections beside 32 busy ones"
    return [Result("idle-connections", title, [measure], detail=detail, faults=sum(faults) + lost)]

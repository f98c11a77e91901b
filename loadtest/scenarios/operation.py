"""What operating it costs: what is written down, against nothing written down."""

from __future__ import annotations

from statistics import median

from loadtest.bench import INFER, Bench
from loadtest.servers import free_port
from loadtest.turns import Measure, Result, ratios, take_turns

GBT = INFER.format("gbt")
TITLE = "An access log of all requests, one row JSON, 32 connections"


def access_log(bench: Bench) -> list[Result]:
    """Requests with an access log of all against none, in one process."""
    model, pool, logged = bench.model("gbt"), bench.gbt_pool("json"), free_port()
    args = [str(model), str(bench.folder / "access.log"), str(logged)]
    plain = bench.program("two_lanes", args, GBT, pool).port
    plays = {
        "logged": bench.player(logged, GBT, pool),
        "plain": bench.player(plain, GBT, pool),
    }
    rows = take_turns(plays, bench.rounds, bench.show)
    speeds = [{name: speed.rps for name, speed in row.items()} for row in rows]
    measure = Measure(
        "requests/s over those without", ratios(speeds, "logged", "plain"), ">=", 0.85
    )
    detail = {name: round(median(row[name] for row in speeds), 1) for name in plays}
    faults = sum(speed.faults for row in rows for speed in row.values())
    return [Result("access-log", TITLE, [measure], detail=detail, faults=faults)]

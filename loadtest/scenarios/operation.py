"""What operating it costs: writing down what is asked, and changing what is configured."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from loadtest.bench import INFER, Bench
from loadtest.servers import Penstock, free_port
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


MODELS = 500


def config_apply(bench: Bench) -> list[Result]:
    """`penstock config apply` of 500 models with one change, load of the changed one included."""
    path = str(bench.model("averager"))
    models = {f"m{n}": {"path": path, "warmup": False} for n in range(MODELS)}
    ours = bench.penstock(config={"models": models}, where=bench.all_cores[:2])
    taken = []
    for number in range(bench.turns(10)):
        models["m7"]["max_batch_size"] = 2 + number  # another one each time
        taken.append(_apply(ours, bench.folder / "next.yaml", models))
        bench.show(number + 1, {"s": taken[-1]})
    measure = Measure("seconds from the command to its success", taken, "<=", 2.0, "s")
    return [Result("config-apply", f"One change among {MODELS} models is applied", [measure])]


def _apply(ours: Penstock, file: Path, models: dict[str, dict[str, object]]) -> float:
    file.write_text(json.dumps({"models": models}))
    command = [sys.executable, "-m", "gateway", "config", "apply", str(file)]
    began = time.perf_counter()
    done = subprocess.run(
        [*command, "--home", str(ours.home), "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    spent = time.perf_counter() - began
    changed = [one["path"] for one in json.loads(done.stdout)["changes"]]
    if changed != ["models.m7.max_batch_size"]:
        raise RuntimeError(f"expected one change, got {changed}: {done.stdout[:300]}")
    return spent

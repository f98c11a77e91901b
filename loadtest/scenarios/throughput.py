"""How many requests a second, against nginx, the prototype, and bare runs of the same model.

Knows each comparison's contestants and target. Knows nothing of how load or servers work.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from loadtest import bodies
from loadtest.baselines import BareLoop
from loadtest.bench import INFER, Bench, Speed
from loadtest.bodies import Pool
from loadtest.servers import Nginx
from loadtest.tally import failed
from loadtest.turns import Measure, Result, ratios, take_turns

GBT = INFER.format("gbt")


def single_row_json(bench: Bench) -> list[Result]:
    """One row of 30 floats, JSON, 32 connections, gradient boosting."""
    model, pool = bench.model("gbt"), bench.gbt_pool("json")
    ours = bench.penstock(model)
    lane = bench.program("prototype_lane", [str(model)], GBT, pool)
    asgi = bench.program("baselines", ["constant"], "/", pool)
    plays = {"penstock": bench.player(ours.port, GBT, pool)}
    plays["lane"] = bench.player(lane.port, GBT, pool)
    plays["constant ASGI"] = bench.player(asgi.port, "/", pool)
    rows = take_turns(plays | _nginx(bench, ours.port, GBT, pool), bench.rounds, bench.show)
    with BareLoop(model, bench.server_cores) as bare:
        runs = {f"ort_{n}_rows": bare.run(n, bench.turn_s) for n in (1, 32)}
    measures = _shares(
        rows, {"lane": ("lane.py", 0.93), "nginx": ("nginx's constant answer", 0.38)}
    )
    detail = _medians(rows) | runs
    title = "One row of 30 floats, JSON, 32 connections"
    return [Result("single-row-json", title, measures, "any", detail, _faults(rows, "penstock"))]


def single_row_binary(bench: Bench) -> list[Result]:
    """The same as binary tensors."""
    pool, text = bench.gbt_pool("binary"), bench.gbt_pool("json")
    ours = bench.penstock(bench.model("gbt"))
    plays = {"penstock": bench.player(ours.port, GBT, pool)}
    plays["JSON"] = bench.player(ours.port, GBT, text)
    rows = take_turns(plays | _nginx(bench, ours.port, GBT, pool), bench.rounds, bench.show)
    targets = {"nginx": ("nginx's constant answer", 0.40), "JSON": ("its own JSON figure", 1.0)}
    title = "One row of 30 floats, binary, 32 connections"
    faults = _faults(rows, "penstock", "JSON")
    measures = _shares(rows, targets)
    return [Result("single-row-binary", title, measures, "any", _medians(rows), faults)]


def rows_128(bench: Bench) -> list[Result]:
    """128 rows in a request, JSON and binary; no target of its own."""
    model, text, binary = (
        bench.model("gbt"),
        bench.gbt_pool("json", 128),
        bench.gbt_pool("binary", 128),
    )
    ours = bench.penstock(model)
    lane = bench.program("prototype_lane", [str(model)], GBT, text)
    plays = {"penstock": bench.player(ours.port, GBT, text, connections=8)}
    plays["binary"] = bench.player(ours.port, GBT, binary, connections=8)
    plays["lane"] = bench.player(lane.port, GBT, text, connections=8)
    rows = take_turns(plays, bench.rounds, bench.show)
    with BareLoop(model, bench.server_cores) as bare:
        runs = {"ort_128_rows": bare.run(128, bench.turn_s)}
    speeds = _speeds(rows)
    measures = [
        Measure("JSON, share of lane.py", ratios(speeds, "penstock", "lane")),
        Measure("binary, rows/s", [row["binary"] * 128 for row in speeds], unit="rows/s"),
    ]
    faults = _faults(rows, "penstock", "binary")
    title = "128 rows of 30 floats, 8 connections"
    return [Result("rows-128", title, measures, detail=_medians(rows) | runs, faults=faults)]


def image_tensor(bench: Bench) -> list[Result]:
    """1x3x224x224 as JSON into a model that only averages, against a Starlette route."""
    model = bench.model("averager")

    def build(path: Path) -> Pool:
        rng = np.random.default_rng(13)
        images = (rng.random((1, 3, 224, 224), np.float32) for _ in range(16))
        return bodies.json_pool(path, images, "image")

    pool = bench.pool("image", build)
    ours, target = bench.penstock(model), INFER.format("averager")
    route = bench.program("baselines", ["image", str(model)], "/infer", pool)
    connections, seconds = 4, 2.0 * bench.turn_s
    plays: dict[str, Callable[[], Speed]] = {
        "penstock": lambda: bench.closed(ours.port, target, pool, connections, seconds),
        "starlette": lambda: bench.closed(route.port, "/infer", pool, connections, seconds),
    }
    rows = take_turns(plays, bench.rounds, bench.show)
    measure = Measure(
        "requests/s over the Starlette route's",
        ratios(_speeds(rows), "penstock", "starlette"),
        ">=",
        2.5,
    )
    faults = _faults(rows, "penstock")
    title = "1x3x224x224 FP32 as JSON, a model that only averages"
    return [Result("image-tensor", title, [measure], detail=_medians(rows), faults=faults)]


def heavy_model(bench: Bench) -> list[Result]:
    """Over 2 ms a row, binary, against a bare loop at the batch size that the server chose."""
    model, pool, target = bench.model("row_2ms"), bench.synthetic_pool(), INFER.format("row_2ms")
    ours = bench.penstock(model)
    batches = [1.0]
    faults: list[int] = []

    with BareLoop(model, bench.server_cores) as bare:

        def serve() -> float:
            before = ours.batches("row_2ms")
            speed = bench.closed(ours.port, target, pool, 16, 2.0 * bench.turn_s)
            rows, runs = (b - a for a, b in zip(before, ours.batches("row_2ms"), strict=True))
            batches.append(rows / max(runs, 1))
            faults.append(speed.faults)
            return speed.rps

        def loop() -> float:
            return bare.run(max(1, round(batches[-1])), float(bench.turn_s))["rows_per_s"]

        rows = take_turns({"penstock": serve, "bare": loop}, bench.rounds, bench.show)
    measure = Measure("rows/s over the bare loop's", ratios(rows, "penstock", "bare"), ">=", 0.90)
    detail = {name: round(median(row[name] for row in rows), 1) for name in rows[0]}
    detail["mean_batch_rows"] = round(median(batches[1:]), 2)
    title = "A model of over 2 ms a row, binary, 16 connections"
    return [Result("heavy-model", title, [measure], detail=detail, faults=sum(faults))]


def mixed_models(bench: Bench) -> list[Result]:
    """Four kinds of traffic at once in one worker: nothing may fail; rates are reported."""
    ours = bench.penstock(*map(bench.model, ("gbt", "run_200us", "row_2ms")))
    synthetic = bench.synthetic_pool()
    streams = [
        bench.stream(ours.port, "gbt", bench.gbt_pool("json"), name="json", connections=16),
        bench.stream(
            ours.port, "gbt", bench.gbt_pool("binary", 128), name="128 rows", connections=2
        ),
        bench.stream(ours.port, "run_200us", synthetic, connections=4),
        bench.stream(ours.port, "row_2ms", synthetic, mode="open", rate=50.0, connections=16),
    ]
    done = [bench.generate(*streams, seconds=2.0 * bench.turn_s) for _ in range(bench.turns(5))]
    lost = [float(sum(map(failed, each.values()))) for each in done]
    detail = {
        name: {
            "rps": round(median(each[name]["rps"] for each in done), 1),
            "p99_ms": round(median(each[name]["latency_ms"].get("p99", 0.0) for each in done), 3),
        }
        for name in done[0]
    }
    measure = Measure("requests that failed", lost, "<=", 0)
    return [Result("mixed-models", "Four kinds of traffic in one worker", [measure], detail=detail)]


# ---------------------------------------------------------------- shared


def _nginx(bench: Bench, port: int, target: str, pool: Pool) -> dict[str, Callable[[], Speed]]:
    """nginx as a contestant, if it and wrk are there; no Python generator keeps it busy."""
    if not (shutil.which("nginx") and shutil.which("wrk")):
        bench.say(
            "  wrk or nginx is missing: no comparison with nginx (apt-get install wrk nginx-light)"
        )
        return {}
    answer = bench.answer(port, target, pool)
    floor = bench.stack.enter_context(Nginx(answer, bench.server_cores, bench.folder))
    return {"nginx": bench.player(floor.port, target, pool)}


def _shares(
    rows: Sequence[Mapping[str, Speed]], targets: Mapping[str, tuple[str, float]]
) -> list[Measure]:
    """The share of each contestant that took part."""
    return [
        Measure(f"share of {label}", ratios(_speeds(rows), "penstock", name), ">=", limit)
        for name, (label, limit) in targets.items()
        if name in rows[0]
    ]


def _speeds(rows: Sequence[Mapping[str, Speed]]) -> list[dict[str, float]]:
    return [{name: speed.rps for name, speed in row.items()} for row in rows]


def _faults(rows: Sequence[Mapping[str, Speed]], *names: str) -> int:
    return sum(row[name].faults for row in rows for name in names)


def _medians(rows: Sequence[Mapping[str, Speed]]) -> dict[str, Any]:
    return {
        name: {
            "rps": round(median(row[name].rps for row in rows), 1),
            "p99_ms": round(median(row[name].p99_ms for row in rows), 3),
        }
        for name in rows[0]
    }

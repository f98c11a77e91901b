"""What a shadow costs those who are answered.

Knows the contestants, the rate and the target. Knows nothing of how load or servers work.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from gateway.control.registry import Registry
from gateway.control.store import Store
from loadtest.bench import INFER, Bench
from loadtest.bodies import Pool
from loadtest.servers import Penstock, ask
from loadtest.tally import failed
from loadtest.turns import Measure, Result, ratios, take_turns

# Of what the worker answers at the most.
LOAD = 0.3
# Of a turn: its p99 is that of a few thousand requests.
TURN_S = 2.0


def shadow_beside(bench: Bench) -> list[Result]:
    """p99 with a 100 % shadow on the same core over p99 without one, at 0.3 of capacity."""
    return [
        _beside(bench, "shadow-beside", "the demo's model", "gbt", bench.gbt_pool("json")),
        _beside(
            bench, "shadow-beside-2ms", "a model of 2 ms a row", "row_2ms", bench.synthetic_pool()
        ),
    ]


def _beside(bench: Bench, name: str, what: str, model: str, pool: Pool) -> Result:
    ours = bench.penstock(home=_home(bench, model))
    _set(ours, model, shadow=False)
    capacity = median(bench.closed(ours.port, INFER.format(model), pool).rps for _ in range(3))
    rate = LOAD * capacity
    stream = bench.stream(ours.port, model, pool, mode="open", rate=rate, connections=64)
    seen: list[dict[str, Any]] = []
    spent: dict[bool, list[float]] = {False: [], True: []}

    def play(shadow: bool) -> Callable[[], float]:
        # Turns differ in their arrivals; contestants of one round do not.
        seeds = count(1)

        def turn() -> float:
            _set(ours, model, shadow=shadow)
            fresh, before = replace(stream, seed=next(seeds)), ours.cpu_s()
            done = bench.generate(fresh, seconds=TURN_S * bench.turn_s, warmup_s=0.0)[model]
            spent[shadow].append((ours.cpu_s() - before) / done["ok"] * 1e6)
            seen.append(done)
            return float(done["latency_ms"]["p99"])

        return turn

    plays = {"alone": play(shadow=False), "beside": play(shadow=True)}
    rows = take_turns(plays, bench.rounds, bench.show)
    detail = {f"p99_{which}_ms": round(median(row[which] for row in rows), 3) for which in rows[0]}
    detail |= {
        f"server_us_a_request_{which}": round(median(spent[shadow]), 1)
        for which, shadow in (("alone", False), ("beside", True))
    }
    detail |= {"capacity_rps": round(capacity), "rate_rps": round(rate)} | _rows(ours, model)
    ours.stop()
    label = "p99 beside a 100 % shadow over p99 without"
    measure = Measure(label, ratios(rows, "beside", "alone"), "<=", 1.5)
    title = f"A shadow of everything on the same core, at 0.3 of capacity: {what}"
    return Result(name, title, [measure], detail=detail, faults=sum(map(failed, seen)))


def _home(bench: Bench, model: str) -> Path:
    """A home with the same file as two versions."""
    home = bench.folder / f"home-{time.monotonic_ns()}"
    with Store.open(home) as store:
        registry = Registry(store, home)
        for version in (1, 2):
            registry.register(bench.model(model), model, version)
        registry.set_alias(model, "champion", 1)
    return home


def _set(ours: Penstock, model: str, shadow: bool) -> None:
    """With a shadow or without; every worker follows when this returns."""
    document = {
        "variants": [{"name": "only", "version": 1}],
        "shadows": [{"version": 2}] if shadow else [],
    }
    headers = {"content-type": "application/json"}
    body = json.dumps(document).encode()
    status, said = ask(ours.admin_port, f"/api/routes/{model}", "PUT", body, headers, timeout_s=60)
    if status != 200:
        raise RuntimeError(f"route '{model}': expected 200, got {status}: {said[:300]!r}")


def _rows(ours: Penstock, model: str) -> dict[str, int]:
    """What became of the copies."""
    _, said = ask(ours.admin_port, f"/api/routes/{model}/shadows")
    rows = json.loads(said)["pairs"][0]["rows"]
    return {f"rows_{name}": rows[name] for name in ("copied", "compared", "dropped", "failed")}

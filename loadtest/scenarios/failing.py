"""How long a candidate that fails, or crashes its worker, goes on getting requests.

Knows a route with such a candidate, and reads when what happened from the server's own logs. Knows
nothing of how load or servers work.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway.control.registry import Registry
from gateway.control.store import Store
from loadtest import bodies, models
from loadtest.bench import INFER, Bench
from loadtest.bodies import Pool
from loadtest.servers import Penstock, ask
from loadtest.turns import Measure, Result

KINDS = ("crashes", "fails")
SHARE = 0.05
PROMISED_S = 1.0
WORKERS = 2


def failing_candidate(bench: Bench) -> list[Result]:
    """A candidate at 5 % fails or crashes: from its first failure to no request on it."""
    home = bench.folder / f"home-{time.monotonic_ns()}"
    ours = _serve(bench, home)
    deadly = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "INT32", "data": [-2]}]}
    pool = bodies.write_pool(home / "pool", [json.dumps(deadly).encode()], {})
    results = []
    for how in KINDS:
        runs = []
        for number in range(bench.turns(5)):
            runs.append(_one(bench, ours, home, pool, how))
            bench.show(number + 1, runs[-1])
        measure = Measure(
            "from its first failure to its last request, in every worker",
            [run["seconds"] for run in runs],
            "<=",
            PROMISED_S,
            "s",
        )
        title = f"A candidate at 5 % {how}, two workers"
        results.append(Result(f"candidate-{how}", title, [measure], detail={"runs": runs}))
    return results


def _serve(bench: Bench, home: Path) -> Penstock:
    with Store.open(home) as store:
        registry = Registry(store, home)
        for how in KINDS:
            for version, kind in ((1, "echoes"), (2, how)):
                registry.register(models.whole_number(bench.folder, kind), how, version)
    variants = [
        {"name": "stable", "version": 1, "weight": 1 - SHARE},
        {"name": "canary", "version": 2, "weight": SHARE},
    ]
    log = {"access": "all", "access_file": str(home / "access.log"), "format": "json"}
    config = {"routes": {key: {"variants": variants} for key in KINDS}, "log": log}
    return bench.penstock(workers=WORKERS, where=bench.all_cores[:2], config=config, home=home)


def _one(bench: Bench, ours: Penstock, home: Path, pool: Pool, how: str) -> dict[str, Any]:
    _ask(ours, f"/api/models/{how}/load", "POST")  # what crashed workers has another chance
    if _ask(ours, f"/api/routes/{how}", "GET")["pulled"]:
        _ask(ours, f"/api/routes/{how}/resume", "POST")
    began = time.time()
    bench.generate(bench.stream(ours.port, how, pool, connections=16), seconds=2.0)
    (pulled,) = _ask(ours, f"/api/routes/{how}", "GET")["pulled"]
    moments = _deaths(ours) if how == "crashes" else _answers(home, how)
    since = sorted(at for at in moments if at > began)
    return {
        "seconds": round(since[-1] - since[0], 3),
        "requests": len(since),
        "why": pulled["why"],
    }


def _ask(ours: Penstock, path: str, method: str) -> dict[str, Any]:
    status, body = ask(ours.admin_port, path, method, timeout_s=60)
    if status != 200:
        raise RuntimeError(f"{method} {path}: expected 200, got {status}: {body[:300]!r}")
    found: dict[str, Any] = json.loads(body)
    return found


def _answers(home: Path, model: str) -> Iterator[float]:
    """When the candidate answered; each is a failure."""
    for line in (home / "access.log").read_text().splitlines():
        record = json.loads(line)
        if record.get("path") == INFER.format(model) and record.get("version") == "2":
            yield datetime.fromisoformat(record["at"]).timestamp()


def _deaths(ours: Penstock) -> Iterator[float]:
    """When a request that reached the candidate ended its worker."""
    for line in ours.log.read_text().splitlines():
        if "SIGFPE" in line and "replacing it" in line:
            yield datetime.fromisoformat(json.loads(line)["at"]).timestamp()

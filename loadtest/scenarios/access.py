"""What asking for keys costs.

Knows the contestants and the target. Knows nothing of how load or servers work.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from gateway.access.secret import server_secret
from gateway.control.audit import at_terminal
from gateway.control.keys import Keys
from gateway.control.store import Store
from loadtest.bench import INFER, Bench, Speed
from loadtest.servers import ask
from loadtest.turns import Measure, Result, ratios, take_turns

# Far longer than a worker takes to hear a signal.
SETTLED_S = 0.05
ANNOUNCED_WITHIN_S = 10.0


def keys_on_and_off(bench: Bench) -> list[Result]:
    """One row JSON, with a key that is asked for and one that is not, inside one live worker."""
    model, pool, target = bench.model("gbt"), bench.gbt_pool("json"), INFER.format("gbt")
    home = bench.folder / f"home-{time.monotonic_ns()}"
    with Store.open(home) as store:
        _, key = Keys(store, server_secret(home)).create(at_terminal(), "load", "client", ["gbt"])
    known = replace(pool, headers=pool.headers | {"Authorization": f"Bearer {key}"})
    ours = bench.program("toggled_access", [str(model), str(home)], target, known)
    admin_port = _announced(home)["admin_port"]
    worker = json.loads(ask(admin_port, "/api/status")[1])["workers"][0]["pid"]

    def turn(how: signal.Signals) -> Callable[[], Speed]:
        def play() -> Speed:
            os.kill(worker, how)
            time.sleep(SETTLED_S)
            return bench.fastest(ours.port, target, known)

        return play

    os.kill(worker, signal.SIGUSR1)
    time.sleep(SETTLED_S)
    status = ask(ours.port, target, "POST", b"", pool.headers)[0]
    if status != 401:
        raise RuntimeError(f"without a key: expected 401, got {status}")
    plays = {"asked": turn(signal.SIGUSR1), "open": turn(signal.SIGUSR2)}
    rows = take_turns(plays, bench.rounds, bench.show)
    speeds = [{name: speed.rps for name, speed in row.items()} for row in rows]
    measure = Measure("share of open access", ratios(speeds, "asked", "open"), ">=", 0.98)
    detail = {name: round(median(row[name] for row in speeds), 1) for name in speeds[0]}
    faults = sum(speed.faults for row in rows for speed in row.values())
    title = "Keys asked for against open access, toggled inside one worker"
    return [Result("keys-on-and-off", title, [measure], detail=detail, faults=faults)]


def _announced(home: Path) -> dict[str, Any]:
    """Where the server listens: it answers requests before it has said so."""
    file, end = home / "run" / "server.json", time.monotonic() + ANNOUNCED_WITHIN_S
    while not file.exists():
        if time.monotonic() > end:
            raise RuntimeError(f"{file.name}: not there within {ANNOUNCED_WITHIN_S:g} s")
        time.sleep(0.05)
    found: dict[str, Any] = json.loads(file.read_text())
    return found

"""What asking for keys costs.

Knows the contestants and the target. Knows nothing of how load or servers work.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from gateway.access.secret import server_secret
from gateway.control.audit import at_terminal
from gateway.control.keys import Keys
from gateway.control.store import Store
from loadtest.bench import INFER, Bench
from loadtest.servers import ask
from loadtest.toggled_access import FILE, TURN_S
from loadtest.turns import Measure, Result

# Turns of half a second; the first ones warm up.
WARM_TURNS = 6
LOAD_S = 4
"""For each of twenty rounds."""
# Many times two turns: whoever asks without a key meets one that asks for it.
REFUSED_WITHIN_S = 10.0


def keys_on_and_off(bench: Bench) -> list[Result]:
    """One row JSON, a key asked for and not, by turns of half a second in one live worker."""
    model, pool, target = bench.model("gbt"), bench.gbt_pool("json"), INFER.format("gbt")
    home = bench.folder / f"home-{time.monotonic_ns()}"
    with Store.open(home) as store:
        _, key = Keys(store, server_secret(home)).create(at_terminal(), "load", "client", ["gbt"])
    known = replace(pool, headers=pool.headers | {"Authorization": f"Bearer {key}"})
    ours = bench.program("toggled_access", [str(model), str(home)], target, known)
    _see_it_refuse(ours.port, target, pool.headers)
    skipped = len(_turns(home))
    faults = bench.fastest(ours.port, target, known, seconds=bench.turns(20) * LOAD_S).faults
    turns = _turns(home)[skipped + WARM_TURNS : -1]
    rates = [(one["asks"], one["requests"] / one["s"]) for one in turns]
    # Each against the mean of its two neighbours: a drift of the machine's speed cancels out.
    shares = [
        rates[place][1] / ((rates[place - 1][1] + rates[place + 1][1]) / 2)
        for place in range(1, len(rates) - 1)
        if rates[place][0]
    ]
    detail: dict[str, Any] = {
        name: round(median(rate for asks, rate in rates if asks is wanted))
        for name, wanted in (("asked_rps", True), ("open_rps", False))
    }
    measure = Measure("share of open access", shares, ">=", 0.98)
    title = "Keys asked for against open access, toggled inside one worker"
    return [Result("keys-on-and-off", title, [measure], detail=detail, faults=faults)]


def _see_it_refuse(port: int, target: str, headers: dict[str, str]) -> None:
    """Returns once a request without a key was refused: it does ask.

    Raises:
        RuntimeError: it never does.
    """
    end = time.monotonic() + REFUSED_WITHIN_S
    while ask(port, target, "POST", b"", headers)[0] != 401:
        if time.monotonic() > end:
            raise RuntimeError(f"without a key: expected 401 within {REFUSED_WITHIN_S:g} s")
        time.sleep(TURN_S / 5)


def _turns(home: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (home / FILE).read_text().splitlines()]

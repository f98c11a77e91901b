"""What dividing a model's requests costs.

Knows the contestants and the target. Knows nothing of how load or servers work.
"""

from __future__ import annotations

import time
from dataclasses import replace

from loadtest import toggled
from loadtest.bench import INFER, Bench
from loadtest.toggled_route import HEADER
from loadtest.turns import Result


def route_on_and_off(bench: Bench) -> list[Result]:
    """One row JSON with a sticky key, divided or not, by turns of half a second in one worker."""
    model, pool, target = bench.model("gbt"), bench.gbt_pool("json"), INFER.format("gbt")
    home = bench.folder / f"home-{time.monotonic_ns()}"
    keyed = replace(pool, headers=pool.headers | {HEADER: "customer-1001"})
    ours = bench.program("toggled_route", [str(model), str(home)], target, keyed)
    turns, faults = toggled.loaded(bench, home, ours.port, target, keyed)
    title = "Two variants by a sticky key against a plain model, toggled inside one worker"
    label = "share of a plain model"
    return [toggled.result("route-on-and-off", title, label, 0.97, turns, faults)]

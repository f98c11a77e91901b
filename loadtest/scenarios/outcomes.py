"""What writing down every answer costs, and whether a hold-out tells the truth.

Knows the contestants and the target. Knows nothing of how load or servers work.
"""

from __future__ import annotations

import time

from loadtest import toggled
from loadtest.bench import INFER, Bench
from loadtest.selective_labels import REQUESTS, SHARE, simulate
from loadtest.turns import Measure, Result

_RUNS = 500


def ledger_on_and_off(bench: Bench) -> list[Result]:
    """One row JSON, every answer written down and none, by turns of half a second in one worker."""
    model, pool, target = bench.model("gbt"), bench.gbt_pool("json"), INFER.format("gbt")
    home = bench.folder / f"home-{time.monotonic_ns()}"
    ours = bench.program("toggled_ledger", [str(model), str(home)], target, pool)
    turns, faults = toggled.loaded(bench, home, ours.port, target, pool)
    if not turns or not all(one["writers"] for one in turns):
        raise RuntimeError("the ledger was not taken up: nothing was written down")
    title = "Every answer written to the ledger against none, toggled inside one worker"
    return [
        toggled.result(
            "ledger-on-and-off", title, "share of the requests/s without", 0.97, turns, faults
        )
    ]


def selective_labels(bench: Bench) -> list[Result]:
    """How often the interval of a hold-out holds the truth where scores decide who is labelled."""
    del bench  # neither load nor turns
    found = simulate(_RUNS, seed=1)
    measures = [
        Measure(f"runs whose interval of {name} holds the truth", [share], ">=", 0.95)
        for name, share in found.held_out.items()
    ]
    title = f"{_RUNS} simulated runs of {REQUESTS:,} requests, {SHARE:.0%} held out"
    detail = {"without_hold_out": found.all_labelled, "truth": found.truth}
    return [Result("selective-labels", title, measures, detail=detail)]

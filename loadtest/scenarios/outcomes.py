"""What writing down every answer costs.

Knows the contestants and the target. Knows nothing of how load or servers work.
"""

from __future__ import annotations

import time

from loadtest import toggled
from loadtest.bench import INFER, Bench
from loadtest.turns import Result


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

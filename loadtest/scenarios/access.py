"""What asking for keys costs.

Knows the contestants and the target. Knows nothing of how load or servers work.
"""

from __future__ import annotations

import time
from dataclasses import replace

from gateway.access.secret import server_secret
from gateway.control.audit import at_terminal
from gateway.control.keys import Keys
from gateway.control.store import Store
from loadtest import toggled
from loadtest.bench import INFER, Bench
from loadtest.servers import ask
from loadtest.turns import Result

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
    turns, faults = toggled.loaded(bench, home, ours.port, target, known)
    title = "Keys asked for against open access, toggled inside one worker"
    return [toggled.result("keys-on-and-off", title, "share of open access", 0.98, turns, faults)]


def _see_it_refuse(port: int, target: str, headers: dict[str, str]) -> None:
    """Returns once a request without a key was refused: it does ask.

    Raises:
        RuntimeError: it never does.
    """
    end = time.monotonic() + REFUSED_WITHIN_S
    while ask(port, target, "POST", b"", headers)[0] != 401:
        if time.monotonic() > end:
            raise RuntimeError(f"without a key: expected 401 within {REFUSED_WITHIN_S:g} s")
        time.sleep(toggled.TURN_S / 5)  # it asks in every other turn

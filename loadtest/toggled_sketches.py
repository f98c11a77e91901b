"""A server whose one worker counts values, or does not, by turns of half a second while it lives.

    python -m loadtest.toggled_sketches MODEL.onnx PROFILE.json HOME PORT

Of each turn the worker writes a line of JSON to HOME/turns: whether it counted, the requests that
it answered, and how long it was. Two servers side by side would differ in more than that: where
memory lies alone makes some percent.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from gateway.cli import serve
from gateway.inherited import Inherited

TURN_S = 0.5
FILE = "turns"


def main() -> int:
    model, profile, home = (Path(name) for name in sys.argv[1:4])
    port = int(sys.argv[4])
    serve.prepare_environment(home)
    (home / "run").mkdir(parents=True, exist_ok=True)

    import uvloop

    from gateway import config, supervisor, trial, worker
    from gateway.access.secret import server_secret
    from gateway.control import main as control
    from gateway.control.store import Store
    from gateway.inherited import Launch
    from gateway.monitor import layout
    from kernels import _jit

    class Toggled(worker.Worker):
        _counts = True
        _before = (0.0, 0)
        _kept: tuple[Any, ...] = ()

        async def run(self) -> None:
            self._turns = (home / FILE).open("w", buffering=1)
            asyncio.get_running_loop().call_later(TURN_S, self._toggle)
            await super().run()

        def _toggle(self) -> None:
            self._loop.call_later(TURN_S, self._toggle)
            for served in self._catalogue.by_id.values():
                ok = self._arena.slot(served.held.block, self._slot)[layout.OK]
                now = time.perf_counter()
                since, answered = self._before
                line = {"counts": self._counts, "requests": ok - answered, "s": now - since}
                line["blocks"] = len(self._kept)
                self._turns.write(json.dumps(line) + "\n")
                self._before = (now, ok)
                self._kept = self._sketches._takers.get(served.held.id, ())
                self._counts = not self._counts
                served.endpoint.watch(self._kept if self._counts else ())

    def run_worker(inherited: Inherited, slot: int, epoch: int) -> int:
        logging.basicConfig(level=logging.WARNING)
        sys.setswitchinterval(worker.SWITCH_INTERVAL_S)
        uvloop.run(Toggled(inherited, slot, epoch).run())
        return 0

    _jit.compile_all()
    document = config.Config(
        server=config.Server(port=port),
        control=config.Control(port=0),
        models={"gbt": config.ModelConfig(path=model, profile=profile)},
    )
    Store.open(home).close()
    launch = Launch(document, home, secret=server_secret(home))
    roles = supervisor.Roles(control.main, run_worker, trial.try_out)
    return supervisor.Supervisor(launch, 1, roles).run()


if __name__ == "__main__":
    sys.exit(main())

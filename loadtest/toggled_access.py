"""A server whose one worker asks for keys, or does not, by turns of half a second while it lives.

    python -m loadtest.toggled_access MODEL.onnx HOME PORT

Of each turn the worker writes a line of JSON to HOME/turns: whether it asked, the requests that it
answered, and how long it was. Two servers side by side would differ in more than that: where
memory lies alone makes some percent.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from pathlib import Path

from gateway.cli import serve
from gateway.inherited import Inherited

TURN_S = 0.5
FILE = "turns"


def main() -> int:
    model, home, port = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    serve.prepare_environment(home)
    (home / "run").mkdir(parents=True, exist_ok=True)

    import uvloop

    from gateway import config, supervisor, trial, worker
    from gateway.access.secret import server_secret
    from gateway.control import main as control
    from gateway.inherited import Launch
    from gateway.monitor import layout
    from kernels import _jit

    class Toggled(worker.Worker):
        _asks = True
        _before = (0.0, 0)

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
                line = {"asks": self._asks, "requests": ok - answered, "s": now - since}
                self._turns.write(json.dumps(line) + "\n")
                self._before = (now, ok)
                self._asks = not self._asks
                self._ask(self._asks)

        def _ask(self, asks: bool) -> None:
            self._services.guard = self._guard if asks else None
            assert self._guard is not None
            doors = {path: door.enter for path, door in self._guard.doors.items()}
            self._services.endpoints.update(doors if asks else self._direct)

    def run_worker(inherited: Inherited, slot: int, epoch: int) -> int:
        logging.basicConfig(level=logging.WARNING)
        sys.setswitchinterval(worker.SWITCH_INTERVAL_S)
        uvloop.run(Toggled(inherited, slot, epoch).run())
        return 0

    _jit.compile_all()
    document = config.Config(
        server=config.Server(port=port),
        control=config.Control(port=0),
        access=config.Access(data="keys"),
    )
    launch = Launch(document, home, (model,), secret=server_secret(home))
    roles = supervisor.Roles(control.main, run_worker, trial.try_out)
    return supervisor.Supervisor(launch, 1, roles).run()


if __name__ == "__main__":
    sys.exit(main())

"""A server whose one worker asks for keys, or does not, as it is told while it lives.

    python -m loadtest.toggled_access MODEL.onnx HOME PORT

SIGUSR1 to the worker: it asks; SIGUSR2: it does not. Two servers side by side would differ in more
than that: where memory lies alone makes some percent.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

from gateway.cli import serve
from gateway.inherited import Inherited


def main() -> int:
    model, home, port = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    serve.prepare_environment(home)
    (home / "run").mkdir(parents=True, exist_ok=True)

    import uvloop

    from gateway import config, supervisor, trial, worker
    from gateway.access.secret import server_secret
    from gateway.control import main as control
    from gateway.inherited import Launch
    from kernels import _jit

    class Toggled(worker.Worker):
        async def run(self) -> None:
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGUSR1, self._ask, True)
            loop.add_signal_handler(signal.SIGUSR2, self._ask, False)
            await super().run()

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

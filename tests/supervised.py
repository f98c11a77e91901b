"""A supervisor whose children only pretend: `python -m tests.supervised ROLE HOME [TRIAL ...]`.

A process of its own, because a supervisor forks and takes signals. The children note what happens
in `HOME/notes`, one line each.
"""

from __future__ import annotations

import errno
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from gateway import processes
from gateway.config import Config, Control, Drain, Server
from gateway.inherited import Inherited, Launch
from gateway.llm.limits.table import Table
from gateway.monitor.arena import HEARTBEAT_NS, RUNNING
from gateway.supervisor import Roles, Supervisor

# Fifty beats: a living worker is not taken for a hung one because the machine is busy.
HUNG_AFTER_S = 1.0
TRIAL_DEADLINE_S = 0.4


class Child:
    """What all pretenders have: a place to note things."""

    def __init__(self, home: Path, trials: Sequence[str]) -> None:
        self._notes = home / "notes"
        self._trials = trials

    def note(self, *words: object) -> None:
        with self._notes.open("a") as file:
            file.write(" ".join(map(str, words)) + "\n")

    def beat(self, inherited: Inherited, slot: int) -> None:
        """Lives on, giving signs of it, until told to stop."""
        stop: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: stop.append(number))
        while not stop:
            inherited.arena.row(slot)[HEARTBEAT_NS] = time.monotonic_ns()
            time.sleep(0.02)

    # ---- workers --------------------------------------------------------------------------------

    def steady(self, inherited: Inherited, slot: int, epoch: int) -> int:
        self.note("worker", slot, epoch)
        self.beat(inherited, slot)
        self.note("left", slot)
        return 0

    def hangs_once(self, inherited: Inherited, slot: int, epoch: int) -> int:
        self.note("worker", slot, epoch)
        if epoch == 1:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(60)
        self.beat(inherited, slot)
        return 0

    def dies_young(self, inherited: Inherited, slot: int, epoch: int) -> int:
        self.note("worker", slot, epoch, round(time.monotonic(), 3))
        if epoch < 4:
            return 3
        self.beat(inherited, slot)
        return 0

    def crashes_once(self, inherited: Inherited, slot: int, epoch: int) -> int:
        self.note("worker", slot, epoch)
        if epoch == 1:
            inherited.arena.row(slot)[RUNNING + 2] = 4096
            os.kill(os.getpid(), signal.SIGSEGV)
        self.beat(inherited, slot)
        return 0

    def dies_with_reservations(self, inherited: Inherited, slot: int, epoch: int) -> int:
        if slot:
            return self.steady(inherited, slot, epoch)
        table = Table.make(inherited.arena)
        held, spent = table.held(2)[slot, 0], table.spent(2)[slot, 0]
        self.note("worker", slot, epoch, "held", held[:3].tolist(), "spent", spent[:3].tolist())
        if epoch == 1:
            held[:3] = 7, 8, 1
            spent[:3] = 5, 6, 2
            os.kill(os.getpid(), signal.SIGKILL)
        self.beat(inherited, slot)
        return 0

    def never_leaves(self, inherited: Inherited, slot: int, epoch: int) -> int:
        self.note("worker", slot, epoch)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            inherited.arena.row(slot)[HEARTBEAT_NS] = time.monotonic_ns()
            time.sleep(0.02)

    # ---- control and trials ---------------------------------------------------------------------

    def control_hangs_once(self, inherited: Inherited, epoch: int) -> int:
        if epoch == 1:
            self.note("control", epoch)
            time.sleep(60)
        return self.control(inherited, epoch)

    def control(self, inherited: Inherited, epoch: int) -> int:
        """Asks for its trials and notes all that it is told."""
        self.note("control", epoch)
        link = inherited.supervisor_link[1]
        stop: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: stop.append(number))
        for number, kind in enumerate(self._trials, 1):
            held = {"kind": kind}
            link.send({"type": "trial", "id": number, "held": held, "deadline_s": TRIAL_DEADLINE_S})
        ended = False
        while not ended:
            ended = bool(stop)  # what was told before is noted
            while (message := link.receive()) is not None:
                self.note(*(f"{key}={value}" for key, value in message.items()))
            inherited.arena.control_row[HEARTBEAT_NS] = time.monotonic_ns()
            time.sleep(0.02)
        return 0

    def trial(self, held: Mapping[str, Any]) -> dict[str, Any]:
        self.note("trying", held["kind"])
        if held["kind"] == "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        if held["kind"] == "endless":
            time.sleep(60)
        if held["kind"] == "raises":
            raise SystemExit("a fault of ours")
        return {"ok": True}


class Forks:
    """Forks, but for some calls, which find no process to be had."""

    def __init__(self, failing: Set[int]) -> None:
        self._failing = failing
        self._calls = itertools.count(1)

    def __call__(self, run: Callable[[], int]) -> int:
        if next(self._calls) in self._failing:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return processes.fork(run)


# Control is the first to be forked, then come the workers, then what control has tried out.
FIRST_WORKER, FIRST_TRIAL = 2, 4


def main(role: str, home: Path, *trials: str) -> int:
    child = Child(home, trials)
    config = Config(
        server=Server(port=0), control=Control(port=0), drain=Drain(grace_s=0.5, lag_s=0.0)
    )
    control, worker = child.control, child.steady
    failing: set[int] = set()
    if role == "no_process":
        failing = {FIRST_WORKER, FIRST_TRIAL}
    elif role == "control_hangs_once":
        control = child.control_hangs_once
    else:
        worker = getattr(child, role)
    roles = Roles(control, worker, child.trial)
    return Supervisor(Launch(config, home), 2, roles, HUNG_AFTER_S, Forks(failing)).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))

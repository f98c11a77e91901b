"""The parent of every process of one server: binds, forks, reaps, replaces.

Knows sockets, signals and process ids. Knows nothing of models, plans or HTTP. It imports
everything its children need and stays at one thread with no event loop, so that a fork takes
milliseconds, shares memory, and never copies a lock that some other thread holds.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from gateway.channel import pair
from gateway.handover import Board
from gateway.inherited import Inherited, Launch
from gateway.monitor.arena import HEARTBEAT_NS, RESTARTS, Arena
from gateway.sockets import control_socket, data_sockets

CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE})
_PR_SET_PDEATHSIG = 1
# A worker that dies young is restarted at once the first time, then ever later, never later than
# this.
MAX_RESTART_DELAY_S = 5.0
YOUNG_S = 5.0
# The loop of a healthy worker beats every second; a full garbage collection or a swap storm may
# delay it.
HUNG_AFTER_S = 60.0
CONTROL_STOP_S = 5.0
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class Roles:
    """The mains of the children; each returns an exit status."""

    control: Callable[[Inherited, int], int]
    worker: Callable[[Inherited, int, int], int]
    trial: Callable[[Mapping[str, Any]], dict[str, Any]]


@dataclass(slots=True)
class _Place:
    """Where one child belongs, and its history."""

    name: str
    slot: int  # -1 is control
    pid: int = 0
    epoch: int = 0
    started: float = 0.0
    deaths: int = 0
    start_at: float = 0.0


class Supervisor:
    """Runs until told to stop. One instance per server."""

    def __init__(self, launch: Launch, workers: int, roles: Roles) -> None:
        config = launch.config
        self._roles = roles
        self._config = config
        self._inherited = Inherited(
            launch,
            workers,
            Arena.create(workers),
            Board(workers),
            data_sockets(config.server.host, config.server.port, workers),
            control_socket("127.0.0.1", config.control.port),
            [pair() for _ in range(workers)],
            pair(),
        )
        self._link = self._inherited.supervisor_link[0]
        self._control = _Place("control", -1)
        self._workers = [_Place(f"worker {slot}", slot) for slot in range(workers)]
        self._trials: dict[int, tuple[int, float]] = {}
        self._stop_by: float | None = None
        self._signals: list[int] = []
        self._failed = False

    @property
    def inherited(self) -> Inherited:
        """What the children get."""
        return self._inherited

    def run(self) -> int:
        """Serves until SIGTERM or SIGINT; returns the exit status."""
        waker = _wakeup(self._signals)
        poller = select.poll()
        poller.register(waker, select.POLLIN)
        poller.register(self._link.fileno(), select.POLLIN)
        gc.collect()
        gc.freeze()
        while not self._done():
            self._start_due()
            poller.poll(200)
            with contextlib.suppress(BlockingIOError):
                while os.read(waker, 512):
                    pass
            self._handle_signals()
            self._hear_control()
            self._reap()
            self._enforce_deadlines()
        return 1 if self._failed else 0

    # ---- starting -------------------------------------------------------------------------------

    def _start_due(self) -> None:
        now = time.monotonic()
        places = [self._control, *self._workers] if self._stop_by is None else []
        for place in places:
            if place.pid == 0 and now >= place.start_at:
                self._start(place, now)

    def _start(self, place: _Place, now: float) -> None:
        place.epoch += 1
        place.started = now
        main: Callable[[], int]
        if place is self._control:
            main = lambda: self._roles.control(self._inherited, place.epoch)  # noqa: E731
        else:
            main = lambda: self._roles.worker(self._inherited, place.slot, place.epoch)  # noqa: E731
        place.pid = _fork(main)

    # ---- what others say ------------------------------------------------------------------------

    def _handle_signals(self) -> None:
        while self._signals:
            number = self._signals.pop(0)
            if number == signal.SIGHUP:
                self._link.send({"type": "reload"})
            elif number in (signal.SIGTERM, signal.SIGINT):
                self._stop(again=self._stop_by is not None)

    def _stop(self, again: bool) -> None:
        drain = self._config.drain
        now = time.monotonic()
        self._stop_by = now if again else now + drain.grace_s + drain.lag_s + 1.0
        if not again:
            self._link.send({"type": "draining"})
        for place in self._workers:
            _kill(place.pid, signal.SIGTERM)

    def _hear_control(self) -> None:
        while (message := self._link.receive()) is not None:
            if message["type"] == "trial" and self._stop_by is None:
                self._start_trial(message)

    def _start_trial(self, message: Mapping[str, Any]) -> None:
        def trial() -> int:
            report = self._roles.trial(message["held"])
            self._link.send({"type": "trial", "id": message["id"], **report})
            return 0

        self._trials[_fork(trial)] = (message["id"], time.monotonic() + message["deadline_s"])

    # ---- what ends ------------------------------------------------------------------------------

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            if pid in self._trials:
                self._trial_ended(pid, code)
            for place in (self._control, *self._workers):
                if place.pid == pid:
                    self._ended(place, code)

    def _trial_ended(self, pid: int, code: int) -> None:
        number, _ = self._trials.pop(pid)
        if code != 0:
            how = f"killed by {_signal_name(-code)}" if code < 0 else f"exit status {code}"
            reason = f"the model crashed natively while it was tried out ({how})"
            self._link.send({"type": "trial", "id": number, "ok": False, "reason": reason})

    def _ended(self, place: _Place, code: int) -> None:
        now = time.monotonic()
        place.pid = 0
        if place.slot >= 0:
            self._bury(place, code)
        if self._stop_by is not None:
            return
        how = f"killed by {_signal_name(-code)}" if code < 0 else f"exit status {code}"
        print(f"penstock: {place.name} ended ({how}); replacing it", file=sys.stderr, flush=True)  # noqa: T201
        place.deaths = place.deaths + 1 if now - place.started < YOUNG_S else 0
        delay = 0.0 if place.deaths <= 1 else min(MAX_RESTART_DELAY_S, 0.1 * 2.0**place.deaths)
        place.start_at = now + delay

    def _bury(self, place: _Place, code: int) -> None:
        arena, board = self._inherited.arena, self._inherited.board
        board.ready(place.slot, ready=False)
        board.open(place.slot, 0)
        running = arena.running(place.slot)
        arena.bury(place.slot, code)
        arena.row(place.slot)[RESTARTS] += 1
        if self._stop_by is None:
            crashed = code < 0 and -code in CRASHES
            self._link.send(
                {
                    "type": "died",
                    "slot": place.slot,
                    "code": code,
                    "suspects": running if crashed else [],
                }
            )

    # ---- deadlines ------------------------------------------------------------------------------

    def _enforce_deadlines(self) -> None:
        now = time.monotonic()
        for pid, (_, deadline) in self._trials.items():
            if now > deadline:
                _kill(pid, signal.SIGKILL)
        if self._stop_by is None:
            self._kill_hung(now)
            return
        if now > self._stop_by:
            for place in self._workers:
                if place.pid:
                    self._failed = True
                    _kill(place.pid, signal.SIGKILL)
        if not any(place.pid for place in self._workers) and self._control.pid:
            over = now > self._stop_by + CONTROL_STOP_S
            _kill(self._control.pid, signal.SIGKILL if over else signal.SIGTERM)

    def _kill_hung(self, now: float) -> None:
        for place in self._workers:
            beat = self._inherited.arena.row(place.slot)[HEARTBEAT_NS] * 1e-9
            if place.pid and now - max(place.started, beat) > HUNG_AFTER_S:
                print(f"penstock: {place.name} does not respond; killing it", file=sys.stderr)  # noqa: T201
                _kill(place.pid, signal.SIGKILL)
                place.started = now

    def _done(self) -> bool:
        gone = not self._control.pid and not any(place.pid for place in self._workers)
        return self._stop_by is not None and gone


def usable_cores() -> int:
    """The smaller of CPU affinity and cgroup quota, at least 1."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def _fork(main: Callable[[], int]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _child(main, parent)
    return pid


def _child(main: Callable[[], int], parent: int) -> NoReturn:
    status = 70
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        # Ctrl-C reaches the whole terminal group; only the supervisor acts on it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() == parent:
            status = main()
    except BaseException as error:  # a child must never return into the supervisor's loop
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _wakeup(signals: list[int]) -> int:
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda got, _: signals.append(got))
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return read


def _kill(pid: int, number: int) -> None:
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

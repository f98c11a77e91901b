"""The parent of every process of one server: binds, forks, reaps, replaces.

Knows sockets, signals and process ids. Knows nothing of models, plans or HTTP. It imports
everything its children need and stays at one thread with no event loop, so that a fork takes
milliseconds, shares memory, and never copies a lock that some other thread holds.
"""

from __future__ import annotations

import collections
import gc
import logging
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway import processes, tls
from gateway.channel import pair
from gateway.handover import Board
from gateway.inherited import Inherited, Launch
from gateway.keepsake import Keepsake
from gateway.monitor.arena import EXIT_STATUS, HEARTBEAT_NS, PID, RESTARTS, Arena, size_for
from gateway.sockets import control_socket, data_sockets

log = logging.getLogger("penstock.supervisor")

CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE})
# A child that dies young is replaced at once the first time, then ever later, never later than
# this.
MAX_RESTART_DELAY_S = 5.0
YOUNG_S = 5.0
# A healthy worker gives a sign of life every half second; a full garbage collection or a swap storm
# may delay it.
HUNG_AFTER_S = 60.0
TICK_S = 0.2
# While all are there nothing is due but to see that they live; signals and control wake at once.
QUIET_TICK_S = 1.0
# A process that is being killed may take a moment to be gone.
KILL_AGAIN_S = 5.0
CONTROL_STOP_S = 5.0
# Time that a worker has to cut what is left at the end of its grace, before it is killed.
CUT_S = 2.0
# What control has not heard yet; more means that it has been gone for long and reads it all anew.
MAX_UNSENT = 1000


@dataclass(frozen=True, slots=True)
class Roles:
    """The mains of the children; each returns an exit status, or, `trial`, its report."""

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
    young_deaths: int = 0
    start_at: float = 0.0
    killed_at: float = 0.0


@dataclass(slots=True)
class _Trial:
    number: int
    deadline: float
    overdue: bool = False


class Supervisor:
    """Runs until told to stop. One instance per server."""

    def __init__(
        self,
        launch: Launch,
        workers: int,
        roles: Roles,
        hung_after_s: float = HUNG_AFTER_S,
        fork: Callable[[Callable[[], int]], int] = processes.fork,
    ) -> None:
        """Binds the sockets and reserves the arena; `run` starts the children with `fork`.

        Raises:
            ConfigInvalid: an address cannot be bound, or a certificate cannot serve.
        """
        config = launch.config
        self._roles = roles
        self._config = config
        self._hung_after_s = hung_after_s
        self._fork = fork
        self._inherited = Inherited(
            launch,
            workers,
            Arena.create(workers, size_for(workers, config.limits.max_models)),
            Board(workers),
            data_sockets(config.server.host, config.server.port, workers),
            control_socket(config.control.host, config.control.port),
            [pair() for _ in range(workers)],
            pair(),
            Keepsake(),
            None if config.tracing.endpoint is None else pair(),
            tls.of_ports(config),
        )
        self._link = self._inherited.supervisor_link[0]
        self._unsent: collections.deque[dict[str, Any]] = collections.deque(maxlen=MAX_UNSENT)
        self._control = _Place("control", -1)
        self._workers = [_Place(f"worker {slot}", slot) for slot in range(workers)]
        self._trials: dict[int, _Trial] = {}
        self._signals: list[int] = []
        self._looked = self._awake_since = time.monotonic()
        self._stop_by: float | None = None
        self._stopped_by = 0
        self._interrupted = False
        self._failed = False

    @property
    def inherited(self) -> Inherited:
        """What the children get."""
        return self._inherited

    @property
    def stopped_by(self) -> int:
        """The signal that ended it; 0 before."""
        return self._stopped_by

    def run(self) -> int:
        """Serves until SIGTERM or SIGINT; returns the exit status."""
        waker = processes.wakeup(self._signals)
        poller = select.poll()
        poller.register(waker, select.POLLIN)
        poller.register(self._link.fileno(), select.POLLIN)
        processes.give_back_large_blocks()
        gc.collect()
        gc.freeze()
        while not self._done():
            self._look_at_certificates()
            self._start_due()
            poller.poll(self._pause_s() * 1000)
            processes.empty(waker)
            self._handle_signals()
            self._hear_control()
            self._reap()
            self._enforce_deadlines()
            self._send()
        return 1 if self._failed else 0

    def _pause_s(self) -> float:
        """How long nothing is due."""
        quiet = self._stop_by is None and not self._trials and not self._unsent
        # Whoever is born shows the certificate that was good last, if that was seen meanwhile.
        quiet = quiet and not self._inherited.certificates
        if quiet and all(place.pid for place in self._places()):
            return min(QUIET_TICK_S, self._hung_after_s / 4)
        return TICK_S

    # ---- starting -------------------------------------------------------------------------------

    def _look_at_certificates(self) -> None:
        """Keeps the last good ones for whoever is born while the files that lie there are bad."""
        for one in self._inherited.certificates.values():
            one.refresh()

    def _start_due(self) -> None:
        now = time.monotonic()
        for place in self._places() if self._stop_by is None else ():
            if place.pid == 0 and now >= place.start_at:
                self._start(place, now)

    def _start(self, place: _Place, now: float) -> None:
        place.epoch += 1
        place.started = now

        def main() -> int:
            if place is self._control:
                processes.give_way()
                return self._roles.control(self._inherited, place.epoch)
            return self._roles.worker(self._inherited, place.slot, place.epoch)

        try:
            place.pid = self._fork(main)
        except OSError as error:  # no process or memory to be had now: the others serve on
            place.start_at = now + MAX_RESTART_DELAY_S
            log.error("%s cannot be started now: %s", place.name, error.strerror)

    def _places(self) -> Iterator[_Place]:
        yield self._control
        yield from self._workers

    # ---- what others say ------------------------------------------------------------------------

    def _handle_signals(self) -> None:
        while self._signals:
            number = self._signals.pop(0)
            if number == signal.SIGHUP:
                self._tell_control({"type": "reload"})
                for place in self._workers:  # to open the file of their access log again
                    processes.kill(place.pid, signal.SIGHUP)
            elif self._stop_by is None:
                self._stopped_by = number
                self._stop()
            elif number == signal.SIGINT and self._interrupted:
                # Whoever asks at a terminal twice means it. SIGTERM may come twice by itself: from
                # an orchestrator that repeats it, or from a shell that passes a Ctrl-C on.
                self._stop_by = time.monotonic()
            self._interrupted |= number == signal.SIGINT

    def _stop(self) -> None:
        drain = self._config.drain
        self._stop_by = time.monotonic() + drain.lag_s + drain.grace_s + CUT_S
        self._tell_control({"type": "draining"})
        for place in self._workers:
            processes.kill(place.pid, signal.SIGTERM)
        for pid in self._trials:
            processes.kill(pid, signal.SIGKILL)

    def _hear_control(self) -> None:
        while (message := self._link.receive()) is not None:
            if message["type"] == "trial" and self._stop_by is None:
                self._start_trial(message)

    def _start_trial(self, message: Mapping[str, Any]) -> None:
        number = message["id"]

        def trial() -> int:
            report = self._roles.trial(message["held"])
            while not self._link.send({"type": "trial", "id": number, **report}):
                time.sleep(TICK_S)  # until control reads again, or the deadline
            return 0

        try:
            pid = self._fork(trial)
        except OSError as error:
            reason = f"no process to try it out in: {error.strerror}"
            self._tell_control({"type": "trial", "id": number, "ok": False, "reason": reason})
            return
        self._trials[pid] = _Trial(number, time.monotonic() + message["deadline_s"])

    def _tell_control(self, message: dict[str, Any]) -> None:
        self._unsent.append(message)
        self._send()

    def _send(self) -> None:
        while self._unsent and self._link.send(self._unsent[0]):
            self._unsent.popleft()

    # ---- what ends ------------------------------------------------------------------------------

    def _reap(self) -> None:
        while (ended := processes.reap()) is not None:
            pid, code = ended
            if pid in self._trials:
                self._trial_ended(self._trials.pop(pid), code)
            for place in self._places():
                if place.pid == pid:
                    self._ended(place, code)

    def _trial_ended(self, trial: _Trial, code: int) -> None:
        # At the end it was ended by us, which says nothing of its model.
        if code and self._stop_by is None:
            reason = _why_refused(code, trial.overdue)
            self._tell_control({"type": "trial", "id": trial.number, "ok": False, "reason": reason})

    def _ended(self, place: _Place, code: int) -> None:
        now = time.monotonic()
        place.pid = 0
        arena = self._inherited.arena
        if place.slot >= 0:
            self._bury(place.slot, code)
        else:
            arena.control_row[PID], arena.control_row[EXIT_STATUS] = 0, code
        if self._stop_by is not None:
            return
        row = arena.row(place.slot) if place.slot >= 0 else arena.control_row
        row[RESTARTS] += 1
        how = processes.how_it_ended(code)
        log.warning("%s ended (%s); replacing it", place.name, how)
        young = now - place.started < YOUNG_S
        place.young_deaths = place.young_deaths + 1 if young else 0
        again = place.young_deaths > 1
        delay = min(MAX_RESTART_DELAY_S, 0.1 * 2.0**place.young_deaths) if again else 0.0
        place.start_at = now + delay

    def _bury(self, slot: int, code: int) -> None:
        """Clears a dead worker's place and says what it was running, if that is what killed it."""
        arena, board = self._inherited.arena, self._inherited.board
        board.ready(slot, ready=False)
        board.open(slot, 0)
        running = arena.running(slot)
        arena.bury(slot, code)
        if code < 0 and -code in CRASHES and running:
            how = processes.how_it_ended(code)
            self._tell_control({"type": "died", "slot": slot, "how": how, "suspects": running})

    # ---- deadlines ------------------------------------------------------------------------------

    def _enforce_deadlines(self) -> None:
        now = time.monotonic()
        # Who was itself stopped (SIGSTOP, a frozen container) cannot blame others for silence.
        if now - self._looked > self._hung_after_s / 2:
            self._awake_since = now
        self._looked = now
        for pid, trial in self._trials.items():
            if now > trial.deadline and not trial.overdue:
                trial.overdue = True
                processes.kill(pid, signal.SIGKILL)
        if self._stop_by is None:
            self._kill_hung(now)
        else:
            self._finish(now, self._stop_by)

    def _kill_hung(self, now: float) -> None:
        arena = self._inherited.arena
        for place in self._places():
            row = arena.row(place.slot) if place.slot >= 0 else arena.control_row
            beat = row[HEARTBEAT_NS] * 1e-9
            alive = max(place.started, beat, self._awake_since)
            hung = place.pid and now - alive > self._hung_after_s
            if hung and now - place.killed_at > KILL_AGAIN_S:
                silent_s = now - alive
                log.error("%s gave no sign of life for %.0f s; killing it", place.name, silent_s)
                processes.kill(place.pid, signal.SIGKILL)
                place.killed_at = now

    def _finish(self, now: float, stop_by: float) -> None:
        """Control goes last: it answers for the server until the last worker has left."""
        if now > stop_by:
            for place in self._workers:
                self._failed |= place.pid != 0
                processes.kill(place.pid, signal.SIGKILL)
        if not any(place.pid for place in self._workers):
            over = now > stop_by + CONTROL_STOP_S
            processes.kill(self._control.pid, signal.SIGKILL if over else signal.SIGTERM)

    def _done(self) -> bool:
        return self._stop_by is not None and not any(place.pid for place in self._places())


def _why_refused(code: int, overdue: bool) -> str:
    """Why a trial that ended with this code speaks against its model."""
    how = processes.how_it_ended(code)
    if overdue:
        return "trying it out took too long"
    if -code == signal.SIGKILL:
        return (
            f"it was {how} while it was tried out: most likely it needs more memory than there is"
        )
    if code < 0:
        return f"it crashed natively while it was tried out ({how})"
    return f"trying it out failed ({how})"

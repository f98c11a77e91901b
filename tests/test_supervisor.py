"""Whoever ends is replaced, whoever hangs is ended, and all end with the supervisor."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from gateway.processes import NICE
from tests.supervised import HUNG_AFTER_S

pytestmark = pytest.mark.slow


class Supervised:
    """The supervisor of `tests.supervised`, with children of one kind."""

    def __init__(self, role: str, home: Path, trials: Sequence[str]) -> None:
        self._home = home
        command = [sys.executable, "-m", "tests.supervised", role, str(home), *trials]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE)

    def notes(self) -> list[str]:
        file = self._home / "notes"
        return file.read_text().splitlines() if file.exists() else []

    def wait_for(self, condition: Callable[[list[str]], bool], within_s: float = 30.0) -> list[str]:
        deadline = time.monotonic() + within_s
        while not condition(self.notes()):
            assert time.monotonic() < deadline, self.notes()
            time.sleep(0.02)
        return self.notes()

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        _, words = self.process.communicate(timeout=30)
        return self.process.returncode, words.decode()


@pytest.fixture
def supervise(home) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def begin(role: str, *trials: str) -> Supervised:
        started.append(Supervised(role, home, trials))
        return started[-1]

    yield begin
    for one in started:
        one.process.kill()
        one.process.communicate()


def test_every_place_gets_its_child_and_all_leave_when_told(supervise):
    server = supervise("steady")
    server.wait_for(lambda notes: {"control 1", "worker 0 1", "worker 1 1"} <= set(notes))
    # Control waits where a worker wants its core.
    own, children = psutil.Process().nice(), psutil.Process(server.process.pid).children()
    assert sorted(child.nice() for child in children) == [own, own, own + NICE]
    status, words = server.stop()
    assert (status, words) == (0, "")
    assert {"left 0", "left 1"} <= set(server.notes())


def test_trials_are_reported_however_they_end(supervise):
    server = supervise("steady", "good", "crashes", "endless", "raises")
    ends = server.wait_for(lambda notes: sum(note.startswith("type=trial") for note in notes) == 4)
    told = {note.split()[1]: note for note in ends if note.startswith("type=trial")}
    assert told["id=1"].endswith("ok=True")
    assert told["id=2"].endswith("it crashed natively while it was tried out (killed by SIGSEGV)")
    assert told["id=3"].endswith("trying it out took too long")
    assert told["id=4"].endswith("trying it out failed (exit status 70)")
    server.stop()


def test_a_trial_that_is_ended_with_the_server_says_nothing_of_its_model(supervise):
    server = supervise("steady", "endless")
    server.wait_for(lambda notes: {"trying endless", "worker 1 1"} <= set(notes))
    assert server.stop()[0] == 0
    assert not any("SIGKILL" in note for note in server.notes())


@pytest.mark.quiet
def test_a_worker_that_hangs_is_killed_and_replaced(supervise):
    server = supervise("hangs_once")
    server.wait_for(lambda notes: {"worker 0 1", "worker 1 1"} <= set(notes))
    began = time.monotonic()
    server.wait_for(lambda notes: {"worker 0 2", "worker 1 2"} <= set(notes))
    assert time.monotonic() - began < HUNG_AFTER_S + 2
    # Those that live give signs of it and are left alone.
    time.sleep(2 * HUNG_AFTER_S)
    assert not any(note.startswith("worker 0 3") for note in server.notes())
    status, words = server.stop()
    assert status == 0
    assert "worker 0 gave no sign of life" in words


def test_workers_are_not_blamed_for_the_time_in_which_all_were_frozen(supervise):
    server = supervise("steady")
    server.wait_for(lambda notes: {"worker 0 1", "worker 1 1"} <= set(notes))
    everybody = [psutil.Process(server.process.pid)]
    everybody += everybody[0].children()
    for process in everybody:
        process.suspend()
    time.sleep(2 * HUNG_AFTER_S)
    for process in everybody:  # the supervisor first: it finds the others as silent as before
        process.resume()
        time.sleep(HUNG_AFTER_S / 6)
    assert not any(note.startswith("worker 0 2") for note in server.notes())
    assert server.stop()[0] == 0


def test_who_dies_young_again_and_again_is_restarted_ever_later(supervise):
    server = supervise("dies_young")
    notes = server.wait_for(lambda notes: any(note.startswith("worker 0 4") for note in notes))
    born = [float(note.split()[3]) for note in notes if note.startswith("worker 0 ")]
    pauses = [later - earlier for earlier, later in itertools.pairwise(born)]
    # At once the first time, then after 0.4 and 0.8 s; a busy machine only adds to that.
    assert pauses[0] < pauses[2]
    assert pauses[1] >= 0.4
    assert pauses[2] >= 0.8
    server.stop()


def test_a_native_crash_is_told_with_what_was_running(supervise):
    server = supervise("crashes_once")
    notes = server.wait_for(lambda notes: sum(n.startswith("type=died") for n in notes) == 2)
    died = sorted(note for note in notes if note.startswith("type=died"))
    assert died[0] == "type=died slot=0 how=killed by SIGSEGV suspects=[4096]"
    server.stop()


def test_a_killed_worker_gives_back_what_it_has_reserved_before_it_is_replaced(supervise):
    server = supervise("dies_with_reservations")
    server.wait_for(lambda notes: "worker 0 2 held [0, 0, 0] spent [5, 6, 2]" in notes)
    server.stop()


def test_a_reload_is_passed_on_to_control(supervise):
    server = supervise("steady")
    server.wait_for(lambda notes: "control 1" in notes)
    server.process.send_signal(signal.SIGHUP)
    server.wait_for(lambda notes: "type=reload" in notes)
    server.stop()


def test_a_hangup_of_the_terminal_ends_no_child(supervise):
    server = supervise("steady")
    server.wait_for(lambda notes: {"control 1", "worker 0 1", "worker 1 1"} <= set(notes))
    children = psutil.Process(server.process.pid).children()
    for process in [*children, psutil.Process(server.process.pid)]:
        process.send_signal(signal.SIGHUP)
    server.wait_for(lambda notes: "type=reload" in notes)
    assert psutil.Process(server.process.pid).children() == children
    assert server.stop() == (0, "")


def test_a_control_that_hangs_is_killed_and_replaced_and_workers_are_left_alone(supervise):
    server = supervise("control_hangs_once")
    server.wait_for(lambda notes: {"control 1", "worker 0 1", "worker 1 1"} <= set(notes))
    server.wait_for(lambda notes: "control 2" in notes)
    time.sleep(2 * HUNG_AFTER_S)
    assert not {"control 3", "worker 0 2", "worker 1 2"} & set(server.notes())
    status, words = server.stop()
    assert status == 0
    assert "control gave no sign of life" in words


def test_without_a_process_to_be_had_a_worker_comes_later_and_a_trial_says_so(supervise):
    server = supervise("no_process", "good", "good")
    notes = server.wait_for(lambda notes: sum(note.startswith("type=trial") for note in notes) == 2)
    told = {note.split()[1]: note for note in notes if note.startswith("type=trial")}
    assert told["id=1"].endswith("no process to try it out in: Resource temporarily unavailable")
    assert told["id=2"].endswith("ok=True")
    # The others did not wait for it.
    assert "worker 1 1" in notes
    assert not any(note.startswith("worker 0") for note in notes)
    server.wait_for(lambda notes: "worker 0 2" in notes)
    status, words = server.stop()
    assert status == 0
    assert "worker 0 cannot be started now: Resource temporarily unavailable" in words


def test_who_does_not_leave_in_time_is_killed_and_the_exit_status_says_so(supervise):
    server = supervise("never_leaves")
    server.wait_for(lambda notes: {"worker 0 1", "worker 1 1"} <= set(notes))
    status, _ = server.stop()
    assert status == 1

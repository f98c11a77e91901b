"""Starts servers and commands as forks of one process that has imported all they need.

What they do before their first line of their own, importing and, for servers, taking kernels from
their cache, takes up to a second of a core and is the same for all of them: a run of the tests
starts hundreds. Each still is a process of its own with a session, an environment and descriptors
of its own. Those that are told what is read before or while importing are started from nothing
(`server.py`, `commands.py`). `errand.py` brings commands here that a shell runs.

    tests ── nursery ── a keeper for each of them, which waits for it ── `penstock WORDS`
"""

from __future__ import annotations

import atexit
import functools
import gc
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

import orjson

from gateway import processes

_MESSAGE_BYTES = 1 << 16
_NUMBER_BYTES = 8


# Variables that a process reads before its first line of ours, or while it imports.
READ_WHILE_STARTING = ("LD_", "PYTHON", "NUMBA_")


class Raised:
    """A process of ours, asked after as a `subprocess.Popen` is."""

    def __init__(self, report: int) -> None:
        """Takes what its keeper reports on: its process id now, and later what it ended with."""
        self._report = report
        self.returncode: int | None = None
        self.pid = _told(report)

    def poll(self) -> int | None:
        return self._ended(0.0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return code

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, within_s: float | None) -> int | None:
        if self.returncode is None and select.select([self._report], [], [], within_s)[0]:
            self.returncode = _told(self._report)
            os.close(self._report)
        return self.returncode


def penstock(
    words: Sequence[str], environment: Mapping[str, str], out: IO[Any], err: IO[Any]
) -> Raised:
    """Starts `penstock WORDS` in this process' folder, with nothing to read."""
    ours, theirs = os.pipe()
    order = {"words": words, "folder": os.getcwd(), "environment": dict(environment)}
    with open(os.devnull) as nothing:
        given = [nothing.fileno(), out.fileno(), err.fileno(), theirs]
        socket.send_fds(listening(), [orjson.dumps(order)], given)
    os.close(theirs)
    return Raised(ours)


@functools.cache
def listening() -> socket.socket:
    """Where orders go, each with what the process reads, prints and complains on, and a report."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(theirs.fileno())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
    )
    theirs.close()

    def leave() -> None:
        ours.close()
        process.wait()

    atexit.register(leave)
    return ours


def _main(orders: socket.socket) -> int:
    """The nursery's: returns when it is to end."""
    _import_everything()
    gc.collect()
    gc.freeze()  # a server looks for garbage before it forks, and would copy all of this to look at
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    while True:
        message, descriptors, _, _ = socket.recv_fds(orders, _MESSAGE_BYTES, 4)
        if not message:
            return 0
        if os.fork() == 0:
            orders.close()
            _keep(message, *descriptors)
        for one in descriptors:
            os.close(one)


def _import_everything() -> None:
    from gateway.cli.serve import prepare_environment

    with tempfile.TemporaryDirectory() as folder:
        prepare_environment(Path(folder))  # the cache of kernels is the tests', named already
    import onnxruntime  # noqa: F401

    from gateway import devices, supervisor, trial, worker  # noqa: F401
    from gateway.cli import main  # noqa: F401
    from gateway.control import main as control  # noqa: F401
    from kernels import _jit

    _jit.compile_all(fork=processes.fork, helpers=processes.usable_cores())


def _keep(message: bytes, *streams: int) -> NoReturn:
    """In a keeper: forks what is to run and tells of it."""
    *standard, report = streams
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()  # a Ctrl-C is the tests' own
    processes.end_with_parent()
    pid = os.fork()
    if pid:
        for one in standard:
            os.close(one)
        _tell(report, pid)
        _, status = os.waitpid(pid, 0)
        _tell(report, os.waitstatus_to_exitcode(status))
        _leave()
    processes.end_with_parent()
    os.close(report)
    _run(orjson.loads(message), standard)


def _tell(report: int, number: int) -> None:
    os.write(report, number.to_bytes(_NUMBER_BYTES, sys.byteorder, signed=True))


def _told(report: int) -> int:
    return int.from_bytes(os.read(report, _NUMBER_BYTES), sys.byteorder, signed=True)


def _leave(status: int = 0) -> NoReturn:
    os._exit(status)


def _run(order: dict[str, object], standard: Sequence[int]) -> NoReturn:
    from gateway.cli import main

    os.setsid()
    for place, given in enumerate(standard):
        os.dup2(given, place)
        os.close(given)
    os.chdir(str(order["folder"]))
    os.environ.clear()
    os.environ.update(order["environment"])  # type: ignore[call-overload]
    words = [str(word) for word in order["words"]]  # type: ignore[attr-defined]
    sys.argv = ["penstock", *words]
    status = main(words)
    # As Python ends, except that it takes nothing apart: of all that was imported for everybody
    # that takes longer than most commands do.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    _leave(status)


if __name__ == "__main__":
    processes.end_with_parent()
    sys.exit(_main(socket.socket(fileno=int(sys.argv[1]))))

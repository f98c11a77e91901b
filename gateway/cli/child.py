"""A `penstock serve` started as a child process, on free ports, and stopped again.

Knows how to wait for one and where it says that it listens. Knows nothing of what it serves.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

from gateway import processes
from gateway.cli.running import data_url, find, verify
from gateway.client import Client
from gateway.errors import GatewayError, Unavailable

# A first start compiles the kernels: 20 s on a free core, minutes on one of a busy machine.
READY_WITHIN_S = 300.0
STOP_WITHIN_S = 40.0
ANSWER_WITHIN_S = 10.0


class Process(Protocol):
    """A started process, as `subprocess.Popen` is one."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None:
        """What it ended with; None: it has not."""

    def wait(self, timeout: float | None = None) -> int:
        """The same, once it has ended; raises TimeoutExpired where that is too late."""

    def send_signal(self, sig: int) -> None:
        """Sends a signal, unless it has ended."""

    def terminate(self) -> None:
        """Sends SIGTERM."""

    def kill(self) -> None:
        """Sends SIGKILL."""


class ServerProcess:
    """One server, from its start to its end. Use as a context manager, so that it always ends."""

    def __init__(
        self,
        home: Path,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        """Starts it.

        Args:
            home: folder for its state; must exist.
            arguments: of `penstock serve`, besides home and ports.
            environment: variables that differ from this process'.
            log: file for what it prints; by default one in its home.
        """
        self._home = home
        self._log_file = log or home / "server.log"
        self._log = self._log_file.open("wb")
        command = [sys.executable, "-m", "gateway", "serve", *arguments, "--home", str(home)]
        command += [
            word
            for option in ("--port", "--admin-port")
            if option not in arguments
            for word in (option, "0")
        ]
        self.process = self._launch(command, environment or {}, self._log)
        self.port = 0
        self.admin_port = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _launch(
        self, command: Sequence[str], environment: Mapping[str, str], log: IO[bytes]
    ) -> Process:
        return subprocess.Popen(
            command,
            env=os.environ | dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A group of its own: Ctrl-C reaches only us, and nothing of it can be left behind.
            start_new_session=True,
            # Nor does it stay when we are killed, and cannot stop it.
            preexec_fn=processes.end_with_parent,
        )

    @property
    def log(self) -> str:
        """What it has printed so far."""
        return self._log_file.read_text(errors="replace")

    def wait_ready(self, within_s: float = READY_WITHIN_S) -> None:
        """Returns once it answers that it is ready; `port` and `admin_port` are known then.

        Raises:
            Unavailable: it ended, or is not ready in time; the message carries its log.
        """
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Unavailable(
                    f"the server ended with status {self.process.returncode}:\n{self.log}"
                )
            if self._is_ready():
                return
            time.sleep(0.02)  # it is another program, which tells of itself in a file
        raise Unavailable(f"the server was not ready within {within_s:.0f} s:\n{self.log}")

    def _is_ready(self) -> bool:
        listening = find(self._home)
        if listening is None:
            return False
        self.port, self.admin_port = listening["port"], listening["admin_port"]
        try:
            with Client(
                data_url(listening), timeout_s=ANSWER_WITHIN_S, verify=verify(listening, "tls")
            ) as client:
                return client.ready()
        except GatewayError:
            return False

    def stop(self) -> int:
        """Has it drain and end, by force where it does not; returns its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        # Its workers die with it; this makes sure of whatever else it started.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._log.close()
        return self.process.wait()

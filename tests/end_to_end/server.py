"""A real server for tests: started, asked over real sockets, and surely ended."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.cli.child import READY_WITHIN_S, Process, ServerProcess
from gateway.cli.demo_rows import DATA
from gateway.cli.running import admin, find
from gateway.errors import GatewayError, Unavailable
from tests.end_to_end import nursery

# A server may not be dumped, so that the kernel shows its memory and descriptors to nobody else.
AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="looks into a server, as root alone may")
DEMO_MODEL = DATA / "breast_cancer.onnx"
# Where nothing is promised: long enough for a machine that is busy with something else.
PATIENCE_S = 60.0


def eventually(condition: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    """Returns once the condition holds; fails where it does not in time."""
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        assert waited < within_s, f"not within {within_s} s"
        # Asking takes time of those who are waited for: less often, the longer they take anyway.
        time.sleep(min(max(0.01, waited / 20), 0.1))


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class RunningServer(ServerProcess):
    """`penstock serve` on free ports; ready once `start` has returned it."""

    def _launch(
        self, command: Sequence[str], environment: Mapping[str, str], log: IO[bytes]
    ) -> Process:
        if any(name.startswith(nursery.READ_WHILE_STARTING) for name in environment):
            return super()._launch(command, environment, log)
        words = command[command.index("serve") :]
        return nursery.penstock(words, os.environ | dict(environment), log, log)

    @property
    def home(self) -> Path:
        return self._home

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        port: int | None = None,
        timeout_s: float = PATIENCE_S,
    ) -> Answer:
        """One request on a connection of its own; header names of the answer in lower case."""
        line = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=timeout_s)
        with closing(line):
            line.request(method, path, body, dict(headers or {}))
            return _answer(line)

    def at_once(self, path: str, bodies: Iterable[bytes]) -> list[Answer]:
        """One request each on connections that are open already, so that all arrive together."""
        with ExitStack() as stack:
            lines = []
            for body in bodies:
                line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
                lines.append((stack.enter_context(closing(line)), body))
                line.connect()
            for line, body in lines:
                line.request("POST", path, body)
            return [_answer(line) for line, _ in lines]

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def post(self, path: str, value: Any = None) -> Answer:
        return self.request("POST", path, json.dumps(value).encode() if value is not None else b"")

    def admin(self, method: str, path: str) -> Answer:
        """One request to the control port."""
        return self.request(method, path, port=self.admin_port)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry these labels."""
        lines = self.admin("GET", "/metrics").body.decode().splitlines(keepends=True)
        mine = "".join(line for line in lines if line.startswith((f"{name}{{", f"{name} ")))
        return sum(
            sample.value
            for family in text_string_to_metric_families(mine)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def wait_settled(self) -> None:
        """Returns once every model has been loaded or refused."""
        deadline = time.monotonic() + READY_WITHIN_S
        while self.process.poll() is None and time.monotonic() < deadline:
            listening = find(self._home)
            if listening is not None:
                self.port, self.admin_port = listening["port"], listening["admin_port"]
                with suppress(GatewayError), admin(self._home, listening, 10.0) as control:
                    if control.ready():
                        return
            time.sleep(0.02)
        raise Unavailable(f"the server did not settle:\n{self.log}")

    def children(self) -> list[psutil.Process]:
        """Control and workers, as they are now."""
        return psutil.Process(self.process.pid).children()

    def status(self) -> Any:
        """What the control port says of the server: workers, plan, ports."""
        return self.admin("GET", "/api/status").json()

    def wait_in_flight(self, requests: int, model: str) -> None:
        """Returns once so many requests to a model are being computed or wait for it."""
        eventually(lambda: self.metric("penstock_in_flight_requests", model=model) == requests)


def _answer(line: http.client.HTTPConnection) -> Answer:
    answer = line.getresponse()
    names = {name.lower(): value for name, value in answer.getheaders()}
    return Answer(answer.status, names, answer.read())


@contextmanager
def running(
    home: Path,
    *arguments: str | Path,
    config: str = "",
    environment: Mapping[str, str] | None = None,
    ready: bool = True,
    log: Path | None = None,
) -> Iterator[RunningServer]:
    """A server that is ready, and is ended (group and all) when the block is left.

    Args:
        home: an empty folder.
        arguments: of `penstock serve`: models, `--workers`, ...
        config: a YAML document, if one is to be served.
        environment: variables that differ from this process'.
        ready: False where a model is meant to fail, so that it will never say that it is.
        log: where its lines go, if the home is not to hold them.
    """
    words = [str(argument) for argument in arguments]
    if config:
        file = home / "penstock.yaml"
        file.write_text(config)
        words += ["--config", str(file)]
    with RunningServer(home, words, environment, log) as server:
        if ready:
            server.wait_ready()
        else:
            server.wait_settled()
        yield server

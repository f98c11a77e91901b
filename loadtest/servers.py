"""Starts the servers that are measured, pinned to their core, and stops them again.

Knows processes, ports, readiness and what /proc says of a process tree. Knows nothing of load.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import psutil

ROOT = Path(__file__).parent.parent
STOP_S = 40.0  # longer than the servers' own grace
ENVIRONMENT = {"ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1"}


class CannotRun(Exception):
    """A scenario lacks something on this machine; the message says what and how to get it."""


def cores() -> list[int]:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@contextlib.contextmanager
def pinned(where: Sequence[int]) -> Iterator[None]:
    """Runs the block, and whatever it starts, on these cores."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(where))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(
    port: int,
    target: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 10.0,
) -> tuple[int, bytes]:
    """One request on a connection of its own: status and body.

    Raises:
        OSError: nothing listens, or the connection was lost.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request(method, target, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"{method} {target} on port {port}: {error!r}") from error
    finally:
        connection.close()


class Server:
    """A server process on given cores; a context manager that stops it."""

    def __init__(
        self, command: Sequence[str], where: Sequence[int], folder: Path, name: str
    ) -> None:
        self.log = folder / f"{name}-{time.monotonic_ns()}.log"
        environment = os.environ | ENVIRONMENT | {"PYTHONPATH": str(ROOT)}
        # Compiled kernels belong to the server's home, or "no cache" would find somebody else's.
        environment.pop("NUMBA_CACHE_DIR", None)
        with self.log.open("wb") as log, pinned(where):
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env=environment
            )
        self.began = time.monotonic()
        self.port = 0

    def wait(self, port: int, target: str, seconds: float = 60.0, **request: Any) -> None:
        """Waits until a request is answered with 200.

        Raises:
            RuntimeError: it ended, or did not answer in time; the message carries its last words.
        """
        end, last = time.monotonic() + seconds, "no answer"
        while time.monotonic() < end and self.process.poll() is None:
            try:
                status, body = ask(port, target, **request)
            except OSError as error:
                last = str(error)
            else:
                if status == 200:
                    self.port = port
                    return
                last = f"status {status}: {body[:200]!r}"
            time.sleep(0.01)
        raise RuntimeError(f"server not ready ({last}); its log ends: {self.words()}")

    def words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def tree(self) -> list[psutil.Process]:
        """Its processes that are alive."""
        try:
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def cpu_s(self) -> float:
        """CPU seconds of all its living processes so far."""
        spent = 0.0
        for process in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                spent += times.user + times.system
        return spent

    def rss_bytes(self, processes: Sequence[psutil.Process] | None = None) -> int:
        """Resident memory of all its processes, or of these; shared pages count in each."""
        resident = 0
        for process in self.tree() if processes is None else processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                resident += process.memory_info().rss
        return resident

    def stop(self) -> int | None:
        """Ends it and everything it started; its exit status."""
        family = self.tree()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_S)
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for process in family:  # whoever outlived its parent
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return self.process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Penstock(Server):
    """`penstock serve` with a home of its own, ready when the constructor returns."""

    def __init__(
        self,
        models: Sequence[Path],
        where: Sequence[int],
        folder: Path,
        workers: int = 1,
        config: Mapping[str, Any] | None = None,
        home: Path | None = None,
    ) -> None:
        self.home = home or folder / f"home-{time.monotonic_ns()}"
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "run" / "server.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", "gateway", "serve", *map(str, models)]
        command += ["--home", str(self.home), "--host", "127.0.0.1", "--port", "0"]
        command += ["--admin-port", "0", "--workers", str(workers)]
        if config:
            document = self.home / "loadtest.yaml"
            document.write_text(json.dumps(config))  # JSON is YAML
            command += ["--config", str(document)]
        super().__init__(command, where, folder, "penstock")
        try:
            self.admin_port = self._find()
            self.wait(self.port, "/v2/health/ready")
        except BaseException:
            self.stop()
            raise
        self.ready_s = time.monotonic() - self.began

    def _find(self, seconds: float = 60.0) -> int:
        """Waits for the file that says where it listens."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError, ValueError, KeyError):
                found = json.loads((self.home / "run" / "server.json").read_text())
                self.port = int(found["port"])
                return int(found["admin_port"])
            time.sleep(0.01)
        raise RuntimeError(f"penstock did not start; its log ends: {self.words()}")

    def status(self) -> dict[str, Any]:
        """The control plane's account of the processes."""
        code, body = ask(self.admin_port, "/api/status")
        if code != 200:
            raise RuntimeError(f"/api/status: expected 200, got {code}: {body[:200]!r}")
        document: dict[str, Any] = json.loads(body)
        return document

    def batches(self, model: str) -> tuple[int, int]:
        """Rows inferred and runs made so far, from the model's statistics."""
        _, body = ask(self.port, f"/v2/models/{model}/stats")
        stats = json.loads(body)["model_stats"][0]
        return int(stats["inference_count"]), int(stats["execution_count"])


class Nginx(Server):
    """nginx answering every request with one body from memory: the floor of what HTTP costs.

    With `upstream` (host:port) it passes requests on instead: the floor of what proxying costs.
    """

    def __init__(
        self, answer: bytes, where: Sequence[int], folder: Path, upstream: str | None = None
    ) -> None:
        need("nginx")
        port, home = free_port(), folder / f"nginx-{time.monotonic_ns()}"
        home.mkdir()
        conf = home / "nginx.conf"
        place = f"return 200 '{_printable(answer)}';"
        if upstream:
            place = 'proxy_http_version 1.1; proxy_set_header Connection "";'
            place += " proxy_buffering off; proxy_pass http://up;"
        conf.write_text(_nginx_conf(place, upstream or "127.0.0.1:9", port, home))
        command = ["nginx", "-e", str(home / "error.log"), "-c", str(conf)]
        super().__init__(command, where, folder, "nginx")
        try:
            self._wait_listening(port)
        except BaseException:
            self.stop()
            raise

    def _wait_listening(self, port: int) -> None:
        # A connection, not a request: an upstream need not answer a bare GET.
        end = time.monotonic() + 10
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                self.port = port
                return
            time.sleep(0.01)
        raise RuntimeError(f"nginx did not start; its log ends: {self.words()}")


def _printable(answer: bytes) -> str:
    """The answer as nginx can hold it: the text itself, or as many letters where it is binary."""
    text = answer.decode("ascii", "replace")
    if not text.isprintable() or set(text) & set("'$\\\ufffd"):
        return "x" * min(len(answer), 3500)
    return text[:3500]


def _nginx_conf(place: str, upstream: str, port: int, home: Path) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temp = " ".join(f"{kind}_temp_path {home}/{kind};" for kind in kinds)
    return f"""worker_processes 1; daemon off; pid {home}/pid; error_log /dev/null;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; client_max_body_size 64m; {temp}
  client_body_buffer_size 1m;  # no files for long prompts, which it could not even write here
  upstream up {{ server {upstream}; keepalive 128; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ default_type application/json; {place} }}
  }}
}}
"""


class Program(Server):
    """One of this package's own servers: `python -m loadtest.MODULE ARGS... PORT`."""

    def __init__(
        self,
        module: str,
        args: Sequence[str],
        where: Sequence[int],
        folder: Path,
        target: str,
        **request: Any,
    ) -> None:
        port = free_port()
        command = [sys.executable, "-m", f"loadtest.{module}", *args, str(port)]
        super().__init__(command, where, folder, module)
        try:
            self.wait(port, target, **request)
        except BaseException:
            self.stop()
            raise


def need(program: str) -> None:
    """Raises CannotRun where a program is not installed."""
    if not shutil.which(program):
        raise CannotRun(f"{program} is not installed (Debian: apt-get install wrk nginx-light)")

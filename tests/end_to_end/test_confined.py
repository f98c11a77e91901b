"""A server under the restrictions of a careful platform: nothing to write to but its home."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.processes import end_with_parent
from tests.end_to_end.server import DEMO_MODEL

# In a mount namespace of its own: the home can be written, nothing else can.
CONFINE = """
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
mount -o remount,bind,ro /
if touch "$2/probe" 2>/dev/null; then echo "the root can still be written" >&2; exit 77; fi
shift 2
exec "$@"
"""
NO_RIGHTS = ["env", "-u", "NUMBA_CACHE_DIR"]
NO_RIGHTS += ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]


def confined(home: Path, outside: Path, *words: str) -> list[str]:
    return ["unshare", "-m", "sh", "-c", CONFINE, "sh", str(home), str(outside), *words]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    home, outside = tmp_path / "home", tmp_path / "outside"
    home.mkdir()
    outside.mkdir()
    # The tests' own cache of kernels cannot be written in there, and all would be compiled anew.
    shutil.copytree(os.environ["NUMBA_CACHE_DIR"], home / "cache" / "numba")
    if not (shutil.which("unshare") and shutil.which("setpriv")):
        pytest.skip("unshare and setpriv (util-linux) are not installed")
    tried = subprocess.run(
        confined(home, outside, "true"), capture_output=True, text=True, timeout=20, check=False
    )
    if tried.returncode != 0:
        pytest.skip(f"no mount namespace to be had here: {tried.stderr.strip()}")
    return home, outside


@contextmanager
def served(command: list[str]) -> Iterator[dict[str, Any]]:
    """Where the server says that it listens; it has ended when the block is left."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        preexec_fn=end_with_parent,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise AssertionError(process.communicate(timeout=30)[1])
        listening = json.loads(line)
        assert "port" in listening, listening
        yield listening
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as line:
        line.request(method, path, body)
        answer = line.getresponse()
        return answer.status, json.loads(answer.read())


def test_a_server_without_rights_on_a_read_only_root_serves_and_registers(folders):
    home, outside = folders
    python = [sys.executable, "-m", "gateway"]
    ports = ["--port", "0", "--admin-port", "0", "--workers", "1"]
    serve = [*python, "serve", str(DEMO_MODEL), "--home", str(home), *ports, "--json"]
    rows = {"name": "X", "shape": [1, 30], "datatype": "FP32", "data": [1.0] * 30}
    body = json.dumps({"inputs": [rows]}).encode()
    with served(confined(home, outside, *NO_RIGHTS, *serve)) as listening:
        status, answer = ask(listening["port"], "POST", "/v2/models/breast_cancer/infer", body)
        assert (status, answer["model_version"]) == (200, "1")
        register = [*python, "register", str(DEMO_MODEL), "--name", "second", "--home", str(home)]
        done = subprocess.run(
            confined(home, outside, *NO_RIGHTS, *register),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert ask(listening["port"], "POST", "/v2/models/second/infer", body)[0] == 200
    assert list(outside.iterdir()) == []


def test_a_user_id_without_a_name_is_no_hindrance():
    if os.getuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv to become another user")
    # Who may not write into the tests' cache would compile all kernels, of which none is needed.
    nobody = ["env", "NUMBA_DISABLE_JIT=1"]
    nobody += ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
    reaches = subprocess.run(
        [*nobody, sys.executable, "-c", "import gateway"], capture_output=True, check=False, cwd="/"
    )
    if reaches.returncode != 0:
        pytest.skip("another user cannot reach this interpreter or this checkout")
    words = ["--port", "0", "--admin-port", "0", "--workers", "1", "--json"]
    serve = [*nobody, sys.executable, "-m", "gateway", "serve", *words]
    # Not below pytest's own folder, which others may not enter.
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "home"
        home.mkdir()
        os.chown(home, 54321, 54321)
        home.parent.chmod(0o755)
        with served([*serve, "--home", str(home)]) as listening:
            assert ask(listening["port"], "GET", "/v2/health/live") == (200, {"live": True})
        assert {path.stat().st_uid for path in home.rglob("*")} == {54321}

"""Runs uvicorn's published HTTP tests on the lane: `python -m tests.conformance`.

Without services the lane promises to behave as uvicorn's own protocol does. The tests that uvicorn
publishes in the source distribution of the installed version say what that is. They are downloaded,
unpacked in a temporary folder, and run as they are; the lane takes httptools' place from outside.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
PLUGIN = "lane_as_httptools"
TESTS = (
    "tests/protocols/test_http.py",
    "tests/protocols/test_websocket.py",
    "tests/test_default_headers.py",
    "tests/test_server.py",
)
# What those tests import and this project does not.
NEEDS = ("httpx2", "websockets", "wsproto")
PATIENCE_S = 120


class NotHad(Exception):
    """The tests could not be fetched; there is nothing to say about the lane."""


def pip(*words: str) -> None:
    """Runs pip.

    Raises:
        NotHad: it failed, with its last line.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise NotHad(f"pip took longer than {PATIENCE_S} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise NotHad(lines[-1] if lines else f"pip ended with status {done.returncode}")


def fetch(folder: Path, version: str) -> Path:
    """Downloads and unpacks uvicorn's sources and what its tests need.

    Returns:
        The unpacked folder; beside it `needs`, to be put on the path.
    """
    wanted = ["--no-deps", "--no-binary", "uvicorn", "--dest", str(folder)]
    pip("download", *wanted, f"uvicorn=={version}")
    pip("install", "--target", str(folder / "needs"), *NEEDS)
    with tarfile.open(folder / f"uvicorn-{version}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / f"uvicorn-{version}"


def run(sources: Path) -> int:
    """The status of their tests with our class; pytest prints how many passed."""
    path = [str(HERE), str(sources.parent / "needs")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", PLUGIN, "-p", "no:cacheprovider"]
    # Their own options spread the tests over processes with a plugin that is not needed here.
    command += ["-o", "addopts=", "-k", "not h11 and not zttp", *TESTS]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
    return subprocess.run(command, cwd=sources, env=environment).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 passed (or skipped, where that is allowed), 1 failed or not to be had."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    text = "without a network, say so and exit 0"
    parser.add_argument("--if-possible", action="store_true", help=text)
    options = parser.parse_args(arguments)
    version = importlib.metadata.version("uvicorn")
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        print(f"conformance: fetching the tests of uvicorn {version}", flush=True)
        try:
            sources = fetch(Path(folder), version)
        except NotHad as error:
            print(f"conformance: skipped, uvicorn's tests are not to be had: {error}")
            return 0 if options.if_possible else 1
        print("conformance: running its HTTP tests on gateway.wire.http.Lane", flush=True)
        return 1 if run(sources) else 0


if __name__ == "__main__":
    sys.exit(main())

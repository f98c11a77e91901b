"""What every test may use. Nothing here starts a server: see tests/end_to_end."""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

# An example has no deadline: on a busy machine any of them may take a while.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

# A shell ignores Ctrl-C for what it runs in the background, `nohup` a lost terminal: whatever is
# started here would ignore it as well.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

# As in `penstock serve`: ORT's telemetry thread connects out and does not survive a fork.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


# Where folders of tests lie in memory, with room for all of them: nobody waits for a disk.
_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 4 << 30
# What `penstock serve` compiles before it forks.
_COMPILE = """
from gateway import processes, worker
from gateway.control import main
from kernels import _jit
_jit.compile_all(fork=processes.fork, helpers=processes.usable_cores())
"""


def pytest_configure(config: pytest.Config) -> None:
    if _may_hold_folders(_MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))
    # Before anything imports kernels: compiled ones are kept from run to run, which saves seconds.
    cache = getattr(config, "cache", None)  # not with -p no:cacheprovider
    if cache is None:
        return
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache.mkdir("numba")))
    if config.getoption("numprocesses", None) and "PYTEST_XDIST_WORKER" not in os.environ:
        # A cold cache is filled once, on all cores, before each of several processes would do so.
        subprocess.run([sys.executable, "-c", _COMPILE], check=True, cwd=config.rootpath)


def _may_hold_folders(place: Path) -> bool:
    try:
        found = os.statvfs(place)
    except OSError:
        return False
    roomy = found.f_bavail * found.f_frsize >= _ROOM_BYTES
    # Some tests write programs and run them.
    return roomy and os.access(place, os.W_OK) and not found.f_flag & os.ST_NOEXEC


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Thousands of tests stay until the end: nobody looks for garbage among them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Runs a quiet test while no other process of the same run has one."""
    cache = getattr(item.config, "cache", None)
    if cache is None or "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    with _turn(cache.mkdir("turns"), quiet=item.get_closest_marker("quiet") is not None):
        return (yield)


@contextmanager
def _turn(folder: Path, quiet: bool) -> Iterator[None]:
    with (folder / "queue").open("w") as queue, (folder / "room").open("w") as room:
        fcntl.flock(queue, fcntl.LOCK_EX)  # so that nobody passes one who waits for quiet
        fcntl.flock(room, fcntl.LOCK_EX if quiet else fcntl.LOCK_SH)
        fcntl.flock(queue, fcntl.LOCK_UN)
        try:
            yield
        finally:
            # Closing is not enough where something that the test has forked still lives.
            fcntl.flock(room, fcntl.LOCK_UN)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder

"""What the supervisor sets up for its children holds in each of them."""

from __future__ import annotations

import ctypes
import resource
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from gateway import processes

ROOT = Path(__file__).parents[1]
BLOCK = 8 << 20
BLOCKS = 16


def megabytes_kept() -> int:
    """What a process keeps of 128 MB that it has freed between small things that live on."""
    processes.give_back_large_blocks()
    process = psutil.Process()
    first = b"\1" * BLOCK
    del first  # whereupon glibc would expect more of its kind
    before = process.memory_info().rss
    held = [(b"\1" * BLOCK, b"\1" * 100_000) for _ in range(BLOCKS)]
    small = [pair[1] for pair in held]
    held.clear()
    kept = process.memory_info().rss - before
    assert len(small) == BLOCKS
    return max(kept, 0) >> 20


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="malloc is not glibc's")
def test_freed_memory_in_large_blocks_goes_back_to_the_system():
    # A process of its own: what others have left in the heap of this one would be counted.
    code = (
        "import sys; from tests.test_processes import kept_by_a_child; sys.exit(kept_by_a_child())"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode < 20


def kept_by_a_child() -> int:
    return int(psutil.Process(processes.fork(megabytes_kept)).wait(20) or 0)


PR_GET_DUMPABLE = 3


def dumpable() -> int:
    """1 where this process might leave a core in some way."""
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    return int(ctypes.CDLL(None).prctl(PR_GET_DUMPABLE) != 0 or any(limits))


def dumpable_after_all() -> int:
    assert dumpable()
    processes.leave_no_cores()
    return dumpable() + psutil.Process(processes.fork(dumpable)).wait(20)


def test_neither_a_process_nor_its_children_leave_cores_once_told_so():
    assert psutil.Process(processes.fork(dumpable_after_all)).wait(20) == 0

"""Kernels are compiled before traffic, from a cache where there is one, and never afterwards."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from kernels import histogram
from kernels._jit import _kernels, compile_all

PROGRAM = """
import numpy as np
from kernels import histogram, timing
from kernels._jit import CACHE_FOLDER, compile_all
assert compile_all() >= 0
counts = np.zeros(histogram.BUCKETS, np.int64)
histogram.record(counts, np.array([1000]))
print(CACHE_FOLDER, counts[62])
"""

HELPED = """
import os, resource
from kernels import histogram
from kernels._jit import _kernels, compile_all

def takes_everything(run, limits=()):
    pid = os.fork()
    if pid == 0:
        for limit in limits:
            resource.setrlimit(limit, (0, 0))
        os._exit(run())
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid

def can_keep_nothing(run):
    return takes_everything(run, [resource.RLIMIT_FSIZE])

def is_not_to_be_had(run):
    raise BlockingIOError

compile_all(fork={helper}, helpers=2)
print(sum(sum(kernel.stats.cache_misses.values()) for kernel, _ in _kernels))
print(all(kernel.signatures for kernel, _ in _kernels))
"""


def run(program=PROGRAM, **environment):
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_no_request_can_start_a_compilation():
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        pytest.skip("nothing is compiled with NUMBA_DISABLE_JIT=1")
    compile_all()
    with pytest.raises(TypeError, match="No matching definition"):
        histogram.record(np.zeros(histogram.BUCKETS, np.float32), np.zeros(1, np.int8))


def test_compiling_twice_changes_nothing():
    def compiled() -> list[list]:
        return [getattr(kernel, "signatures", []) for kernel, _ in _kernels]

    compile_all()
    before = compiled()
    compile_all()
    assert compiled() == before


def test_compiled_kernels_are_kept_in_a_folder_named_after_their_sources(tmp_path):
    folder, count = run(NUMBA_CACHE_DIR=str(tmp_path), NUMBA_DISABLE_JIT="0")
    assert count == "1"
    assert folder.startswith(f"{tmp_path}/kernels-")
    assert any(name.endswith(".nbi") for _, _, files in os.walk(folder) for name in files)


@pytest.mark.parametrize(
    ("helper", "leaves_work"),
    [("takes_everything", False), ("can_keep_nothing", True), ("is_not_to_be_had", True)],
)
def test_helpers_fill_an_empty_cache_and_what_they_leave_is_compiled(tmp_path, helper, leaves_work):
    program = HELPED.format(helper=helper)
    misses, all_compiled = run(program, NUMBA_CACHE_DIR=str(tmp_path), NUMBA_DISABLE_JIT="0")
    assert (int(misses) > 0, all_compiled) == (leaves_work, "True")


def test_without_a_usable_folder_or_compiler_kernels_still_count(tmp_path):
    (tmp_path / "file").write_text("")
    unusable = str(tmp_path / "file" / "cache")
    assert run(NUMBA_CACHE_DIR=unusable, NUMBA_DISABLE_JIT="1") == ["None", "1"]


def test_where_a_compiled_kernel_cannot_be_kept_it_counts_all_the_same(tmp_path):
    # As on a full disk: no file of this process can take a byte.
    full = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
    folder, count = run(full + PROGRAM, NUMBA_CACHE_DIR=str(tmp_path), NUMBA_DISABLE_JIT="0")
    assert count == "1"
    assert not any(files for _, _, files in os.walk(folder))

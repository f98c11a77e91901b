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


def run(before="", **environment):
    done = subprocess.run(
        [sys.executable, "-c", before + PROGRAM],
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


def test_without_a_usable_folder_or_compiler_kernels_still_count(tmp_path):
    (tmp_path / "file").write_text("")
    unusable = str(tmp_path / "file" / "cache")
    assert run(NUMBA_CACHE_DIR=unusable, NUMBA_DISABLE_JIT="1") == ["None", "1"]


def test_where_a_compiled_kernel_cannot_be_kept_it_counts_all_the_same(tmp_path):
    # As on a full disk: no file of this process can take a byte.
    full = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
    folder, count = run(full, NUMBA_CACHE_DIR=str(tmp_path), NUMBA_DISABLE_JIT="0")
    assert count == "1"
    assert not any(files for _, _, files in os.walk(folder))

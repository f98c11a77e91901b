"""What `penstock serve` tells before it serves."""

from __future__ import annotations

import logging
import os
import stat

import pytest

from gateway.cli.serve import take_home, tell_of_compiling
from kernels import _jit, histogram

assert histogram  # a kernel at least is known


@pytest.fixture
def cache(tmp_path, caplog):
    caplog.set_level(logging.INFO, "penstock")
    folder = tmp_path / "cache" / "numba"
    folder.mkdir(parents=True)
    return folder


def keep(cache, count):
    """As numba does it: an index for each kernel, in a folder for each file of sources."""
    folder = _jit._folder_below(cache)
    (folder / "kernels_1a2b").mkdir(parents=True)
    for number in range(count):
        (folder / "kernels_1a2b" / f"kernel-{number}.nbi").touch()
    return folder


def test_the_first_start_on_a_home_says_that_it_compiles_and_that_it_does_so_once(cache, caplog):
    tell_of_compiling({"NUMBA_CACHE_DIR": str(cache)})
    assert "compiling kernels, once for this home" in caplog.text


def test_later_starts_say_nothing_of_it(cache, caplog):
    keep(cache, len(_jit._kernels))
    tell_of_compiling({"NUMBA_CACHE_DIR": str(cache)})
    assert caplog.text == ""


def test_a_start_after_one_that_was_interrupted_says_it_again(cache, caplog):
    keep(cache, len(_jit._kernels) - 1)
    tell_of_compiling({"NUMBA_CACHE_DIR": str(cache)})
    assert "compiling kernels" in caplog.text


def test_kernels_of_other_sources_are_none_that_are_kept(cache, caplog):
    keep(cache, len(_jit._kernels)).rename(cache / "kernels-0123456789abcdef")
    tell_of_compiling({"NUMBA_CACHE_DIR": str(cache)})
    assert "compiling kernels" in caplog.text


def test_a_new_home_is_for_its_owner_alone_whatever_others_may_elsewhere(tmp_path):
    home = tmp_path / "new" / "home"
    before = os.umask(0)
    try:
        take_home(home).close()
    finally:
        os.umask(before)
    # Commands believe what they find in `run` of where their server listens.
    assert [stat.S_IMODE(path.stat().st_mode) for path in (home, home / "run")] == [0o700] * 2


def test_where_nothing_is_kept_nothing_is_said_to_happen_once(caplog):
    caplog.set_level(logging.INFO, "penstock")
    tell_of_compiling({})
    assert caplog.text == ""

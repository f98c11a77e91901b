"""What `penstock serve` tells before it serves."""

from __future__ import annotations

import logging

import pytest

from gateway.cli.serve import tell_of_compiling


@pytest.fixture
def cache(tmp_path, caplog):
    caplog.set_level(logging.INFO, "penstock")
    folder = tmp_path / "cache" / "numba"
    folder.mkdir(parents=True)
    return folder


def test_the_first_start_on_a_home_says_that_it_compiles_and_that_it_does_so_once(cache, caplog):
    tell_of_compiling({"NUMBA_CACHE_DIR": str(cache)})
    assert "compiling kernels, once for this home" in caplog.text


def test_later_starts_say_nothing_of_it(cache, caplog):
    (cache / "kernels_1a2b").mkdir()
    tell_of_compiling({"NUMBA_CACHE_DIR": str(cache)})
    assert caplog.text == ""


def test_where_nothing_is_kept_nothing_is_said_to_happen_once(caplog):
    caplog.set_level(logging.INFO, "penstock")
    tell_of_compiling({})
    assert caplog.text == ""

"""Counts of several real processes, one of them killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from tests.monitor.counting import BATCHES, RIDERS, WORKERS


def run(what):
    done = subprocess.run(
        [sys.executable, "-m", "tests.monitor.counting", what],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def result():
    return run("counting")


def test_workers_that_count_at_the_same_time_lose_nothing(result):
    assert result["told_by_others"] == [BATCHES] * (WORKERS - 1)
    others = (WORKERS - 1) * BATCHES * RIDERS
    heir = BATCHES * RIDERS
    assert result["ok"] == others + heir + result["counted_by_killed"]


def test_a_killed_worker_s_counts_survive_it(result):
    assert result["statuses"] == [signal.SIGKILL, 0, 0, 0]
    # What it told of was counted; it may have counted one batch more before it could tell.
    assert 0 <= result["counted_by_killed"] - result["told_by_killed"] <= RIDERS


def test_a_killed_worker_loses_the_timing_of_one_batch_at_most(result):
    assert 0 <= result["ok"] - result["timed"] <= RIDERS


def test_a_killed_worker_s_gauges_are_not_its_successor_s(result):
    assert result["gauge_of_killed"] == RIDERS
    assert result["in_flight"] == 0


def test_a_sum_read_while_workers_count_never_goes_back(result):
    assert result["growing"] == sorted(result["growing"])


def test_a_reader_never_sees_a_half_written_directory_entry():
    seen = run("watching")
    assert seen["seen"] > 100
    assert seen["torn"] == 0

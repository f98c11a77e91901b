"""What one executed batch adds to its section."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import histogram, timing


def batch(arrived, queued, *, started=10.0, ready=10.0, finished=10.0, encoded=10.0, **more):
    stamps = np.zeros(timing.ARRIVED + 2 * len(arrived))
    stamps[: timing.READY + 3] = started, ready, finished, encoded
    places = {
        "rows": timing.ROW_COUNT,
        "cpu_s": timing.CPU_S,
        "on_loop": timing.ON_LOOP,
        "padding": timing.PADDING,
        "cells": timing.CELL_COUNT,
        "wall_s": timing.WALL_S,
    }
    stamps[timing.ROW_COUNT] = len(arrived)
    for name, value in more.items():
        stamps[places[name]] = value
    stamps[timing.ARRIVED :] = [*arrived, *queued]
    return stamps


def observed(*batches):
    section = np.zeros(timing.WORDS, np.int64)
    for stamps in batches:
        timing.observe_batch(section, stamps, (len(stamps) - timing.ARRIVED) // 2)
    return section


def phase(section, name):
    at = timing.PHASES.index(name)
    start = timing.HISTOGRAMS + at * histogram.BUCKETS
    counts = section[start : start + histogram.BUCKETS]
    buckets = np.repeat(np.arange(histogram.BUCKETS), counts).tolist()
    return section[timing.PHASE_NS + at], buckets


def size_row(section, rows):
    start = timing.TABLE + (rows - 1) * timing.TABLE_WIDTH
    return section[start : start + timing.TABLE_WIDTH].tolist()


@pytest.mark.parametrize(
    ("name", "each_ns"),
    [
        ("decode", [250_000_000, 125_000_000]),
        ("queue", [500_000_000, 125_000_000]),
        ("infer", [2_000_000_000, 2_000_000_000]),
        ("encode", [1_000_000_000, 1_000_000_000]),
        ("total", [3_750_000_000, 3_250_000_000]),
    ],
)
def test_each_phase_of_each_rider_is_summed_and_counted(name, each_ns):
    section = observed(batch([9.25, 9.75], [9.5, 9.875], ready=10.5, finished=12.0, encoded=13.0))
    total, buckets = phase(section, name)
    assert total == sum(each_ns)
    assert sorted(buckets) == sorted(histogram.index(ns) for ns in each_ns)
    assert section[timing.RIDERS] == 2


def test_the_run_is_counted_once_under_its_size():
    ran = batch([9.0], [9.5], ready=10.5, finished=12.0, encoded=13.0, rows=7, cpu_s=0.25)
    section = observed(ran)
    assert size_row(section, 7) == [1, 500_000_000, 1_500_000_000, 1_000_000_000, 250_000_000]
    assert section[timing.LARGEST] == 7
    assert section[timing.ROWS] == 7


def test_every_rider_waited_for_the_whole_run():
    section = observed(batch([9.0] * 3, [9.5] * 3, ready=10.5, finished=12.0, encoded=13.0))
    assert section[timing.INPUT_NS] == 3 * 500_000_000
    assert section[timing.INFER_NS] == 3 * 1_500_000_000
    assert section[timing.OUTPUT_NS] == 3 * 1_000_000_000


def test_sizes_past_the_table_share_its_last_row():
    section = observed(*(batch([9.0], [9.5], rows=rows) for rows in (1024, 1025, 5000)))
    assert size_row(section, timing.MAX_SIZE)[0] == 1
    assert size_row(section, timing.MAX_SIZE + 1)[0] == 2
    assert section[timing.LARGEST] == 5000


def test_the_age_of_a_batch_is_that_of_its_oldest_rider():
    section = observed(batch([9.0, 9.0, 9.0], [9.75, 9.25, 9.5]))
    assert section[timing.OLDEST_NS] == 750_000_000


def test_a_batch_whose_riders_all_left_is_still_a_batch():
    section = observed(batch([], [], finished=12.0, rows=4))
    assert section[timing.BATCHES] == 1
    assert section[timing.RIDERS] == 0
    assert size_row(section, 4) == [1, 0, 2_000_000_000, 0, 0]
    assert phase(section, "infer") == (0, [])


def test_cost_and_place_of_a_run_are_kept():
    section = observed(
        batch([9.0], [9.5], cpu_s=0.25, on_loop=1.0, padding=3, cells=30, wall_s=1000.5),
        batch([9.0], [9.5], cpu_s=0.5, on_loop=0.0, padding=1, cells=10, wall_s=1001.5),
    )
    assert section[timing.CPU_NS] == 750_000_000
    assert section[timing.LOOP_RUNS] == 1
    assert section[timing.THREAD_RUNS] == 1
    assert section[timing.PADDED_CELLS] == 4
    assert section[timing.CELLS] == 40
    assert section[timing.LAST_MS] == 1_001_500


def test_a_clock_that_went_backwards_takes_nothing_away():
    section = observed(batch([11.0], [10.5], ready=9.0, finished=8.0, encoded=7.0))
    assert (section >= 0).all()

"""Reading /proc: this process, made-up files, and nothing there."""

from __future__ import annotations

import os

import pytest

from gateway.control.procfs import ProcessUsage, machine, process_usage

PAGE, TICK = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")


def test_a_command_with_blanks_and_parentheses_does_not_shift_the_fields(tmp_path):
    fields = ["S", *["0"] * 10, "150", "50", *["0"] * 4, "9", *["0"] * 2, "4096", "25"]
    (tmp_path / "12").mkdir()
    (tmp_path / "12" / "stat").write_text(f"12 (a ) 1 (b) {' '.join(fields)} 0 0\n")
    assert process_usage(12, tmp_path) == ProcessUsage(200 / TICK, 25 * PAGE, 9)


def test_the_machine_s_time_is_busy_or_idle_and_guests_are_not_counted_twice(tmp_path):
    (tmp_path / "stat").write_text("cpu  10 0 20 60 5 1 2 2 9 9\ncpu0 1 2 3\n")
    (tmp_path / "meminfo").write_text("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 400 kB\n")
    found = machine(tmp_path)
    assert found is not None
    assert (found.busy_s, found.total_s) == (35 / TICK, 100 / TICK)
    assert (found.memory_bytes, found.used_bytes) == (1000 << 10, 600 << 10)


def test_this_process_is_seen():
    usage = process_usage(os.getpid())
    if usage is None:
        pytest.skip("no /proc on this system")
    assert usage.cpu_s > 0
    assert usage.threads >= 1


def test_what_is_not_there_is_none(tmp_path):
    assert process_usage(1, tmp_path) is None
    assert machine(tmp_path) is None

"""What a worker has before its first request."""

from __future__ import annotations

import subprocess
import sys
import threading

from gateway.wire.http import Lane
from gateway.wire.logged import LoggedLane
from gateway.worker import lane_for, started_pool

ALL_PROCESSES = "from gateway import supervisor, trial, worker; from gateway.control import main"


def test_a_workers_pool_starts_no_thread_while_it_serves():
    before = set(threading.enumerate())
    with started_pool(3) as pool:
        started = set(threading.enumerate()) - before
        assert len(started) == 3
        together = threading.Barrier(3)
        done = [pool.submit(together.wait, 10) for _ in range(3)]
        assert sorted(call.result(10) for call in done) == [0, 1, 2]
        assert set(threading.enumerate()) - before == started


def test_where_nobody_is_told_of_answers_connections_have_the_plain_lane():
    assert lane_for([]) is Lane
    assert lane_for([lambda *_: None]).func is LoggedLane  # type: ignore[attr-defined]


def test_opentelemetry_is_imported_by_no_process_before_something_is_exported():
    code = f"{ALL_PROCESSES}; import sys; print([m for m in sys.modules if 'opentel' in m])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"

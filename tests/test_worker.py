"""What a worker has before its first request."""

from __future__ import annotations

import threading

from gateway.worker import started_pool


def test_a_workers_pool_starts_no_thread_while_it_serves():
    before = set(threading.enumerate())
    with started_pool(3) as pool:
        started = set(threading.enumerate()) - before
        assert len(started) == 3
        together = threading.Barrier(3)
        done = [pool.submit(together.wait, 10) for _ in range(3)]
        assert sorted(call.result(10) for call in done) == [0, 1, 2]
        assert set(threading.enumerate()) - before == started

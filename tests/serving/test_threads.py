"""A deployment's own threads."""

from __future__ import annotations

import gc
import threading
import weakref

from gateway.serving.threads import Threads


def test_threads_start_as_calls_come_and_end_when_closed():
    threads = Threads(2, "run-test")
    before = threading.active_count()
    done = threading.Barrier(3, timeout=10)
    names: list[str] = []

    def call() -> None:
        names.append(threading.current_thread().name)
        done.wait()

    for _ in range(2):
        threads.submit(call)
    done.wait()
    threads.close()
    assert sorted(names) == ["run-test-0", "run-test-1"]
    assert threading.active_count() == before


def test_no_call_no_thread():
    before = threading.active_count()
    Threads(4, "run-test").close()
    assert threading.active_count() == before


def test_closing_waits_for_what_was_submitted():
    threads = Threads(1, "run-test")
    order: list[int] = []
    for n in range(100):
        threads.submit(order.append, n)
    threads.close()
    assert order == list(range(100))


def test_a_call_that_fails_is_logged_and_the_next_is_made(caplog):
    threads = Threads(1, "run-test")
    made: list[bool] = []
    threads.submit([].pop)
    threads.submit(made.append, True)
    threads.close()
    assert made == [True]
    assert "a call on thread 'run-test' failed" in caplog.text


def test_an_idle_thread_holds_nothing_of_its_last_call():
    class Big:
        def use(self) -> None:
            pass

    threads = Threads(1, "run-test")
    big = Big()
    gone = weakref.ref(big)
    idle = threading.Event()
    threads.submit(big.use)
    del big
    threads.submit(idle.set)
    assert idle.wait(10)
    gc.collect()
    assert gone() is None
    threads.close()

"""What keys may spend is held by a real gateway: over workers, kills, departures and changes."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import monotonic

import psutil
import pytest

from gateway.access.allowance import Allowance, read_budgets
from gateway.access.secret import server_secret
from gateway.control.audit import at_terminal
from gateway.control.key_values import Belongs
from gateway.control.keys import Keys
from gateway.control.store import Store
from tests.end_to_end.llm_world import WORKERS
from tests.end_to_end.server import PATIENCE_S, eventually

CHAT = "/v1/chat/completions"
PROMISED_S = 1.0
"""Of a key: that long after a change is answered it is in force everywhere."""


class Callers:
    """Keys of the gate's home, and the gate as who has one of them sees it."""

    def __init__(self, gate, store):
        self.gate = gate
        self.keys = Keys(store, server_secret(gate.server.home))

    def make(self, name, *budgets, team=None, **rates):
        """A world whose key is this one, in force."""
        allowance = Allowance(read_budgets(budgets, "budgets"), **rates)
        key, raw = self.keys.create(
            at_terminal(), name, "client", belongs=Belongs(team, (), allowance)
        )
        world = replace(self.gate, key=raw)
        # Connections go to either worker: so many in a row mean that both know the key.
        eventually(lambda: all(knows(world, raw) for _ in range(20)))
        return key, world

    def spent(self, owner):
        """Tokens, requests, and how many are under way."""
        line = self.told(owner)
        if line is None:
            return (0, 0, 0)
        total = line["spent"]["total"]
        return (total["tokens"], total["requests"], line["under_way"])

    def told(self, owner):
        """What the control port says of somebody; None: nothing yet."""
        page = self.gate.server.admin("GET", "/api/spend?limit=1000").json()
        (line,) = [one for one in page["spend"] if one["owner"] == owner] or [None]
        return line


def knows(world, raw):
    return world.server.request("GET", "/v1/models", None, bearer(raw)).status == 200


def bearer(raw):
    return {"authorization": f"Bearer {raw}"}


def used(answer):
    return answer.json()["usage"]["total_tokens"]


@pytest.fixture
def callers(gate):
    with Store.open(gate.server.home) as store:
        yield Callers(gate, store)


def test_what_is_answered_is_counted_to_the_token_streamed_or_whole(callers):
    key, world = callers.make("counted", team="counters")
    whole = world.chat("assistant")
    assert whole.status == 200
    eventually(lambda: callers.spent(f"key:{key.id}") == (used(whole), 1, 0))
    streamed = world.chat("assistant", stream=True)
    assert streamed.status == 200
    eventually(lambda: callers.spent(f"key:{key.id}") == (2 * used(whole), 2, 0))
    assert callers.spent("team:counters") == (2 * used(whole), 2, 0)
    assert world.chat("broken").status == 502
    eventually(lambda: callers.spent(f"key:{key.id}")[2] == 0)


def test_callers_at_once_use_a_budget_up_and_no_more(callers):
    _, probe = callers.make("probe")
    one = used(probe.chat("assistant", max_tokens=8))
    budget = 40 * one
    key, world = callers.make("thrifty", f"{budget}tokens/day")
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda _: world.chat("assistant", max_tokens=8).status, range(80)))
    counted = Counter(statuses)
    assert set(counted) == {200, 429}
    # Those that came while others had reserved more than they used come again.
    while world.chat("assistant", max_tokens=8).status == 200:
        counted[200] += 1
    tokens, requests, under_way = callers.spent(f"key:{key.id}")
    assert (tokens, requests, under_way) == (counted[200] * one, counted[200], 0)
    assert tokens <= budget


def test_a_refusal_says_when_to_come_again(callers):
    key, world = callers.make("slowly", requests_per_minute=1)
    assert world.chat("assistant").status == 200
    refused = world.chat("assistant")
    assert refused.status == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.json()["error"]["code"]
    assert callers.told(f"key:{key.id}")["rates_left"] == {"requests": 0, "tokens": None}


def test_a_changed_and_a_revoked_key_are_so_in_every_worker_within_a_second(callers):
    key, world = callers.make("changing")
    assert world.chat("assistant").status == 200
    none = replace(key.belongs, allowance=Allowance(max_parallel=0))
    callers.keys.set(at_terminal(), key.id, None, lambda _: none)
    assert statuses_after_a_second(world) == {429}
    callers.keys.revoke(at_terminal(), key.id)
    assert statuses_after_a_second(world) == {401}


def statuses_after_a_second(world):
    """Of requests to every worker that begin later than a second from now."""
    changed = monotonic()
    heard: set[str] = set()
    statuses: set[int] = set()
    while len(heard) < WORKERS:
        began = monotonic()
        answer = world.chat("assistant")
        if began - changed > PROMISED_S:
            heard.add(answer.headers["penstock-request-id"].rpartition("-")[0])
            statuses.add(answer.status)
    return statuses


def test_a_client_that_leaves_and_a_worker_that_is_killed_leave_nothing_reserved(callers):
    key, world = callers.make("leaving", "1000000tokens/day", max_parallel=2)
    owner = f"key:{key.id}"
    with hanging(world), hanging(world):
        # One that is asked for before they are would take the place of one of them.
        world.fake.wait(lambda received: [one.script.name for one in received] == ["slow"] * 2)
        assert world.chat("assistant").status == 429
    eventually(lambda: world.chat("assistant").status == 200)
    eventually(lambda: callers.spent(owner)[2] == 0)
    with hanging(world), hanging(world):
        eventually(lambda: callers.spent(owner)[2] == 2)
        workers = {worker["pid"] for worker in world.server.status()["workers"]}
        for process in psutil.Process(world.server.process.pid).children():
            if process.pid in workers:
                process.send_signal(signal.SIGKILL)
        eventually(lambda: callers.spent(owner)[2] == 0)
    eventually(lambda: answers(world))


def test_workers_hold_limits_while_control_is_replaced(callers):
    key, world = callers.make("going-on", "1000000tokens/day")
    one = used(world.chat("assistant"))
    control = world.server.status()["control"]
    os.kill(control, signal.SIGKILL)
    assert world.chat("assistant").status == 200
    eventually(lambda: control_is_another(world, control))
    assert world.chat("assistant").status == 200
    eventually(lambda: callers.spent(f"key:{key.id}") == (3 * one, 3, 0))


def control_is_another(world, before):
    try:
        return world.server.status()["control"] != before
    except OSError:
        return False


def answers(world):
    try:
        return world.chat("assistant").status == 200
    except OSError:
        return False


class hanging:  # noqa: N801 - reads as what it is: `with hanging(world):`
    """A request that waits for an upstream, until its client leaves."""

    def __init__(self, world):
        self._line = socket.create_connection(("127.0.0.1", world.server.port), PATIENCE_S)
        values = {"model": "slow", "messages": [{"role": "user", "content": "hello"}]}
        body = json.dumps(values).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {world.key}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self._line.sendall(head.encode() + body)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._line.close()

"""A wall clock that jumps: nothing waits by it, keys and tokens go by it, and order needs none."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end import commands
from tests.end_to_end.clocks import Clock, clock
from tests.end_to_end.provider import Provider
from tests.end_to_end.server import RunningServer, eventually
from tests.end_to_end.test_configuration import put
from tests.end_to_end.test_lifecycle import BODY, INFER, workers
from tests.end_to_end.traffic import Traffic
from tests.models.builders import linear, save

HOUR, DAY = 3600, 86_400
# Both are in use at every moment: some request waits for company, and none may wait for long.
WAITING = {
    "PENSTOCK_DEFAULTS__MAX_QUEUE_DELAY_MS": "30",
    "PENSTOCK_DEFAULTS__TIMEOUT_MS": "5000",
}


@pytest.fixture
def shifted(tmp_path: Path) -> Iterator[Clock]:
    with clock(tmp_path) as made:
        yield made


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def penstock(shifted, home) -> Callable[..., dict]:
    """Runs a command on the home, by the same clock."""

    def run(*words: str) -> dict:
        environment = os.environ | shifted.environment
        done = commands.penstock(*words, "--home", home, "--json", environment=environment)
        found: dict = json.loads(done.stdout)
        return found

    return run


@pytest.fixture
def serve(start, shifted, home, tmp_path) -> Callable[..., RunningServer]:
    """Starts a server that goes by the clock."""
    file = save(tmp_path, linear(), "m.onnx")

    def begin(workers: int = 2, config: str = "", **environment: str) -> RunningServer:
        whole = {**shifted.environment, **environment}
        words = (file, "--workers", str(workers))
        return start(*words, home=home, config=config, environment=whole)

    return begin


def authorized(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_the_clock_of_these_tests_moves_a_whole_server(serve, shifted, penstock):
    server = serve(workers=1)
    for jump in (400 * DAY, -900 * DAY):
        shifted.jump(jump)
        assert server.admin("POST", "/api/reload").status == 200
        (newest,) = penstock("audit", "list", "--limit", "1")
        assert abs(newest["at"] - shifted.now) < HOUR


def test_nothing_that_waits_or_times_out_goes_by_it(serve, shifted):
    server = serve(**WAITING)
    before = server.status()
    with Traffic(server.port, INFER, BODY, connections=6) as traffic:
        for jump in (2 * HOUR, -4 * HOUR, 400 * DAY, -800 * DAY, 400 * DAY):
            shifted.jump(jump)
            traffic.go_on(100)
            assert server.admin("POST", "/api/reload").status == 200
    assert traffic.tally.failed == 0
    assert traffic.tally.closes == 0
    after = server.status()
    # Nobody was taken for hung.
    assert after["control"] == before["control"]
    pids = [[worker["pid"] for worker in status["workers"]] for status in (before, after)]
    assert pids[0] == pids[1]
    assert "Traceback" not in server.log


def test_a_key_ends_by_it_and_is_good_again_once_it_is_set_right(serve, shifted, penstock):
    brief = penstock("keys", "create", "--name", "brief", "--role", "client", "--expires", "1h")
    viewer = penstock("keys", "create", "--name", "v", "--role", "viewer", "--expires", "1h")
    server = serve(PENSTOCK_ACCESS__DATA="keys", PENSTOCK_ACCESS__CONTROL="keys")

    def answered() -> tuple[set[int], int]:
        data = {
            server.request("POST", INFER, BODY, authorized(brief["key"])).status for _ in range(8)
        }
        asked = authorized(viewer["key"])
        return data, server.request("GET", "/api/status", None, asked, server.admin_port).status

    good, ended = ({200}, 200), ({401}, 401)
    assert answered() == good
    shifted.jump(2 * HOUR)
    assert answered() == ended
    # What has ended is let go everywhere, as soon as anything changes.
    penstock("keys", "create", "--name", "other", "--role", "client")
    eventually(lambda: answered() == ended)
    shifted.jump(-2 * HOUR)
    eventually(lambda: answered() == good)
    # And ends at its time, though the clock was ahead of it before.
    shifted.jump(2 * HOUR)
    assert answered() == ended


def test_a_token_ends_by_it(serve, shifted, tmp_path):
    provider = Provider(tmp_path)
    server = serve(config=f"access: {{data: keys, jwt: {provider.as_config()}}}")
    token = authorized(provider.token("client", lives_s=HOUR))

    def answered() -> set[int]:
        return {server.request("POST", INFER, BODY, token).status for _ in range(8)}

    eventually(lambda: answered() == {200})
    shifted.jump(2 * HOUR)
    assert answered() == {401}
    shifted.jump(-2 * HOUR)
    assert answered() == {200}


def test_the_audit_and_the_revisions_keep_their_order(serve, shifted, penstock):
    server = serve(workers=1)
    for number, jump in enumerate((0, -3 * DAY, 10 * DAY, -DAY)):
        shifted.jump(jump)
        text = f"defaults: {{timeout_ms: {1000 + number}}}\n"
        assert put(server, text, number).status == 200
        penstock("keys", "create", "--name", f"k{number}", "--role", "client")
    proof = penstock("audit", "verify")
    assert proof["ok"], proof
    entries = server.admin("GET", "/api/audit?limit=1000").json()["entries"]
    assert [entry["id"] for entry in entries] == list(range(1, len(entries) + 1))
    applied = [entry for entry in entries if entry["action"] == "config apply"]
    times = [entry["at"] for entry in applied]
    assert times != sorted(times)
    assert [entry["after"]["revision"] for entry in applied] == [1, 2, 3, 4]
    history = server.admin("GET", "/api/config/revisions").json()["revisions"]
    assert [one["number"] for one in history] == [4, 3, 2, 1]
    assert penstock("config", "show")["number"] == 4
    assert penstock("config", "rollback")["revision"] == 5
    assert "1002" in penstock("config", "show")["document"]
    assert penstock("audit", "verify", "--head", proof["head"])["ok"]


def test_no_two_requests_ever_get_the_same_id(serve, shifted):
    server = serve()
    seen: list[str] = []

    def ask() -> None:
        answers = [server.request("POST", INFER, BODY) for _ in range(20)]
        seen.extend(answer.headers["penstock-request-id"] for answer in answers)

    ask()
    shifted.jump(-HOUR)
    ask()
    victim = workers(server)[0]
    os.kill(victim["pid"], signal.SIGKILL)
    eventually(lambda: workers(server)[0]["epoch"] == victim["epoch"] + 1)
    eventually(lambda: workers(server)[0]["state"] == "ready")
    ask()
    server.stop()
    shifted.jump(-HOUR)
    server = serve()
    ask()
    assert len(seen) == len(set(seen)) == 80

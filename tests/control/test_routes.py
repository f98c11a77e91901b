"""What is wanted of routes is written down before it is in force; a stop, as soon as it can be."""

from __future__ import annotations

import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway import config
from gateway.config import Config
from gateway.control.audit import Audit
from gateway.control.routes import Routes
from gateway.control.splits import Stop
from gateway.control.store import Store
from gateway.control.unwritten import Unwritten
from gateway.errors import Conflict, NotFound, StoreFailed
from tests.control.auditing import ANN

DOCUMENT = config.parse(
    "routes:\n"
    "  m: {variants: [{name: a, version: 1}, {name: b, version: 2}]}\n"
    "  n: {variants: [{name: a, alias: champion}]}\n"
)
LED = config.parse(
    "routes: {m: {variants: [{name: a, version: 1, weight: 99}, {name: x, version: 5}]}}"
).routes["m"]
OTHER = config.parse("routes: {m: {variants: [{name: c, version: 3}]}}").routes["m"]


@dataclass
class World:
    home: Path
    document: Config = DOCUMENT
    now: float = 1000.0

    def routes(self, unwritten: Unwritten | None = None) -> Routes:
        """As a control process that has just started."""
        self.store = Store.open(self.home)
        return Routes(self.store, lambda: self.document, lambda: self.now, unwritten)


@pytest.fixture
def world():
    with tempfile.TemporaryDirectory() as folder:
        made = World(Path(folder))
        yield made
        made.store.close()


def test_the_document_says_what_is_wanted_until_somebody_does(world):
    routes = world.routes()
    assert routes.of("m").route == DOCUMENT.routes["m"]
    routes.set(ANN, "m", OTHER)
    assert (routes.of("m").route, routes.of("m").given) == (OTHER, True)
    routes.reset(ANN, "m")
    assert (routes.of("m").route, routes.of("m").given) == (DOCUMENT.routes["m"], False)
    with pytest.raises(NotFound, match="none was set"):
        routes.reset(ANN, "m")


def test_a_stop_stands_over_whatever_the_document_comes_to_say(world):
    routes = world.routes()
    stop = routes.stop(ANN, "m", 1, "a", "it is wrong")
    assert stop == Stop(1, "a", ANN.who, "it is wrong", 1000.0)
    world.document = config.parse("routes: {m: {variants: [{name: z, version: 9}]}}")
    assert routes.of("m").stop == stop
    assert routes.of("m").route == world.document.routes["m"]
    routes.resume(ANN, "m")
    assert routes.of("m").stop is None
    with pytest.raises(NotFound, match="not stopped"):
        routes.resume(ANN, "m")


def test_setting_a_route_ends_its_stop(world):
    routes = world.routes()
    routes.stop(ANN, "m", 1, "a", "")
    routes.set(ANN, "m", OTHER)
    assert routes.of("m").stop is None


def test_all_of_it_outlives_the_process(world):
    before = world.routes()
    before.set(ANN, "m", OTHER)
    before.stop(ANN, "n", 4, "", "")
    before.stop(ANN, "plain", 7, "", "")
    before.write()
    world.store.close()
    after = world.routes()
    assert after.wanted() == before.wanted()
    assert after.of("plain").stop is not None


def test_the_audit_says_who_changed_what_and_why(world):
    routes = world.routes()
    routes.stop(ANN, "m", 1, "a", "it is wrong")
    routes.resume(ANN, "m")
    stopped, resumed = (one.as_json() for one in Audit(world.store).last(2))
    assert (stopped["who"], stopped["action"], stopped["subject"]) == (ANN.who, "route stop", "m")
    assert stopped["after"]["stop"]["why"] == "it is wrong"
    assert resumed["action"] == "route resume"
    assert resumed["after"] == {"route": None, "stop": None, "lead": None}


def test_what_cannot_be_written_down_is_not_in_force(world):
    routes = world.routes()
    wanted = routes.wanted()
    world.store.close()
    with pytest.raises(StoreFailed):
        routes.set(ANN, "m", OTHER)
    assert routes.wanted() == wanted


def test_a_stop_is_in_force_before_it_is_written_and_written_once_that_can_be(world):
    unwritten = Unwritten()
    routes = world.routes(unwritten)
    assert routes.of("m").stop is None
    world.store.close()
    stop = routes.stop(ANN, "m", 1, "a", "it is wrong")
    for _ in range(2):
        with pytest.raises(StoreFailed):
            routes.write()
    assert routes.of("m").stop == routes.wanted()["m"].stop == stop
    assert "it has been closed" in unwritten.why_of("m")
    after = world.routes(unwritten)  # as whoever comes after control that was killed
    assert after.of("m").stop == stop
    after.write()
    after.write()
    assert (unwritten.why_of("m"), unwritten.stops) == ("", {})
    (entry,) = (one.as_json() for one in Audit(world.store).last(9))
    assert (entry["action"], entry["who"], entry["at"]) == ("route stop", ANN.who, 1000.0)
    world.store.close()
    assert world.routes().of("m").stop == stop


def test_a_stop_that_is_not_written_yet_comes_before_what_ends_it(world):
    unwritten = Unwritten()
    routes = world.routes(unwritten)
    routes.stop(ANN, "m", 1, "a", "")
    routes.set(ANN, "m", OTHER)
    assert (routes.of("m").stop, unwritten.stops) == (None, {})
    told = [one.as_json()["action"] for one in Audit(world.store).last(9)]
    assert told == ["route stop", "route set"]


def test_a_stop_that_comes_while_another_change_is_written_outlives_that(world):
    unwritten = Unwritten()
    routes = world.routes(unwritten)
    assert routes.of("m").stop is None
    with world.store.write():
        setting = threading.Thread(target=routes.set, args=(ANN, "m", OTHER))
        setting.start()
        while not routes._turn.locked():
            time.sleep(0.001)
        stop = routes.stop(ANN, "m", 1, "a", "")
        assert routes.of("m").stop == stop
    setting.join()
    routes.write()
    assert (routes.of("m").stop, routes.of("m").route) == (stop, OTHER)


def test_where_the_home_was_lost_before_it_was_read_a_stop_is_known_all_the_same(world):
    routes = world.routes()
    world.store.close()
    stop = routes.stop(ANN, "m", 1, "a", "")
    with pytest.raises(StoreFailed):
        routes.of("m")
    assert (routes.at_hand("m").stop, routes.at_hand("n").stop) == (stop, None)
    assert routes.at_hand("m").route == DOCUMENT.routes["m"]


def test_the_versions_that_a_route_or_a_stop_names_have_to_serve(world):
    routes = world.routes()
    assert routes.versions(DOCUMENT, "m") == {1, 2}
    assert routes.versions(DOCUMENT, "n") == frozenset()  # what has an alias serves anyway
    routes.stop(ANN, "m", 7, "", "")
    assert routes.versions(DOCUMENT, "m") == {1, 2, 7}
    assert routes.versions(DOCUMENT, "nobody") == frozenset()


def test_a_leader_goes_before_what_was_set_until_it_lets_go(world):
    routes = world.routes()
    routes.set(ANN, "m", OTHER)
    routes.lead(ANN, "m", "rollout 7", LED)
    assert (routes.of("m").route, routes.of("m").leader) == (LED, "rollout 7")
    assert (routes.beneath("m").route, routes.beneath("m").leader) == (OTHER, "")
    routes.lead(ANN, "m", "rollout 7", OTHER)
    assert routes.of("m").route == OTHER
    routes.let_go(ANN, "m", "rollout 7")
    assert (routes.of("m").route, routes.of("m").given) == (OTHER, True)
    assert routes.leader("m") == ""


def test_a_model_without_a_route_can_be_led_and_has_none_afterwards(world):
    routes = world.routes()
    routes.lead(ANN, "plain", "rollout 7", LED)
    assert routes.of("plain").route == LED
    routes.let_go(ANN, "plain", "rollout 7")
    assert "plain" not in routes.wanted()


def test_who_lets_go_may_leave_another_route_behind_and_ask_twice(world):
    routes = world.routes()
    routes.lead(ANN, "m", "rollout 7", LED)
    routes.let_go(ANN, "m", "rollout 7", OTHER)
    assert (routes.of("m").route, routes.of("m").given) == (OTHER, True)
    routes.set(ANN, "m", LED)
    routes.let_go(ANN, "m", "rollout 7", OTHER)
    assert routes.of("m").route == LED


def test_what_somebody_leads_is_divided_by_nobody_else(world):
    routes = world.routes()
    routes.lead(ANN, "m", "rollout 7", LED)
    for change in (
        lambda: routes.lead(ANN, "m", "experiment 3", OTHER),
        lambda: routes.set(ANN, "m", OTHER),
        lambda: routes.reset(ANN, "m"),
    ):
        with pytest.raises(Conflict, match="'m' is led by rollout 7"):
            change()
    routes.let_go(ANN, "m", "experiment 3")
    assert routes.of("m").route == LED


def test_a_stop_goes_before_a_leader_and_leaves_it_its_route(world):
    routes = world.routes()
    routes.lead(ANN, "m", "rollout 7", LED)
    stop = routes.stop(ANN, "m", 1, "a", "")
    assert (routes.of("m").stop, routes.of("m").leader) == (stop, "rollout 7")
    routes.resume(ANN, "m")
    assert (routes.of("m").stop, routes.of("m").route) == (None, LED)


def test_a_lead_outlives_the_process(world):
    world.routes().lead(ANN, "m", "rollout 7", LED)
    world.store.close()
    after = world.routes()
    assert (after.of("m").route, after.leader("m")) == (LED, "rollout 7")


def test_the_versions_beneath_a_leader_go_on_to_serve(world):
    routes = world.routes()
    routes.lead(ANN, "m", "rollout 7", LED)
    assert routes.versions(DOCUMENT, "m") == {1, 2, 5}
    routes.set(ANN, "n", OTHER)
    routes.lead(ANN, "n", "rollout 8", LED)
    assert routes.versions(DOCUMENT, "n") == {1, 3, 5}


def test_the_audit_tells_of_taking_a_lead_and_of_letting_go_but_of_no_step_between(world):
    routes = world.routes()
    for route in (OTHER, LED, OTHER):
        routes.lead(ANN, "m", "rollout 7", route)
    routes.let_go(ANN, "m", "rollout 7")
    told = [one.as_json() for one in Audit(world.store).last(9)]
    assert [one["action"] for one in told] == ["route lead", "route let go"]
    assert told[0]["after"]["lead"]["owner"] == "rollout 7"

"""Versions that were retired: written down, told to clients, and undone."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

import pytest

from gateway import config
from gateway.config import Config
from gateway.control.audit import Audit
from gateway.control.registry import Registry
from gateway.control.retirements import Retirements, absences
from gateway.control.routes import Routes
from gateway.control.store import Store
from gateway.errors import Conflict, NotFound
from tests.control.auditing import ANN
from tests.models.builders import linear, save

DAY = 86_400.0


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def retirements(store):
    return Retirements(store, lambda: 20_000 * DAY)


def told(retirements):
    return {(one.version, one.successor): one.reason for one in absences(retirements.all())}


def test_a_retirement_is_kept_with_who_why_and_what_was_known(store, retirements):
    made = retirements.retire(ANN, "m", 1, 2, "worse", {"rows": 7})
    assert retirements.all() == (made,)
    assert (made.who, made.why, made.record) == (ANN.who, "worse", {"rows": 7})
    (entry,) = (one.as_json() for one in Audit(store).last(5))
    assert (entry["action"], entry["subject"]) == ("retire", "m/1")
    assert entry["after"] == {"successor": 2, "why": "worse", "record": {"rows": 7}}


def test_clients_are_told_when_it_was_and_who_answers_instead(retirements):
    retirements.retire(ANN, "m", 1, 2, "", {})
    retirements.retire(ANN, "n", 5, None, "", {})
    assert told(retirements) == {
        (1, 2): "was retired on 2024-10-04; its successor is version 2",
        (5, 0): "was retired on 2024-10-04",
    }


def test_a_successor_that_was_retired_itself_passes_them_on(retirements):
    retirements.retire(ANN, "m", 1, 2, "", {})
    retirements.retire(ANN, "m", 2, 3, "", {})
    assert {one.version: one.successor for one in absences(retirements.all())} == {1: 3, 2: 3}


def test_nobody_is_retired_twice_or_succeeded_by_who_is(retirements):
    retirements.retire(ANN, "m", 1, None, "", {})
    for version, successor in ((1, None), (2, 1)):
        with pytest.raises(Conflict, match="version 1 is retired"):
            retirements.retire(ANN, "m", version, successor, "", {})


def test_who_is_brought_back_is_as_if_nothing_had_been(store, retirements):
    with pytest.raises(NotFound, match="is not retired"):
        retirements.undo(ANN, "m", 1)
    retirements.retire(ANN, "m", 1, None, "", {})
    retirements.undo(ANN, "m", 1)
    assert retirements.all() == ()
    assert Audit(store).last(1)[0].action == "unretire"


def test_no_alias_can_be_pointed_at_a_retired_version(tmp_path, store, retirements):
    registry = Registry(store, tmp_path / "home")
    registry.register(save(tmp_path / "files", linear()), "m", 1)
    retirements.retire(ANN, "m", 1, None, "", {})
    with pytest.raises(Conflict, match="`penstock unretire m 1` brings it back"):
        registry.set_alias("m", "champion", 1)
    retirements.undo(ANN, "m", 1)
    registry.set_alias("m", "champion", 1)


def routed(version):
    return config.parse(f"routes: {{m: {{variants: [{{name: a, version: {version}}}]}}}}").routes[
        "m"
    ]


def test_what_a_route_or_an_alias_names_by_then_is_not_retired(tmp_path, store, retirements):
    registry, routes = Registry(store, tmp_path / "home"), Routes(store, Config)
    for version in (1, 2, 3):
        registry.register(save(tmp_path / str(version), linear(seed=version)), "m", version)
    registry.set_alias("m", "champion", 1)
    routes.set(ANN, "m", routed(2))
    for version, why in ((1, "alias 'champion' names it"), (2, "its model's route names it")):
        with pytest.raises(Conflict, match=why):
            retirements.retire(ANN, "m", version, None, "", {})
    routes.lead(ANN, "m", "rollout 7", routed(3))
    with pytest.raises(Conflict, match="its model's route names it"):
        retirements.retire(ANN, "m", 3, None, "", {})


def test_no_route_can_be_set_over_a_version_that_was_retired_by_then(store, retirements):
    routes = Routes(store, Config)
    retirements.retire(ANN, "m", 1, None, "", {})
    with pytest.raises(Conflict, match="version 1 is retired"):
        routes.set(ANN, "m", routed(1))
    with pytest.raises(Conflict, match="version 1 is retired"):
        routes.lead(ANN, "m", "rollout 7", routed(1))
    assert routes.of("m").route is None


def test_of_a_retirement_and_what_would_lead_there_at_the_same_time_one_loses(
    tmp_path, store, retirements
):
    registry, routes = Registry(store, tmp_path / "home"), Routes(store, Config)
    model = save(tmp_path / "files", linear())
    for version in range(1, 21):
        registry.register(model, "m", version)
        start = Barrier(2)

        def at_once(work, *args, start=start):
            start.wait()
            work(*args)

        lead: Any = partial(routes.set, ANN, "m", routed(version))
        if version % 2:
            lead = partial(registry.set_alias, "m", f"a{version}", version)
        with ThreadPoolExecutor(2) as pool:
            both: list[Future[None]] = [
                pool.submit(at_once, retirements.retire, ANN, "m", version, None, "", {}),
                pool.submit(at_once, lead),
            ]
        lost = [one.exception() for one in both if one.exception() is not None]
        assert [type(one) for one in lost] == [Conflict]

"""A route's own endpoint: which deployment gets a request, and with what."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from gateway.catalogue import Served
from gateway.errors import GatewayError, InvalidParameter
from gateway.inference import InferEndpoint
from gateway.plan import Split, Variant
from gateway.routed import RoutedEndpoint, RoutedEndpoints, arms_of
from gateway.routing.assign import ByKey, InTurn
from gateway.routing.table import Table
from gateway.wire.head import Head
from gateway.wire.laden import Laden
from kernels import lots
from tests.plans import held
from tests.test_inference import Caller, new_services

SPLIT = Split(
    (Variant("stable", 1, 1.0), Variant("canary", 2, 1.0)),
    sticky_header="x-user",
    override_header="x-want",
)
KEYS = ByKey("m", {"stable": 1.0, "canary": 1.0})


class Taking:
    """An endpoint that keeps what it is given."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.refused: list[GatewayError] = []

    def __call__(self, exchange: Any, arm: Any, choose: Any = None) -> None:
        self.taken.append(choose or arm)

    def turn_away(self, exchange: Any, error: GatewayError) -> None:
        self.refused.append(error)


def served(version: int, signature: str = "x to y", most: int = 8) -> tuple[Served, Taking]:
    deployment: Any = SimpleNamespace(
        signature=signature, settings=SimpleNamespace(max_batch_size=most)
    )
    taking = Taking()
    return Served(held("m", version), deployment, cast(InferEndpoint, taking)), taking


def headed(*headers: tuple[bytes, bytes]) -> Caller:
    caller = Caller()
    caller.headers = list(headers)
    caller.head = Head(b"POST", caller.path, b"", caller.headers)  # type: ignore[attr-defined]
    return caller


def routed(
    split: Split = SPLIT, main: int = 1, note: Any = None, **versions: Served
) -> RoutedEndpoint:
    here = {one.held.version: one for one in versions.values()}
    return RoutedEndpoint(Table("m", split, InTurn()), arms_of(split, here, main), note)


def test_a_key_gets_its_variants_deployment_and_so_does_a_head_that_comes_again():
    (one, stable), (two, canary) = served(1), served(2)
    endpoint = routed(one=one, two=two)
    expected = {"stable": 0, "canary": 0}
    for user in range(20):
        caller = headed((b"x-user", b"%d" % user))
        for _ in range(3):
            endpoint(caller)
            expected[KEYS.of(b"%d" % user)] += 1
            assert [len(stable.taken), len(canary.taken)] == list(expected.values())


def lots_of(taking: Taking) -> list[int]:
    return [arm.lot for arm in taking.taken]


def test_with_a_request_goes_the_chance_that_it_had_and_the_unit_of_its_key():
    (one, stable), (two, canary) = served(1), served(2)
    split = replace(SPLIT, variants=(Variant("stable", 1, 3.0), Variant("canary", 2, 1.0)))
    endpoint = routed(split, one=one, two=two)
    for _ in range(2):
        for user in range(40):
            endpoint(headed((b"x-user", b"%d" % user)))
        endpoint(headed())
    endpoint(headed((b"x-want", b"canary")))
    found = [np.array(lots_of(some), np.int64) for some in (stable, canary)]
    assert set((found[0] >> lots.UNIT_BITS).tolist()) == {lots.code_of(0.75)}
    assert set((found[1][:-1] >> lots.UNIT_BITS).tolist()) == {lots.code_of(0.25)}
    assert found[1][-1] == 0  # it was asked for, and nobody left it to chance
    units = found[0] & lots.UNITS
    half = len(units) // 2
    assert units[:half].tolist() == units[half:].tolist()
    assert len(set(units.tolist())) > 1


def test_where_one_stands_in_for_another_it_has_the_chances_of_both():
    one, stable = served(1)
    routed(one=one)(headed())
    assert lots_of(stable) == [lots.lot(1.0)]


def test_what_a_head_chose_of_one_route_says_nothing_of_another_or_a_newer_one():
    (one, stable), (two, canary) = served(1), served(2)
    caller = headed((b"x-want", b"canary"))
    routed(one=one, two=two)(caller)
    assert (len(stable.taken), len(canary.taken)) == (0, 1)
    alone = Split((Variant("stable", 1, 1.0),))
    routed(alone, one=one, two=two)(caller)
    assert (len(stable.taken), len(canary.taken)) == (1, 1)


def test_a_request_that_is_passed_on_late_finds_its_way_again():
    (one, _), (two, canary) = served(1), served(2)
    late: Any = headed((b"x-want", b"canary"))
    routed(one=one, two=two)(Laden(late, 10, new_services()))
    assert len(canary.taken) == 1


def test_who_asks_for_no_variant_there_is_is_refused_by_the_main_one():
    (one, stable), (two, canary) = served(1), served(2)
    routed(one=one, two=two, main=2)(headed((b"x-want", b"3")))
    assert [type(error) for error in canary.refused] == [InvalidParameter]
    assert stable.refused == stable.taken == canary.taken == []


def test_a_variant_that_this_worker_lacks_leaves_its_requests_to_the_main_one():
    one, stable = served(1)
    endpoint = routed(one=one)
    for user in range(20):
        endpoint(headed((b"x-user", b"%d" % user)))
    assert {arm.variant.name for arm in stable.taken} == {"stable"}
    two, canary = served(2)
    routed(two=two)(headed((b"x-want", b"stable")))
    assert [arm.variant.name for arm in canary.taken] == ["canary"]


@pytest.mark.parametrize("other", [{"signature": "x to z"}, {"most": 4}], ids=["signature", "rows"])
def test_by_parameters_no_variant_gets_what_it_could_not_take(other):
    (one, stable), (two, canary) = served(1), served(2, **other)
    split = Split(SPLIT.variants, override_header="x-want", override_parameter="want")
    endpoint = routed(split, one=one, two=two)
    endpoint(headed())
    (choose,) = stable.taken
    assert choose(None, SimpleNamespace(parameters={"want": "canary"})).variant.name == "stable"
    endpoint(headed((b"x-want", b"canary")))  # decoded by its own
    assert len(canary.taken) == 1


def test_whoever_wants_to_know_is_told_once_of_each_request_which_version_answers():
    (one, stable), (two, _) = served(1), served(2)
    told: list[tuple[Any, int]] = []

    def note(exchange: Any, arm: Any) -> None:
        told.append((exchange, arm.version))

    endpoint = routed(note=note, one=one, two=two)
    wanted, wrong, turn = (
        headed((b"x-want", b"2")), headed((b"x-want", b"9")), headed((b"x-user", b"7"))
    )  # fmt: skip
    for caller in (wanted, wanted, wrong, turn):
        endpoint(caller)
    of_seven = {"stable": 1, "canary": 2}[KEYS.of(b"7")]
    assert told == [(wanted, 2), (wanted, 2), (wrong, 1), (turn, of_seven)]

    told.clear()
    by_parameters = Split(SPLIT.variants, override_parameter="want")
    routed(by_parameters, note=note, one=one, two=two)(headed())
    (choose,) = [taken for taken in stable.taken if callable(taken)]
    choose("asked", SimpleNamespace(parameters={"want": 2}))
    choose("not decoded", None)
    with pytest.raises(InvalidParameter):
        choose("no variant", SimpleNamespace(parameters={"want": 9}))
    assert told == [("asked", 2), ("not decoded", 1), ("no variant", 1)]


class Serving:
    """A catalogue whose plan a test moves on."""

    def __init__(self, split: Split, here: dict[int, Served]) -> None:
        self.split, self.here = split, here

    def divided(self) -> Any:
        yield "m", self.split, self.here

    def standing(self, name: str) -> int:
        return 1


def test_turns_go_on_when_a_plan_moves_a_weight():
    (one, stable), (two, canary) = served(1), served(2)
    plain = Split((Variant("stable", 1, 1.0), Variant("canary", 2, 1.0)))
    catalogue, divided = Serving(plain, {1: one, 2: two}), RoutedEndpoints(start=0)
    for _ in range(100):  # plans of one request each
        divided.follow(cast(Any, catalogue), None)["m"](headed())
    assert abs(len(stable.taken) - len(canary.taken)) <= 2
    assert len(stable.taken) + len(canary.taken) == 100

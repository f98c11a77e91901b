"""What a route heeds of a request, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import InvalidParameter
from gateway.plan import Split, Variant
from gateway.routing import table
from gateway.routing.assign import ByKey, InTurn
from gateway.routing.table import Table

VARIANTS = (Variant("stable", 3, 3.0), Variant("canary", 4, 1.0))
KEYS = ByKey("fraud", {"stable": 3.0, "canary": 1.0})
CANARY = ("canary", table.ASKED)


def of(**heeds: Any) -> Table:
    return Table("fraud", Split(VARIANTS, **heeds), InTurn())


def test_a_request_is_known_by_the_first_value_of_its_header():
    route = of(sticky_header="x-user")
    headers = [(b"accept", b"*/*"), (b"x-user", b"7"), (b"x-user", b"8")]
    assert route.by_headers(headers) == route.of_key(b"7")
    assert route.of_key(b"7")[0] == KEYS.of(b"7")
    assert route.by_headers([(b"accept", b"*/*")]) is None


def test_a_number_is_the_key_that_its_text_is():
    by_header, by_parameter = of(sticky_header="x-user"), of(sticky_parameter="user")
    for user in range(50):
        same = by_header.by_headers([(b"x-user", b"%d" % user)])
        assert same == by_parameter.by_parameters({"user": user})
        assert same == by_parameter.by_parameters({"user": str(user)})
    assert by_parameter.by_parameters({}) is None


def test_text_that_is_no_unicode_is_a_key_like_any_other():
    found = of(sticky_parameter="user").by_parameters({"user": "\ud800"})
    assert found is not None
    assert found[0] in ("stable", "canary")


@pytest.mark.parametrize("asked", ["canary", "4"], ids=["by-name", "by-version"])
def test_what_a_request_asks_for_goes_before_what_it_is_known_by(asked):
    headers = [(b"x-user", b"7"), (b"x-want", asked.encode())]
    assert of(sticky_header="x-user", override_header="x-want").by_headers(headers) == CANARY
    both = of(sticky_parameter="user", override_parameter="want")
    assert both.by_parameters({"user": 7, "want": asked}) == CANARY
    assert both.by_parameters({"user": 7, "want": int(asked)} if asked == "4" else {"want": asked})


def test_where_it_is_not_allowed_nothing_can_be_asked_for():
    route = of(sticky_header="x-user")
    assert route.by_headers([(b"x-want", b"canary")]) is None


@pytest.mark.parametrize("asked", [b"9", b"", b"Canary", b"\xff" * 500])
def test_a_variant_that_there_is_not_is_refused_with_those_that_there_are(asked):
    with pytest.raises(InvalidParameter, match=r"variant of 'fraud' \(stable, canary\)") as refused:
        of(override_header="x-want").by_headers([(b"x-want", asked)])
    assert len(str(refused.value)) < 200


def test_keys_are_remembered_up_to_a_bound_and_long_ones_never():
    route = of(sticky_header="x-user")
    for number in range(table.MAX_KNOWN + 10):
        assert route.of_key(b"%d" % number)[0] == KEYS.of(b"%d" % number)
    assert len(route._known) <= table.MAX_KNOWN
    before = len(route._known)
    assert route.of_key(b"k" * 1000)[0] == KEYS.of(b"k" * 1000)
    assert len(route._known) == before


def test_turns_go_on_through_changes_of_a_route():
    turns, plain = InTurn(5), InTurn(5)
    plain.divide({"stable": 3.0, "canary": 1.0})
    got = []
    for _ in range(50):
        route = Table("fraud", Split(VARIANTS), turns)
        got += [route.in_turn() for _ in range(3)]
    assert got == [(plain.next(), table.IN_TURN) for _ in range(150)]


def test_who_asks_for_what_was_pulled_is_answered_by_its_heir():
    route = of(override_header="x-want", instead={"bad": "stable", "9": "stable"})
    for wanted in (b"bad", b"9"):
        assert route.by_headers([(b"x-want", wanted)]) == ("stable", table.ASKED)

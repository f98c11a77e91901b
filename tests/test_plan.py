"""A plan arrives as it was sent, and only what changed travels."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.plan import Absent, Held, Inbox, Outbox, Plan, Route, Shadow, Split, Variant
from gateway.taken import Agreed, Captured, Kept, Part, Recorded, Sliced, Taken, Watched


def held(name: str, version: int = 1, load: int = 0, digest: str = "d") -> Held:
    return Held(name, version, "/models", "model.onnx", digest, {"device": "cpu"}, {}, 4096, load)


def plan(number: int, *models: Held) -> Plan:
    routes = tuple(Route(m.name, m.version, {m.version: m.id}) for m in models)
    return Plan(number, models, routes, (Absent("broken", 1, "UNAVAILABLE", "not an ONNX model"),))


def test_a_plan_survives_the_journey():
    sent = plan(3, held("a"), held("b", 7))
    assert Inbox().take(Outbox().message(sent)) == sent


def test_how_requests_are_divided_survives_the_journey():
    model = held("m")
    shadow = Shadow(3, 0.25, blocks=((1, 4096), (2, 8192)), kind="binary", output="y")
    variants = (Variant("a", 1, 2.5), Variant("b", 1, 0.0))
    split = Split(variants, sticky_header="x-user", shadows=(shadow,))
    sent = Plan(4, (model,), (Route("m", 1, {1: model.id}, split),))
    assert Inbox().take(Outbox().message(sent)) == sent


def test_what_values_go_into_survives_the_journey():
    agreed = Watched("p", "/p.json", 4096, Agreed("c", "/c.json", "reject", 8192))
    watched: dict[str, tuple[Taken, ...]] = {
        "a": (agreed,),
        "b": (Watched("p", "/p.json", 1),),
        "c": (Kept(2, 5000, {}, ("x",)),),
        "d": (Captured(3, {"model": "m"}, False, 0.1, 0.8, (0.4, 0.6), True, "customer"),),
        "e": (Recorded(4, 1, "auto", None, 1), Sliced((), (), (Part(0, 1, 5),))),
    }
    found = Inbox().take(Outbox().message(Plan(3, watched=watched)))
    assert found is not None
    assert found.watched["a"] == (agreed,)
    assert found.watched["b"] == watched["b"]
    assert [one.blocks for one in found.watched["a"]] == [(4096, 8192)]
    assert [one.blocks for some in "bcd" for one in found.watched[some]] == [(1,), (2,), (3,)]
    assert [found.watched[one] for one in "de"] == [watched[one] for one in "de"]


def test_only_changed_parts_travel():
    outbox = Outbox()
    outbox.message(plan(1, held("a"), held("b")))
    second = outbox.message(plan(2, held("a"), held("b"), held("c")))
    assert sorted(second["parts"]) == [f"model/{held('c').id}", "routes"]


def test_a_follower_that_lacks_a_part_asks_for_all_instead_of_guessing():
    outbox = Outbox()
    outbox.message(plan(1, held("a")))
    assert Inbox().take(outbox.message(plan(2, held("a"), held("b")))) is None


def test_after_forgetting_everything_travels_again():
    outbox = Outbox()
    outbox.message(plan(1, held("a")))
    outbox.forget()
    assert Inbox().take(outbox.message(plan(2, held("a")))) == plan(2, held("a"))


def test_a_deployment_is_another_one_when_content_settings_or_load_change():
    base = held("a")
    assert base.id == held("a").id
    assert len({base.id, held("a", load=1).id, held("a", digest="e").id, held("a", 2).id}) == 4


@given(st.lists(st.lists(st.sampled_from("abcde"), unique=True), min_size=1, max_size=8))
def test_any_sequence_of_plans_arrives_in_order(steps: list[list[str]]):
    outbox, inbox = Outbox(), Inbox()
    for number, names in enumerate(steps, 1):
        sent = plan(number, *(held(name) for name in names))
        assert inbox.take(outbox.message(sent)) == sent

"""Azure's own clients name a model in the path; it is asked as if the body had named it."""

from __future__ import annotations

import pytest

from gateway.errors import Forbidden
from gateway.wire.llm.requests import AT_ONCE_BYTES
from tests.llm.journey_rig import GZIPPED, chat, key_for, rig, whole

pytestmark = pytest.mark.anyio

WORLD = """
llm:
  providers: {one: {base_url: "http://one.example/v1"}}
  models:
    m: {aliases: ["vendor/m:8b"], upstreams: [{provider: one, model: gpt-4o-mini}]}
    n: {upstreams: [{provider: one, model: gpt-4o}]}
"""
HELLO = chat()["messages"]


def at(name, end="chat/completions"):
    return f"/openai/deployments/{name}/{end}".encode()


@pytest.fixture
async def world():
    return rig(WORLD)


@pytest.mark.parametrize("name", ["m", "vendor/m:8b", "vendor%2Fm:8b", "vendor%2Fm%3A8b"])
async def test_a_path_names_the_model_by_its_name_or_an_alias_however_it_is_written(world, name):
    client = world.ask({"messages": HELLO}, path=at(name))
    assert world.last.body == {"model": "gpt-4o-mini", "messages": HELLO}
    world.last.answers()
    assert client.answers == [(200, whole())]


@pytest.mark.parametrize("name", ["a+b,c", "a%2Bb%2Cc"])
async def test_signs_that_a_client_may_leave_as_they_are_name_it_either_way(name):
    world = rig(WORLD.replace("vendor/m:8b", "a+b,c"))
    world.ask({"messages": HELLO}, path=at(name))
    assert world.last.body["model"] == "gpt-4o-mini"


async def test_a_path_that_two_names_claim_is_that_of_the_shorter_one():
    world = rig(WORLD.replace("vendor/m:8b", "n/chat"))
    world.ask({"messages": HELLO}, path=at("n"))
    assert world.last.body["model"] == "gpt-4o"


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        pytest.param([], "hi", id="short"),
        pytest.param([], "x" * AT_ONCE_BYTES, id="long"),
        pytest.param([GZIPPED], "hi", id="compressed"),
    ],
)
async def test_of_two_names_that_of_the_path_holds(world, headers, text):
    messages = [{"role": "user", "content": text}]
    world.ask({"model": "n", "messages": messages}, path=at("m"), headers=headers)
    await world.sent(1)
    assert world.last.body == {"model": "gpt-4o-mini", "messages": messages}


async def test_a_key_may_call_by_a_path_what_it_may_call_and_nothing_else(world):
    with pytest.raises(Forbidden, match="'n'"):
        world.ask({"model": "m", "messages": HELLO}, path=at("n"), key=key_for("m"))
    assert world.upstreams.sent == []
    world.ask({"model": "n", "messages": HELLO}, path=at("m"), key=key_for("m"))
    assert world.last.body["model"] == "gpt-4o-mini"


@pytest.mark.parametrize(
    ("end", "asked"),
    [
        pytest.param("completions", {"prompt": "hi", "max_tokens": 3}, id="completions"),
        pytest.param("embeddings", {"input": "hi"}, id="embeddings"),
    ],
)
async def test_other_apis_are_asked_by_a_path_alike(world, end, asked):
    world.ask(asked, path=at("m", end))
    assert world.last.body == {"model": "gpt-4o-mini", **asked}


@pytest.mark.parametrize("path", [b"/openai/responses", b"/openai/v1/responses"])
async def test_where_the_path_names_no_model_the_body_does(world, path):
    world.ask({"model": "m", "input": "hi"}, path=path)
    assert world.last.body["model"] == "gpt-4o-mini"

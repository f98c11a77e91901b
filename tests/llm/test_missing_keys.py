"""Upstreams whose provider's key is nowhere: left out, and nothing else suffers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.llm.journey_rig import AtOnce, Rig, chat, rig, whole
from tests.llm.test_key_files import Looking

pytestmark = pytest.mark.anyio

PROVIDERS = """
  providers:
    openai: {{base_url: "http://openai.example/v1", api_key_file: {file}}}
    vllm: {{base_url: "http://vllm.example/v1"}}
"""
BOTH = f"""
llm:{PROVIDERS}
  models: {{{{m: {{{{order: priority, upstreams: [
    {{{{provider: openai, model: gpt-4o-mini}}}}, {{{{provider: vllm, model: llama}}}}]}}}}}}}}
"""
NONE_LEFT = f"""
llm:{PROVIDERS}
  models:
    m: {{{{upstreams: [{{{{provider: openai, model: gpt-4o-mini}}}}], fallbacks: [spare]}}}}
    alone: {{{{upstreams: [{{{{provider: openai, model: gpt-4o-mini}}}}]}}}}
    spare: {{{{upstreams: [{{{{provider: vllm, model: llama}}}}]}}}}
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "key"


def asked(one: Rig, model: str = "m") -> Any:
    """The answer to one request; whoever has it answers."""
    before = len(one.upstreams.sent)
    client = one.ask(chat(model))
    if len(one.upstreams.sent) > before:
        one.last.answers()
    return client.answers[0]


async def test_an_upstream_without_its_key_leaves_the_others_to_answer(file):
    one = rig(BOTH.format(file=file))
    assert [asked(one) for _ in range(3)] == [(200, whole())] * 3
    assert {sent.origin.host for sent in one.upstreams.sent} == {"vllm.example"}


async def test_a_model_none_of_whose_upstreams_has_a_key_is_answered_for_by_its_fallbacks(file):
    one = rig(NONE_LEFT.format(file=file))
    assert asked(one) == (200, whole())
    assert one.last.origin.host == "vllm.example"


async def test_a_model_without_key_and_fallbacks_is_unavailable_and_says_why(file):
    one = rig(NONE_LEFT.format(file=file))
    status, body = asked(one, "alone")
    assert (status, body["error"]["type"]) == (503, "server_error")
    assert "api_key_file key: No such file or directory" in body["error"]["message"]
    assert one.counting["alone", 1].failed == 1


async def test_an_upstream_is_asked_once_its_key_file_is_there(file):
    one = rig(BOTH.format(file=file))
    looking = Looking(one, AtOnce())
    looking.files.start()
    looking.look()
    await looking.done()
    asked(one)
    assert one.last.origin.host == "vllm.example"
    file.write_text("sk-late\n")
    looking.look()
    await looking.done()
    asked(one)
    assert one.last.origin.host == "openai.example"
    assert b"authorization: Bearer sk-late\r\n" in one.last.head


async def test_a_key_that_came_before_the_first_look_is_seen_by_it(file):
    one = rig(BOTH.format(file=file))
    file.write_text("sk-early\n")
    looking = Looking(one, AtOnce())
    looking.files.start()
    looking.look()
    await looking.done()
    asked(one)
    assert b"authorization: Bearer sk-early\r\n" in one.last.head


async def test_how_an_upstream_without_its_key_is_shown(file):
    one = rig(BOTH.format(file=file))
    [deployment] = one.llm.deployments
    first, second = deployment.pool.health(0.0)
    assert (first.lacks, second.lacks) == (
        "llm.providers.openai: api_key_file key: No such file or directory",
        "",
    )

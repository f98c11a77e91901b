"""What is to be seen of language models while they are asked: figures, upstreams, prices."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.cli import main
from tests.end_to_end.server import eventually

EAST = {"model": "second-best", "version": "1", "provider": "openai"}
LABELS = EAST | {"upstream": "openai/gpt-4o-mini", "operation": "chat"}
BROKEN = EAST | {"provider": "broken", "upstream": "broken/gpt-4o-mini"}


def test_requests_tokens_cost_and_attempts_are_counted_by_upstream(gate):
    metric = gate.server.metric
    before = metric("penstock_llm_tokens_total", **LABELS, type="output")
    for stream in (False, True):
        assert gate.chat("second-best", "fake?tokens=3", stream=stream).status == 200
    eventually(lambda: metric("penstock_llm_tokens_total", **LABELS, type="output") == before + 6)
    assert metric("penstock_llm_cost_usd_total", **LABELS) > 0
    assert metric("penstock_llm_retries_total", **LABELS) >= 2
    assert metric("penstock_llm_first_token_seconds_count", **LABELS) >= 1
    assert metric("penstock_llm_overhead_seconds_count", **LABELS) == 0
    eventually(lambda: metric("penstock_llm_attempts_failed_total", **BROKEN) >= 2)


def test_commands_and_the_admin_api_show_who_answers_and_how_upstreams_are(gate, capsys):
    gate.chat("tried-twice")

    def trouble() -> str:
        found = gate.server.admin("GET", "/api/llm/upstreams").json()["upstreams"]
        return next(one["trouble"] for one in found if one["model"] == "tried-twice")

    eventually(lambda: trouble().startswith("503"))
    assert main(["llm", "status", "--home", str(gate.server.home)]) == 0
    assert "tried-twice" in capsys.readouterr().out
    assert main(["llm", "models", "--home", str(gate.server.home), "--json"]) == 0
    versions = json.loads(capsys.readouterr().out)["versions"]
    priced = {one["model"]: [up["priced"] for up in one["upstreams"]] for one in versions}
    assert priced["assistant"] == [True]


def test_every_try_is_a_span_that_its_provider_was_told_of(gate):
    assert gate.chat("second-best", "fake?tokens=3", temperature=0.5).status == 200
    told = [one.header("traceparent").split("-") for one in gate.fake.received]
    trace = told[0][1]

    def inside() -> dict[str, Any]:
        spans = [kept for kept in gate.collector.spans if kept.trace_id == trace]
        return {kept.span_id: kept.attributes for kept in spans if kept.name.startswith("chat ")}

    eventually(lambda: len(inside()) == 2)
    assert [one[1:3] for one in told] == [[trace, span] for span in inside()]
    first, second = inside().values()
    assert (first["penstock.upstream"], first["error.type"]) == ("broken/gpt-4o-mini", "failed")
    assert (second["penstock.upstream"], second["penstock.result"]) == ("openai/gpt-4o-mini", "ok")
    assert second["gen_ai.request.temperature"] == 0.5


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_answer_that_a_content_policy_cut_off_is_anothers_and_both_are_counted(gate, stream):
    metric, of_chat = gate.server.metric, {"operation": "chat", "version": "1"}
    coy = of_chat | {"model": "coy", "provider": "coy", "upstream": "coy/gpt-4o-mini"}
    before = metric("penstock_llm_requests_total", **coy, result="filtered")
    read = metric("penstock_llm_tokens_total", **coy, type="input")
    answer = gate.chat("coy", "hello there, who are you?", stream=stream)
    assert (answer.status, answer.headers["penstock-model"]) == (200, "assistant")
    assert answer.headers["penstock-attempts"] == "2"
    assert b"water" in answer.body
    assert b"content_filter" not in answer.body

    def counted() -> bool:
        filtered = metric("penstock_llm_requests_total", **coy, result="filtered")
        tokens = metric("penstock_llm_tokens_total", **coy, type="input")
        return bool(filtered == before + 1 and tokens > read)

    eventually(counted)

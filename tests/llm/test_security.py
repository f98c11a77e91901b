"""What neither callers nor upstreams of a language model can do; docs/llm-security.md lists it."""

from __future__ import annotations

import ast
import asyncio
import gc
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Config, parse
from gateway.errors import (
    ConfigInvalid,
    Forbidden,
    InvalidParameter,
    UpstreamFailed,
    UpstreamTimedOut,
)
from gateway.llm.upstream.connecting import Connector
from gateway.llm.upstream.names import REMEMBERED_S, Names
from gateway.llm.upstream.words import Origin
from gateway.plan import Split, Variant
from tests.llm.journey_rig import (
    EVENTS,
    GZIPPED,
    JSON,
    USAGE,
    Counted,
    Rig,
    chat,
    chunk,
    key_for,
    rig,
    whole,
)

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "llm-security.md").read_text()
KEY = "sk-canary-8f1c2d"
TWO = """
llm:
  providers:
    one: {base_url: "http://one.example/v1", api_key_env: CANARY_KEY}
    other: {base_url: "http://other.example/v1"}
  models:
    m:
      aliases: [gpt-4o]
      upstreams: [{provider: one, model: gpt-4o-mini}]
      retries: {attempts: 0}
      fallbacks: [n]
    n: {aliases: [other-name], upstreams: [{provider: other, model: gpt-4o-mini}]}
"""
WITHOUT_KEY = TWO.replace(", api_key_env: CANARY_KEY", "")


@pytest.fixture
async def two(monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setenv("CANARY_KEY", KEY)
    return rig(TWO)


# ---- what a key may call -------------------------------------------------------------------------


@pytest.mark.parametrize(("allowed", "asked"), [("m", "m"), ("m", "gpt-4o"), ("gpt-4o", "gpt-4o")])
async def test_a_model_is_allowed_by_its_name_or_by_the_alias_that_is_used(two, allowed, asked):
    two.ask(chat(asked), key=key_for(allowed))
    assert len(two.upstreams.sent) == 1


@pytest.mark.parametrize("asked", ["n", "other-name", "no-such-model"])
async def test_what_a_key_may_not_call_is_told_alike_whether_it_exists_or_not(two, asked):
    with pytest.raises(Forbidden) as refused:
        two.ask(chat(asked), key=key_for("m"))
    assert str(refused.value) == f"'till' may not use model '{asked}', but m"
    assert two.upstreams.sent == []


async def test_an_alias_that_is_allowed_allows_no_other_name_of_its_model(two):
    with pytest.raises(Forbidden):
        two.ask(chat("m"), key=key_for("gpt-4o"))


@pytest.mark.parametrize(
    ("allowed", "asked"),
    [(["m"], ["one.example"]), (["m", "n"], ["one.example", "other.example"])],
    ids=["not-allowed", "allowed"],
)
async def test_no_fallback_leads_to_a_model_that_the_key_may_not_call(two, allowed, asked):
    client = two.ask(chat(), key=key_for(*allowed))
    two.last.answers({"error": {"message": "down"}}, status=503)
    assert [one.origin.host for one in two.upstreams.sent] == asked
    if asked == ["one.example"]:
        assert client.answers[0][0] == 502


# ---- what a request may cost ---------------------------------------------------------------------


async def test_a_compressed_request_reserves_for_what_it_says_and_not_for_its_bytes():
    counted = Counted()
    one = rig(WITHOUT_KEY, limits=counted)
    request = chat(messages=[{"role": "user", "content": "a" * 100_000}], max_tokens=1)
    one.ask(request, key=key_for(rows=(7,)))
    one.ask(request, key=key_for(rows=(7,)), headers=[GZIPPED])
    await one.sent(2)
    assert one.upstreams.sent[0].body == one.upstreams.sent[1].body
    assert counted.reserved[0] == counted.reserved[1]
    assert counted.reserved[0][1] > 100_000 // 4


async def test_what_compressed_requests_say_counts_as_held_until_they_are_answered():
    one = rig(WITHOUT_KEY)
    large = chat(messages=[{"role": "user", "content": "a" * 600_000}])  # of a million bytes
    first = one.ask(large, headers=[GZIPPED])
    await one.sent(1)
    second = one.ask(large, headers=[GZIPPED])
    refused = asyncio.Event()
    second.on_reply = refused.set
    await refused.wait()
    await one.turn()
    assert (second.answers[0][0], len(one.upstreams.sent)) == (503, 1)
    one.last.answers()
    assert first.answers[0][0] == 200
    third = one.ask(large, headers=[GZIPPED])
    await one.sent(2)
    third.leave()
    one.ask(large, headers=[GZIPPED])
    await one.sent(3)


async def test_whoever_leaves_is_charged_for_what_was_sent_and_for_what_came():
    counted = Counted()
    one = rig(WITHOUT_KEY, limits=counted)
    for stream in (False, True):
        client = one.ask(chat(stream=stream), key=key_for(rows=(7,)))
        if stream:
            one.last.streams(chunk({"content": "x" * 400}), end=False)
        client.leave()
        assert one.last.cancelled
    (_, _, whole_tokens), (_, _, streamed_tokens) = counted.ends
    assert [end[0] for end in counted.ends] == ["settled", "settled"]
    assert 0 < whole_tokens < streamed_tokens - 90


async def test_a_dearer_service_tier_is_reserved_and_charged_streamed_or_not():
    counted = Counted()
    one = rig(WITHOUT_KEY.replace("gpt-4o-mini", "gpt-4.1"), limits=counted)
    for tier in ({}, {"service_tier": "priority"}):
        one.ask(chat(max_tokens=9, **tier), key=key_for(rows=(7,)))
        one.last.answers(whole(**tier))
        one.ask(chat(max_tokens=9, stream=True, **tier), key=key_for(rows=(7,)))
        one.last.streams(chunk({"content": "a"}, **tier), chunk({}, "stop", **tier))
        one.ask(chat(max_tokens=9, stream=True, **tier), key=key_for(rows=(7,)))
        told = chunk(usage=USAGE, **tier)
        one.last.streams(chunk({"content": "a"}, **tier), chunk({}, "stop"), told, b"[DONE]")
    usual, _, usual_streamed, dear, _, dear_streamed = [end[1] for end in counted.ends]
    # 10 tokens read and 5 written, at 2 and 8 dollars a million, and at 3.50 and 14
    assert usual == usual_streamed == 60_000_000
    assert dear == dear_streamed == 105_000_000
    assert counted.reserved[3][0] > counted.reserved[0][0]


@pytest.mark.parametrize(
    "phase", ["unsent", "before-the-head", "in-the-body", "status", "no-json", "error-in-a-200"]
)
async def test_wherever_an_upstream_fails_all_that_was_reserved_is_given_back_once(phase):
    counted = Counted()
    one = rig(WITHOUT_KEY, limits=counted)
    client = one.ask(chat("n"), key=key_for(rows=(7,)))
    for _ in range(3):
        sink, before = one.last.sink, len(one.upstreams.sent)
        if phase == "status":
            one.last.answers({"error": {"message": "down"}}, status=503)
        elif phase == "no-json":
            sink.on_head(200, JSON)
            sink.on_data(b"<html>")
            sink.on_end()
        elif phase == "error-in-a-200":
            one.last.answers({"error": {"message": "overloaded", "code": "overloaded"}})
        else:
            if phase == "in-the-body":
                sink.on_head(200, JSON)
                sink.on_data(b'{"id"')
            sent = phase != "unsent"
            sink.on_failure(UpstreamFailed("x"), sent=sent, answered=phase == "in-the-body")
        if client.answers:
            break
        await one.sent(before + 1)
    assert client.answers[0][0] == 502
    assert counted.ends == [("released", 0, 0)]
    assert len(counted.reserved) == 1


@pytest.mark.parametrize("first", [False, True], ids=["later", "at-first"])
async def test_a_mistake_of_the_gateways_own_answers_its_request_and_keeps_nothing(first):
    counted = Counted()
    one = rig(WITHOUT_KEY, limits=counted)
    if first:
        one.upstreams.broken = True
    client = one.ask(chat(), key=key_for(rows=(7,)))
    if not first:
        one.upstreams.broken = True
        one.last.sink.on_failure(UpstreamFailed("x"), sent=True, answered=False)
    assert client.answers[0][0] == 500
    assert counted.ends[-1] == ("released", 0, 0)
    assert len(counted.ends) == len(counted.reserved)
    assert [it.result for it in one.over] == ["failed"]
    assert "mistake" not in json.dumps(client.answers)


async def test_a_stream_cut_after_its_last_word_is_paid_and_told_as_broken():
    counted = Counted()
    one = rig(WITHOUT_KEY, limits=counted)
    client = one.ask(chat(stream=True), key=key_for(rows=(7,)))
    one.last.streams(chunk({"content": "four"}), chunk({}, "stop"), end=False)
    one.last.sink.on_failure(UpstreamFailed("cut"), sent=True, answered=True)
    assert b'"upstream_failed"' in client.streamed.data
    assert client.streamed.ended
    assert [end[0] for end in counted.ends] == ["settled"]
    assert len(one.upstreams.sent) == 1


# ---- what an upstream says -----------------------------------------------------------------------


async def test_a_key_is_cut_out_of_whatever_an_upstream_says(two):
    client = two.ask(chat("n"))  # of the other provider, which has no key
    two.last.answers(whole(KEY))
    assert KEY in json.dumps(client.answers)
    client = two.ask(chat())
    two.last.answers(whole(f"your key is {KEY}"))
    assert KEY not in json.dumps(client.answers)
    client = two.ask(chat())
    two.last.answers({"error": {"message": f"no model for {KEY}"}}, status=400)
    assert client.answers == [(400, {"error": {"message": "no model for [key]"}})]
    client = two.ask(chat(stream=True))
    two.last.streams(chunk({"content": "a"}), {"error": {"message": f"bad {KEY}"}})
    assert client.streamed.ended
    assert b"[key]" in client.streamed.data
    assert KEY.encode() not in client.streamed.data


@pytest.mark.parametrize("kind", [UpstreamFailed, UpstreamTimedOut])
async def test_where_an_upstream_is_is_told_to_nobody(two, kind):
    client = two.ask(chat("n"))
    for _ in range(3):
        error = kind("http://other.example: other.example: Connection refused")
        two.last.sink.on_failure(error, sent=False, answered=False)
        assert "other.example" in str(error)  # it is the others' as well
        if client.answers:
            break
        await two.sent(len(two.upstreams.sent) + 1)
    [(status, answer)] = client.answers
    assert (status, answer["error"]["code"]) == (kind.status, kind.code)
    assert "Connection refused" in answer["error"]["message"]
    assert "upstream 'other/gpt-4o-mini'" in answer["error"]["message"]
    assert "other.example" not in json.dumps(answer)


async def test_a_page_that_is_no_error_of_any_api_is_not_told_as_one(two):
    client = two.ask(chat())
    two.last.sink.on_head(400, [(b"content-type", b"text/html")])
    two.last.sink.on_data(b"<html>internal-proxy.corp</html>")
    two.last.sink.on_end()
    [(status, answer)] = client.answers
    assert (status, answer["error"]["code"]) == (400, "upstream_refused")
    assert "internal-proxy" not in json.dumps(answer)


@pytest.mark.parametrize("name", [b"x-request-id", b"request-id", b"apim-request-id"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_an_upstreams_request_id_is_told_under_a_name_of_ours(two, name, stream):
    client = two.ask(chat(stream=stream))
    extra = [(name, b"req_42"), (b"set-cookie", b"a=b"), (b"server", b"them")]
    two.last.sink.on_head(200, [*(EVENTS if stream else JSON), *extra])
    if stream:
        two.last.sends(chunk({"content": "a"}), chunk({}, "stop"), b"[DONE]")
    else:
        two.last.sink.on_data(json.dumps(whole()).encode())
    two.last.sink.on_end()
    assert client.told[b"penstock-upstream-request-id"] == b"req_42"
    assert not {b"set-cookie", b"server"} & client.told.keys()


@pytest.mark.parametrize("value", [b"a" * 129, b"a b", b"caf\xc3\xa9", b""])
async def test_what_is_no_id_is_told_under_no_name(two, value):
    client = two.ask(chat())
    two.last.sink.on_head(200, [*JSON, (b"x-request-id", value)])
    two.last.sink.on_data(json.dumps(whole()).encode())
    two.last.sink.on_end()
    assert b"penstock-upstream-request-id" not in client.told


# ---- streams that break --------------------------------------------------------------------------


@pytest.mark.parametrize("usage", [False, True], ids=["usage-hidden", "usage-told"])
@pytest.mark.parametrize(
    "last", [b"", b'data: {"id": "c', b"data", b'data: {"choices": []}\n', b"data: {}\r\n\r"]
)
async def test_an_error_in_a_stream_is_an_event_of_its_own_wherever_the_stream_was_cut(
    two, last, usage
):
    client = two.ask(chat(stream=True, stream_options={"include_usage": usage}))
    two.last.streams(chunk({"content": "four"}), end=False)
    two.last.sink.on_data(last)
    two.last.sink.on_failure(UpstreamFailed("cut"), sent=True, answered=True)
    events = client.streamed.data.decode().split("\n\n")
    assert events.pop() == ""
    told = [json.loads(one.removeprefix("data: ")) for one in events]
    assert told[-1]["error"]["code"] == "upstream_failed"
    assert told[0]["choices"][0]["delta"]["content"] == "four"


async def test_an_error_that_the_upstream_tells_in_mid_stream_is_told_once(two):
    client = two.ask(chat(stream=True))
    two.last.streams(chunk({"content": "four"}), {"error": {"message": "gone", "code": "x"}})
    assert client.streamed.data.count(b'"error"') == 1
    assert client.streamed.ended
    assert two.over[0].result == "broken"


async def test_half_an_event_is_passed_on_once_it_is_whole(two):
    client = two.ask(chat(stream=True, stream_options={"include_usage": True}))
    pieces = [
        chunk({"content": "a"}),
        chunk({"content": "b"}),
        chunk({}, "stop"),
        chunk(usage=USAGE),
    ]
    data = b"".join(b"data: %b\r\n\r\n" % json.dumps(one).encode() for one in pieces)
    data += b"data: [DONE]\r\n\r\n"
    two.last.sink.on_head(200, EVENTS)
    for at in range(0, len(data), 7):
        two.last.sink.on_data(data[at : at + 7])
    two.last.sink.on_end()
    assert client.streamed.data == data
    assert all(piece.endswith(b"\r\n\r\n") for piece in client.streamed.pieces if piece)


# ---- routes --------------------------------------------------------------------------------------


async def test_a_variant_that_a_client_asks_for_is_no_reason_to_fail_at_another_model(monkeypatch):
    monkeypatch.setenv("CANARY_KEY", KEY)
    splits = {
        name: Split((Variant(variant, 1, 1.0),), override_header="x-want")
        for name, variant in (("m", "old"), ("n", "new"))
    }
    one = rig(TWO, splits)
    client = one.ask(chat(), headers=[(b"x-want", b"old")])
    one.last.answers({"error": {"message": "down"}}, status=503)
    one.last.answers()
    assert client.answers == [(200, whole())]
    assert client.told[b"penstock-variant"] == b"new"
    with pytest.raises(InvalidParameter):
        one.ask(chat(), headers=[(b"x-want", b"nobody")])


async def test_what_metadata_says_decides_nothing_unless_a_route_asks_for_it(two):
    forged = {"penstock": {"key": "admin"}, "user_api_key": "admin", "tags": ["free"], "x": "n"}
    two.ask(chat(metadata=forged))
    assert two.last.origin.host == "one.example"
    assert two.last.body["metadata"] == forged


# ---- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.0.0.1"),
        *("169.254.169.254", "0xa9fea9fe", "10.0.0.1", "100.64.0.1", "0.0.0.0", "0"),
        *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[fd00:ec2::254]", "[fe80::1]"),
    ],
)
async def test_a_private_address_is_never_asked_however_it_is_written_unless_that_is_allowed(host):
    document = (
        f'llm: {{providers: {{p: {{base_url: "http://{host}/v1", allow_private: ALLOWED}}}},'
        " models: {m: {upstreams: [{provider: p, model: x}]}}}"
    )
    refused = rig(document.replace("ALLOWED", "false"))
    [(status, body)] = refused.ask(chat()).answers
    assert (status, refused.upstreams.sent) == (503, [])
    assert "not a public address" in body["error"]["message"]
    allowed = rig(document.replace("ALLOWED", "true"))
    allowed.ask(chat())
    assert len(allowed.upstreams.sent) == 1


async def test_an_address_is_looked_at_whenever_its_name_is_asked_for_again():
    answers = [["93.184.216.34"], ["127.0.0.1"], ["93.184.216.34", "169.254.169.254"]]
    now = [0.0]

    async def look_up(host: str, port: int) -> list[str]:
        return answers.pop(0)

    loop = asyncio.get_running_loop()
    connector = Connector(loop, Names(look_up, loop, lambda: now[0]))
    origin = Origin("https", "provider.example", 443)
    assert await connector.allowed(origin) == ["93.184.216.34"]
    now[0] += REMEMBERED_S + 1.0
    with pytest.raises(UpstreamFailed, match="not a public one"):
        await connector.allowed(origin)
    now[0] += REMEMBERED_S + 1.0
    # What is connected to is an address that was looked at, never the name.
    assert await connector.allowed(origin) == ["93.184.216.34"]


# ---- headers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("authorization", "cookie", "x-api-key", "api-key", "x-goog-api-key", "host"),
        *("proxy-authorization", "connection", "keep-alive", "te", "trailer", "upgrade"),
        *("transfer-encoding", "content-length", "content-type", "content-encoding", "expect"),
        *("accept-encoding", "proxy-connection"),
    ],
)
def test_no_document_has_such_a_header_passed_on(name):
    provider = f'{{base_url: "http://a.example/v1", forward_headers: [{name}]}}'
    with pytest.raises(ConfigInvalid, match="never passed on"):
        parse(f"llm: {{providers: {{p: {provider}}}}}")


def test_no_caller_can_say_a_header_again_that_the_document_says():
    with pytest.raises(ConfigInvalid, match="openai-organization"):
        parse(
            'llm: {providers: {p: {base_url: "http://a.example/v1",'
            " headers: {openai-organization: org-a}, forward_headers: [openai-organization]}}}"
        )


async def test_only_headers_that_the_document_names_are_passed_on():
    one = rig(
        'llm: {providers: {p: {base_url: "http://a.example/v1", forward_headers: [x-team]}},'
        " models: {m: {upstreams: [{provider: p, model: x}]}}}"
    )
    one.ask(chat(), headers=[(b"x-team", b"red"), (b"x-other", b"1"), (b"cookie", b"a=b")])
    assert b"\r\nx-team: red\r\n" in one.last.head
    assert b"x-other" not in one.last.head
    assert b"cookie" not in one.last.head


# ---- what a worker holds -------------------------------------------------------------------------


async def test_a_request_takes_no_task(two):
    before = asyncio.all_tasks()
    client = two.ask(chat())
    assert asyncio.all_tasks() == before
    two.last.answers()
    assert client.answers
    assert asyncio.all_tasks() == before


async def test_requests_that_are_over_leave_nothing_behind(two):
    def ask(number: int) -> None:
        client = two.ask(
            chat("m" if number % 2 else "n", stream=number % 3 == 0, user=f"u{number}")
        )
        if number % 3 == 0:
            two.last.streams(chunk({"content": "a"}), end=False)
            client.leave() if number % 2 else two.last.sends(chunk({}, "stop"), b"[DONE]")
            if not number % 2:
                two.last.sink.on_end()
        else:
            two.last.answers()
        two.upstreams.sent.clear()
        two.over.clear()
        for counting in two.counting.values():
            counting.told.clear()

    counts = []
    for _ in range(3):
        for number in range(300):
            ask(number)
        two.llm.mark()
        gc.collect()
        counts.append(len(gc.get_objects()))
    assert counts[2] - counts[1] < 300


def test_importing_and_pricing_ask_nobody_over_the_network():
    code = (
        "import sys\n"
        "def refuse(event, arguments):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo', 'socket.gethostbyname'):\n"
        "        raise SystemExit(f'{event}: {arguments}')\n"
        "sys.addaudithook(refuse)\n"
        "import gateway.llm.models\n"
        "from gateway.llm import price_map\n"
        "assert price_map.prices().of('openai', 'gpt-4o-mini')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_makes_code_of_text():
    engines = {"jinja2", "mako", "chevron", "pickle", "marshal", "shelve", "code"}
    found = []
    for file in sorted((ROOT / "gateway").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="eval" | "exec" | "compile" | "__import__")):
                    found.append(f"{file}:{node.lineno}")
                case ast.Import(names=names):
                    found += [f"{file}: {one.name}" for one in names if one.name in engines]
                case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in engines:
                    found.append(f"{file}: {module}")
    assert found == []


def test_no_setting_names_something_to_run():
    def names(schema: Any) -> set[str]:
        if isinstance(schema, list):
            return set().union(*map(names, schema))
        if not isinstance(schema, dict):
            return set()
        own = schema.get("properties", {})
        return set(own if isinstance(own, dict) else ()) | names(list(schema.values()))

    settings = names(Config.model_json_schema())
    assert {"base_url", "api_key_file", "forward_headers"} <= settings
    words = re.compile(
        r"command|exec|script|callback|plugin|import|module|entry_?point|hook|shell|python"
    )
    assert [name for name in sorted(settings) if words.search(name)] == []


# ---- the page ------------------------------------------------------------------------------------


def test_every_row_of_the_page_names_tests_that_there_are():
    there = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    named = [set(re.findall(r"`(test_\w+)`", row)) for row in rows]
    assert set().union(*named) - there == set()
    bare = [row.split("|")[1].strip() for row, tests in zip(rows, named, strict=True) if not tests]
    headings = ["what has happened elsewhere", "what has hurt"]
    assert bare == [headings[0], "one tenant got another's answer from a cache", headings[1]]


def test_the_page_names_every_test_that_is_about_it():
    files = [
        *(ROOT / "tests" / "end_to_end").glob("test_llm_security.py"),
        *(ROOT / "tests" / "end_to_end").glob("test_llm_pains.py"),
        Path(__file__),
    ]
    promised = {
        name
        for file in files
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    told = set(re.findall(r"`(test_\w+)`", PAGE))
    assert promised - told == {
        "test_every_row_of_the_page_names_tests_that_there_are",
        "test_the_page_names_every_test_that_is_about_it",
    }

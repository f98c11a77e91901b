"""`penstock doctor` and `config check` say why a provider of language models would not answer."""

from __future__ import annotations

import pytest

from gateway.cli.findings import Case
from gateway.cli.providers import _is_called, _models, check_prices, check_providers, doubts
from gateway.config import Config
from gateway.llm.fake.embeddings import MODELS
from gateway.llm.fake.server import FakeProvider
from loadtest.servers import free_port


@pytest.fixture(scope="module")
def fake():
    with FakeProvider() as started:
        yield started


def llm(models=None, prices=None, **providers):
    models = models or {
        "m": {"upstreams": [{"provider": next(iter(providers)), "model": MODELS[0]}]}
    }
    return {"llm": {"providers": providers, "models": models, "prices": prices or {}}}


def found(check, tmp_path, **document):
    return [
        (one.state, f"{one.found} -> {one.advice}")
        for one in check(Case(Config.model_validate(document), tmp_path))
    ]


@pytest.mark.parametrize("kind", ["openai", "anthropic", "azure"])
def test_a_provider_that_knows_the_key_is_well(fake, tmp_path, kind):
    file = tmp_path / "key"
    file.write_text("right\n")
    place = {"base_url": fake.url("key=right", "/v1" if kind == "openai" else "")}
    place |= {"kind": kind, "api_key_file": str(file), "allow_private": True}
    ((state, said),) = found(check_providers, tmp_path, **llm(p=place))
    assert state == "ok", said
    assert "takes its key" in said


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_key_that_is_refused_is_told(fake, tmp_path, kind):
    file = tmp_path / "key"
    file.write_text("wrong\n")
    place = {"base_url": fake.url("key=right", "/v1" if kind == "openai" else "")}
    place |= {"kind": kind, "api_key_file": str(file), "allow_private": True}
    ((state, said),) = found(check_providers, tmp_path, **llm(p=place))
    assert state == "fail"
    assert "refuses its key (401)" in said
    assert "wrong" not in said


def test_a_key_that_is_nowhere_is_told_with_where_it_was_looked_for(fake, tmp_path):
    place = {"base_url": fake.url(), "api_key_env": "NO_SUCH_KEY", "allow_private": True}
    ((state, said),) = found(check_providers, tmp_path, **llm(p=place))
    assert state == "fail"
    assert "llm.providers.p: variable NO_SUCH_KEY: expected a key, found none" in said


def test_what_is_at_a_private_address_must_be_allowed(fake, tmp_path):
    place = {"base_url": fake.url("name=hidden")}
    ((state, said),) = found(check_providers, tmp_path, **llm(p=place))
    assert state == "fail"
    assert "allow_private: true" in said
    assert list(fake.named("hidden")) == []


def test_one_that_is_not_there_is_told(tmp_path):
    port = free_port()
    place = {"base_url": f"http://127.0.0.1:{port}/v1", "allow_private": True}
    ((state, said),) = found(check_providers, tmp_path, **llm(p=place))
    assert state == "fail"
    assert f"http://127.0.0.1:{port}" in said


def test_a_wrong_path_is_doubted(fake, tmp_path):
    place = {"base_url": fake.url("status=404"), "allow_private": True}
    ((state, said),) = found(check_providers, tmp_path, **llm(p=place))
    assert state == "warn"
    assert "does base_url end where" in said


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_model_that_its_provider_does_not_list_is_told_with_those_that_it_does(
    fake, tmp_path, kind
):
    place = {"base_url": fake.url("", "/v1" if kind == "openai" else "")}
    place |= {"kind": kind, "allow_private": True}
    upstreams = [{"provider": "p", "model": name} for name in (MODELS[0], "gtp-4o")]
    (ok, (state, said)) = found(
        check_providers, tmp_path, **llm({"m": {"upstreams": upstreams}}, p=place)
    )
    assert (ok[0], state) == ("ok", "warn")
    assert said.startswith(f"p does not list 'gtp-4o' (m version 1); it has {MODELS[0]}")


@pytest.mark.parametrize(
    ("listed", "model", "meant"),
    [
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5", True),
        ("llama3:latest", "llama3", True),
        ("models/gemini-2.0-flash", "gemini-2.0-flash", True),
        ("gpt-4o", "gpt-4", False),
        ("gpt-4o", "gpt-4o-mini", False),
    ],
)
def test_a_list_may_say_more_than_a_name(listed, model, meant):
    assert _is_called(listed, model) is meant


@pytest.mark.parametrize(
    ("body", "models"),
    [
        (b'{"data": [{"id": "a"}, {"id": "b"}]}', ("a", "b")),
        (b'{"data": [{"id": "a"}], "has_more": true}', ()),
        (b'{"data": [{"id"', ()),
        (b"[]", ()),
        (b'{"data": null}', ()),
    ],
)
def test_what_is_no_whole_list_of_models_says_nothing(body, models):
    assert _models(body) == models


def test_what_nobody_knows_the_price_of_is_named(tmp_path):
    upstreams = [
        {"provider": "p", "model": "gpt-4o-mini"},
        {"provider": "p", "model": "llama"},
        {"provider": "p", "model": "free", "price": {}},
    ]
    document = llm({"m": {"upstreams": upstreams}}, p={"base_url": "https://api.openai.com/v1"})
    ((state, said),) = found(check_prices, tmp_path, **document)
    assert state == "warn"
    assert "m version 1: 'p/llama' is unpriced" in said


def test_an_azure_address_that_has_a_deployments_path_already_is_told(tmp_path):
    place = {"kind": "azure", "base_url": "https://x.openai.azure.com/openai/deployments/d"}
    ((what, _),) = doubts(Config.model_validate(llm(p=place)).llm)
    assert what.endswith("/openai/deployments/d has the /openai that requests bring themselves")


def test_what_can_be_seen_without_asking_is_told_when_a_document_is_checked(tmp_path):
    place = {"base_url": "http://10.0.0.5:8000", "api_key_env": "NO_SUCH_KEY"}
    document = llm(p=place, prices={"file": str(tmp_path / "none.json")})
    said = [f"{what}: {advice}" for what, advice in doubts(Config.model_validate(document).llm)]
    expected = ("NO_SUCH_KEY", "allow_private: true", "has no path", "none.json")
    for line, words in zip(said, expected, strict=True):
        assert words in line

"""LiteLLM's configurations, and what they come to here."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from gateway import config, yaml_text
from gateway.cli import main
from gateway.cli.litellm import Converted, converted

ENVIRONMENT = {"AZURE_API_BASE": "https://east.openai.azure.com/", "OPENAI_API_KEY": "sk-CANARY"}


def convert(text: str) -> Converted:
    """Of a document that ours takes as it comes out."""
    values, faults = yaml_text.read(text, "config.yaml")
    assert faults == []
    found = converted(values, ENVIRONMENT)
    config.parse(yaml_text.write(found.document))
    return found


def llm(text: str) -> dict[str, Any]:
    found: dict[str, Any] = convert(text).document["llm"]
    return found


def left_out(text: str) -> list[str]:
    return [one.path for one in convert(text).left_out]


def upstreams(text: str, model: str = "m") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = llm(text)["models"][model]["upstreams"]
    return found


def model(params: str, name: str = "m", more: str = "") -> str:
    return f"model_list: [{{model_name: {name}, litellm_params: {{{params}}}{more}}}]"


# ---- a whole document ----


WHOLE = """
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: azure/my-gpt4o
      api_base: os.environ/AZURE_API_BASE
      api_key: os.environ/AZURE_API_KEY
      api_version: 2024-02-01
  - model_name: gpt-4o
    litellm_params: {model: gpt-4o, api_key: os.environ/OPENAI_API_KEY}
  - model_name: claude
    litellm_params: {model: anthropic/claude-sonnet-4-5, api_key: os.environ/ANTHROPIC_API_KEY}
router_settings:
  routing_strategy: latency-based-routing
  num_retries: 3
  allowed_fails: 3
  cooldown_time: 30
  model_group_alias: {gpt-4: gpt-4o}
litellm_settings:
  fallbacks: [{gpt-4o: [claude]}]
  context_window_fallbacks: [{gpt-4o: [claude]}]
  drop_params: true
general_settings: {master_key: os.environ/MASTER_KEY}
"""


def test_a_usual_document_is_carried_over():
    shared = {
        "order": "least_latency",
        "retries": {"attempts": 3},
        "breaker": {"in_a_row": 4, "open_s": 30.0, "max_open_s": 120.0},
        "unsupported": "drop",
    }
    assert convert(WHOLE).document == {
        "access": {"data": "keys"},
        "llm": {
            "providers": {
                "azure": {
                    "kind": "azure",
                    "base_url": "https://east.openai.azure.com",
                    "api_key_env": "AZURE_API_KEY",
                    "api_version": "2024-02-01",
                },
                "openai": {
                    "kind": "openai",
                    "base_url": "https://api.openai.com/v1",
                    "api_key_env": "OPENAI_API_KEY",
                },
                "anthropic": {
                    "kind": "anthropic",
                    "base_url": "https://api.anthropic.com",
                    "api_key_env": "ANTHROPIC_API_KEY",
                },
            },
            "models": {
                "gpt-4o": {
                    "aliases": ["gpt-4"],
                    "upstreams": [
                        {"provider": "azure", "model": "my-gpt4o"},
                        {"provider": "openai", "model": "gpt-4o"},
                    ],
                    **shared,
                    "fallbacks": ["claude"],
                    "context_window_fallbacks": ["claude"],
                },
                "claude": {
                    "upstreams": [{"provider": "anthropic", "model": "claude-sonnet-4-5"}],
                    **shared,
                },
            },
        },
    }
    assert left_out(WHOLE) == ["general_settings.master_key"]


# ---- providers ----


@pytest.mark.parametrize(
    ("params", "provider"),
    [
        pytest.param(
            "model: gpt-4o",
            {
                "kind": "openai",
                "base_url": "https://api.openai.com/v1",
                "api_key_env": "OPENAI_API_KEY",
            },
            id="bare-openai",
        ),
        pytest.param(
            "model: claude-opus-4-5",
            {
                "kind": "anthropic",
                "base_url": "https://api.anthropic.com",
                "api_key_env": "ANTHROPIC_API_KEY",
            },
            id="bare-anthropic",
        ),
        pytest.param(
            "model: groq/llama-3.3-70b-versatile, api_key: os.environ/MY_GROQ",
            {
                "kind": "openai",
                "base_url": "https://api.groq.com/openai/v1",
                "api_key_env": "MY_GROQ",
            },
            id="openai-shaped",
        ),
        pytest.param(
            "model: openai/llama, api_base: 'http://10.0.0.5:8000/v1/', api_key: none",
            {"kind": "openai", "base_url": "http://10.0.0.5:8000/v1", "allow_private": True},
            id="own-server",
        ),
        pytest.param(
            "model: hosted_vllm/qwen, api_base: 'http://vllm:8000/v1'",
            {"kind": "openai", "base_url": "http://vllm:8000/v1", "allow_private": True},
            id="a-container-beside",
        ),
        pytest.param(
            "model: ollama_chat/llama3, api_base: 'http://localhost:11434'",
            {"kind": "openai", "base_url": "http://localhost:11434/v1", "allow_private": True},
            id="ollama",
        ),
        pytest.param(
            "model: azure/d, api_base: 'https://x.openai.azure.com/openai/deployments/d'",
            {
                "kind": "azure",
                "base_url": "https://x.openai.azure.com",
                "api_key_env": "AZURE_API_KEY",
            },
            id="azure-with-a-path",
        ),
        pytest.param(
            "model: llama, custom_llm_provider: openai, api_base: 'https://llm.example/v1'",
            {"kind": "openai", "base_url": "https://llm.example/v1"},
            id="a-provider-said-apart",
        ),
        pytest.param(
            "model: gpt-4o, timeout: 20, stream_idle_timeout: 5",
            {
                "kind": "openai",
                "base_url": "https://api.openai.com/v1",
                "api_key_env": "OPENAI_API_KEY",
                "timeouts": {"total_s": 20.0, "idle_s": 5.0},
            },
            id="times",
        ),
        pytest.param(
            "model: gpt-4o, timeout: 900",
            {
                "kind": "openai",
                "base_url": "https://api.openai.com/v1",
                "api_key_env": "OPENAI_API_KEY",
                "timeouts": {"total_s": 900.0, "first_byte_s": 900.0},
            },
            id="a-long-time-for-answers-that-are-not-streamed",
        ),
    ],
)
def test_a_deployment_names_its_provider(params, provider):
    assert list(llm(model(params))["providers"].values()) == [provider]


def test_a_providers_own_key_is_sent_to_no_other_address():
    (provider,) = llm(model("model: openai/x, api_base: 'https://other.example/v1'"))[
        "providers"
    ].values()
    assert "api_key_env" not in provider


def test_deployments_of_one_provider_share_it_and_others_are_told_apart():
    at = "api_base: 'https://%s.example', api_key: os.environ/%s"
    entries = [("a", "azure/x", "east", "E"), ("b", "azure/y", "east", "E")]
    text = "model_list:\n" + "\n".join(
        f"  - {{model_name: {name}, litellm_params: {{model: {deployment}, {at % (place, key)}}}}}"
        for name, deployment, place, key in [*entries, ("b", "azure/y", "west", "W")]
    )
    found = llm(text)
    assert {name: one["base_url"] for name, one in found["providers"].items()} == {
        "azure": "https://east.example",
        "azure-2": "https://west.example",
    }
    assert [one["provider"] for one in found["models"]["b"]["upstreams"]] == ["azure", "azure-2"]


@pytest.mark.parametrize(
    ("params", "path"),
    [
        pytest.param("model: bedrock/anthropic.claude-3", "model", id="no-such-provider"),
        pytest.param("model: some-model", "model", id="nobodys-model"),
        pytest.param("model: azure/x", "api_base", id="no-address"),
        pytest.param("model: azure/x, api_base: os.environ/NOT_SET", "api_base", id="not-set"),
        pytest.param(
            "model: openai/x, api_base: 'https://u:CANARY@h/v1'", "api_base", id="credentials"
        ),
        pytest.param("model: openai/x, api_base: 'https://h/?k=CANARY'", "api_base", id="query"),
        pytest.param("model: openai/x, api_base: 'https://h:x/'", "api_base", id="port"),
        pytest.param("model: openai/x, api_base: 'https://[h/'", "api_base", id="brackets"),
        pytest.param("model: openai/x, api_base: 'unix:/x'", "api_base", id="scheme"),
    ],
)
def test_a_deployment_that_cannot_be_asked_is_left_out_with_why(params, path):
    found = convert(model(params))
    assert found.document["llm"]["models"] == {}
    assert f"model_list[0].litellm_params.{path}" in [one.path for one in found.left_out]
    assert "CANARY" not in repr(found)


def test_a_key_in_the_document_is_told_with_the_variable_that_it_belongs_in():
    found = convert(model("model: gpt-4o, api_key: sk-CANARY"))
    assert found.document["llm"]["providers"]["openai"]["api_key_env"] == "OPENAI_API_KEY"
    (told,) = found.left_out
    assert told.path == "model_list[0].litellm_params.api_key"
    assert "$OPENAI_API_KEY" in told.why
    assert "CANARY" not in repr(found)


# ---- upstreams ----


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        pytest.param("weight: 0.7", {"weight": 0.7}, id="weight"),
        pytest.param("rpm: 600, tpm: 100000", {"weight": 600.0}, id="requests-a-minute"),
        pytest.param("tpm: 100000", {"weight": 100000.0}, id="tokens-a-minute"),
        pytest.param("order: 2", {"priority": 2}, id="order"),
        pytest.param("max_parallel_requests: 9", {"max_parallel": 9}, id="parallel"),
        pytest.param(
            "input_cost_per_token: 1e-6, output_cost_per_token: 0.000002",
            {"price": {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06}},
            id="price",
        ),
        pytest.param(
            "base_model: azure/gpt-4o", {"priced_as": "azure/gpt-4o"}, id="whose-price-it-has"
        ),
    ],
)
def test_what_a_deployment_may_have_is_carried_over(params, expected):
    (found,) = upstreams(model(f"model: gpt-4o, {params}"))
    assert found == {"provider": "openai", "model": "gpt-4o"} | expected


def test_one_that_tells_no_weight_is_asked_last_where_others_tell_one():
    text = """
model_list:
  - {model_name: m, litellm_params: {model: gpt-4o, weight: 3}}
  - {model_name: m, litellm_params: {model: gpt-4o-mini, rpm: 100}}
"""
    assert [one["weight"] for one in upstreams(text)] == [3.0, 0.0]


def test_one_that_tells_no_order_comes_after_those_that_do():
    text = """
model_list:
  - {model_name: m, litellm_params: {model: gpt-4o}}
  - {model_name: m, litellm_params: {model: gpt-4o-mini, order: 1}}
"""
    assert [one["priority"] for one in upstreams(text)] == [2, 1]


def test_twins_are_told_apart():
    text = """
model_list:
  - {model_name: m, litellm_params: {model: gpt-4o}}
  - {model_name: m, litellm_params: {model: gpt-4o}}
"""
    assert [one.get("name") for one in upstreams(text)] == [None, "openai/2/gpt-4o"]


def test_defaults_of_all_deployments_hold_where_they_say_nothing_else():
    text = model("model: openai/x, api_key: os.environ/K") + (
        "\nrouter_settings: {default_litellm_params: {api_base: 'https://llm.example/v1'}}"
    )
    (provider,) = llm(text)["providers"].values()
    assert provider["base_url"] == "https://llm.example/v1"


def test_the_longest_answer_is_the_shortest_of_its_deployments():
    more = ", model_info: {max_output_tokens: %d}"
    text = model("model: gpt-4o", more=more % 4096)
    text = text[:-1] + ", " + model("model: gpt-4o-mini", more=more % 1024)[len("model_list: [") :]
    assert llm(text)["models"]["m"]["max_output_tokens"] == 1024


# ---- names ----


def test_a_name_that_ours_may_not_have_is_an_alias():
    found = llm(model("model: claude-opus-4-5", name="anthropic/claude"))
    assert found["models"]["anthropic-claude"]["aliases"] == ["anthropic/claude"]


@pytest.mark.parametrize("name", ["'*'", "'openai/*'", "''"])
def test_a_name_for_any_model_is_left_out(name):
    assert left_out(model("model: gpt-4o", name=name)) == ["model_list[0].model_name"]


def test_aliases_of_models_that_are_not_there_or_taken_are_left_out():
    text = model("model: gpt-4o", name="a") + (
        "\nrouter_settings: {model_group_alias: {x: a, a: a, y: none, z: {model: a, hidden: true}}}"
    )
    found = convert(text)
    assert found.document["llm"]["models"]["a"]["aliases"] == ["x", "z"]
    assert [one.path for one in found.left_out] == [
        "router_settings.model_group_alias.a",
        "router_settings.model_group_alias.y",
        "router_settings.model_group_alias.z",
    ]


# ---- settings for all ----


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("router_settings: {routing_strategy: simple-shuffle}", {"order": "weighted"}),
        ("router_settings: {routing_strategy: least-busy}", {"order": "least_busy"}),
        ("router_settings: {routing_strategy: cost-based-routing}", {"order": "cheapest"}),
        ("litellm_settings: {num_retries: 0}", {"retries": {"attempts": 0}}),
        ("router_settings: {num_retries: 99}", {"retries": {"attempts": 10}}),
        ("router_settings: {retry_after: 20}", {"retries": {"base_s": 20.0, "max_s": 20.0}}),
        ("litellm_settings: {allowed_fails: 0}", {"breaker": {"in_a_row": 1}}),
        (
            "router_settings: {cooldown_time: 600}",
            {"breaker": {"open_s": 600.0, "max_open_s": 600.0}},
        ),
        ("router_settings: {disable_cooldowns: true}", {"breaker": {"enabled": False}}),
        ("litellm_settings: {drop_params: false}", {"unsupported": "refuse"}),
        (
            "router_settings: {num_retries: 1}\nlitellm_settings: {num_retries: 7}",
            {"retries": {"attempts": 1}},
        ),
    ],
)
def test_settings_for_all_become_those_of_each_version(settings, expected):
    found = convert(f"{model('model: gpt-4o')}\n{settings}")
    (own,) = found.document["llm"]["models"].values()
    assert own == {"upstreams": [{"provider": "openai", "model": "gpt-4o"}]} | expected
    assert found.left_out == []


@pytest.mark.parametrize(
    "path",
    [
        "router_settings.redis_password",
        "router_settings.retry_policy",
        "router_settings.stream_timeout",
        "router_settings.something_new",
        "litellm_settings.success_callback",
        "litellm_settings.cache_params",
        "general_settings.database_url",
        "environment_variables",
        "guardrails",
    ],
)
def test_what_has_no_place_here_is_named_and_its_value_is_not(path):
    section, _, name = path.partition(".")
    value = f"{{{name}: CANARY}}" if name else "{A: CANARY}"
    found = convert(f"{model('model: gpt-4o')}\n{section}: {value}")
    assert [one.path for one in found.left_out] == [path]
    assert "CANARY" not in repr(found)


def test_an_order_by_use_is_told_and_replaced():
    text = (
        f"{model('model: gpt-4o')}\nrouter_settings: {{routing_strategy: usage-based-routing-v2}}"
    )
    assert left_out(text) == ["router_settings.routing_strategy"]


# ---- chains ----


THREE = """
model_list:
  - {model_name: a/x, litellm_params: {model: gpt-4o}}
  - {model_name: b, litellm_params: {model: gpt-4o}}
  - {model_name: c, litellm_params: {model: gpt-4o}}
"""


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param(
            "router_settings: {fallbacks: [{a/x: [b, c]}, {b: [a/x]}]}",
            {"a-x": ["b", "c"], "b": ["a-x"]},
            id="each-its-own",
        ),
        pytest.param(
            "router_settings: {fallbacks: [{a/x: [b]}, {'*': [c, b]}]}",
            {"a-x": ["b"], "b": ["c"], "c": ["b"]},
            id="and-one-for-all-others",
        ),
        pytest.param(
            "litellm_settings: {default_fallbacks: [c]}", {"a-x": ["c"], "b": ["c"]}, id="default"
        ),
        pytest.param(
            "router_settings: {fallbacks: [{b: [c]}]}\nlitellm_settings: {fallbacks: [{b: [a/x]}]}",
            {"b": ["c"]},
            id="the-routers-own-first",
        ),
    ],
)
def test_chains_are_carried_over(settings, expected):
    models = llm(THREE + settings)["models"]
    assert {n: one["fallbacks"] for n, one in models.items() if "fallbacks" in one} == expected


def test_chains_for_what_is_too_long_or_not_allowed_are_kept_apart():
    settings = """
litellm_settings:
  context_window_fallbacks: [{b: [c]}]
  content_policy_fallbacks: [{b: [a/x]}]
"""
    found = llm(THREE + settings)["models"]["b"]
    assert found["context_window_fallbacks"] == ["c"]
    assert found["content_policy_fallbacks"] == ["a-x"]
    assert "fallbacks" not in found


def test_models_of_a_chain_that_were_left_out_are_told():
    settings = "router_settings: {fallbacks: [{b: [gone, c, {model: x}]}, {gone: [b]}, 5]}"
    assert left_out(THREE + settings) == [
        "router_settings.fallbacks[0].b[0]",
        "router_settings.fallbacks[0].b[2]",
        "router_settings.fallbacks[1].gone",
        "router_settings.fallbacks[2]",
    ]


# ---- the command ----


def test_it_prints_a_document_and_tells_what_is_not_in_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("AZURE_API_BASE", "https://east.openai.azure.com")
    file = tmp_path / "config.yaml"
    file.write_text(WHOLE)
    assert main(["config", "import-litellm", str(file)]) == 0
    out, err = capsys.readouterr()
    assert config.parse(out).llm.models["gpt-4o"].aliases == ["gpt-4"]
    assert err.splitlines() == [
        "penstock: not carried over: general_settings.master_key: keys are not carried over: make"
        " some with penstock keys create"
    ]
    assert main(["config", "import-litellm", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["document"]["llm"]["models"]) == {"gpt-4o", "claude"}
    assert [one["path"] for one in told["left_out"]] == ["general_settings.master_key"]


def test_nothing_to_serve_is_status_1(tmp_path, capsys):
    file = tmp_path / "config.yaml"
    file.write_text(model("model: bedrock/x"))
    assert main(["config", "import-litellm", str(file)]) == 1
    assert "bedrock" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["[", "a: 1\na: 2", "x: &x {a: 1}\ny: {<<: *x}"], ids=["cut", "twice", "merged"]
)
def test_what_is_not_such_a_document_is_refused(tmp_path, capsys, text):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    assert main(["config", "import-litellm", str(file)]) == 1
    assert "config.yaml" in capsys.readouterr().err


SETTINGS = [
    "model_name", "litellm_params", "model_info", "model", "api_base", "api_key", "api_version",
    "rpm", "weight", "order", "timeout", "mode", "max_output_tokens", "routing_strategy",
    "num_retries", "fallbacks", "default_fallbacks", "model_group_alias", "master_key",
    "default_litellm_params", "max_parallel_requests", "input_cost_per_token", "*", "gpt-4o",
]  # fmt: skip
WORDS = ["gpt-4o", "azure/x", "azure/", "https://h.example", "os.environ/X", "1e-6", "", "/", " "]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([*WORDS, "x" * 201, "a b", "\x00"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(SETTINGS), inner, max_size=4)
    ),
    max_leaves=20,
)


settings = st.dictionaries(st.sampled_from(SETTINGS), values, max_size=6)
deployments = st.lists(
    st.fixed_dictionaries(
        {"model_name": st.sampled_from([*WORDS, "m", "x" * 201])},
        optional={
            "litellm_params": settings | st.just({"model": "gpt-4o"}),
            "model_info": settings,
        },
    ),
    max_size=4,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "model_list": deployments | values,
            "router_settings": settings | values,
            "litellm_settings": settings | values,
            "general_settings": settings | values,
            "x": values,
        },
    )
)
@settings_of_hypothesis(max_examples=300)
def test_whatever_stands_in_it_what_comes_out_is_told_or_carried(document):
    found = converted(document, ENVIRONMENT)
    config.parse(yaml_text.write(found.document))
    assert "CANARY" not in repr(found)
    assert all(one.path and one.why for one in found.left_out)


# ---- what is said of what is left out ----


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            model("model: gpt-4o") + "\nlitellm_settings: {fallbacks: [{m: [never]}]}",
            {"litellm_settings.fallbacks[0].m[0]": "no model is called 'never' in this document"},
            id="fallback-to-nothing",
        ),
        pytest.param(
            "model_list: [{model_name: m, litellm_params: {model: gpt-4o}},"
            " {model_name: b, litellm_params: {model: bedrock/x}}]\n"
            "litellm_settings: {fallbacks: [{m: [b]}]}",
            {
                "model_list[1].litellm_params.model": "provider 'bedrock' is not spoken with here:"
                " no deployment of 'b'",
                "litellm_settings.fallbacks[0].m[0]": "model 'b' was left out",
            },
            id="fallback-to-what-was-left-out",
        ),
        pytest.param(
            model("model: anthropic/*", name="anthropic/*"),
            {"model_list[0].model_name": "'anthropic/*': models are named one by one"},
            id="wildcard",
        ),
        pytest.param(
            model("model: gpt-4o, rpm: sixty"),
            {
                "model_list[0].litellm_params.rpm": "expected a number of 0 to 1e+09, got 'sixty'",
            },
            id="no-number",
        ),
        pytest.param(
            model("model: gpt-4o, max_budget: 5, budget_duration: 1d, region_name: eu"),
            {
                "model_list[0].litellm_params.max_budget": "budgets are keys', teams' and tags',"
                " not a deployment's",
                "model_list[0].litellm_params.budget_duration": "budgets are keys', teams' and"
                " tags', not a deployment's",
                "model_list[0].litellm_params.region_name": "a region is told by its address:"
                " api_base",
            },
            id="budget-and-region",
        ),
    ],
)
def test_what_is_left_out_is_told_by_name_and_why(text, said):
    assert {one.path: one.why for one in convert(text).left_out} == said

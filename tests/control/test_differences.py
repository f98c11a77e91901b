"""What would change, said exactly."""

from __future__ import annotations

import pytest

from gateway import config
from gateway.control.differences import differences, effective_differences
from gateway.layers import lay


def words(old, new):
    return [one.words() for one in differences(config.parse(old), config.parse(new))]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        pytest.param(
            "models: {fraud: {max_batch_size: 128}}",
            "models: {fraud: {max_batch_size: 256}}",
            "models.fraud.max_batch_size: 128 -> 256",
            id="field",
        ),
        pytest.param(
            "{defaults: {max_batch_size: 64}, models: {fraud: {}}}",
            "{defaults: {max_batch_size: 64}, models: {fraud: {max_batch_size: 256}}}",
            "models.fraud.max_batch_size: 64 (inherited) -> 256",
            id="set",
        ),
        pytest.param(
            "models: {fraud: {max_batch_size: 128}}",
            "models: {fraud: {}}",
            "models.fraud.max_batch_size: 128 -> 128 (inherited)",
            id="no-longer-set",
        ),
        pytest.param(
            "",
            "models: {fraud: {path: f.onnx, timeout_ms: 5}}",
            "models.fraud: added (timeout_ms 5.0, path f.onnx)",
            id="added",
        ),
        pytest.param("models: {a.b: {}}", "", "models.a.b: removed", id="removed"),
        pytest.param("", "defaults: {timeout_ms: 5}", "defaults.timeout_ms: none -> 5.0", id="d"),
        pytest.param(
            "", "server: {port: 9}", "server.port: 8000 -> 9, at the next start", id="restart"
        ),
        pytest.param(
            "",
            "repository: {allow_load: true}",
            "repository.allow_load: False -> True, at the next start",
            id="switched-on",
        ),
        pytest.param(
            "repository: {allow_load: true}",
            "",
            "repository.allow_load: True -> False",
            id="switched-off",
        ),
        pytest.param(
            "models: {m: {padding: {buckets: [1]}}}",
            "models: {m: {padding: {buckets: [1, 2]}}}",
            "models.m.padding.buckets: [1] -> [1, 2]",
            id="nested",
        ),
    ],
)
def test_a_change_is_one_line(old, new, told):
    assert words(old, new) == [told]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("", "", id="empty"),
        pytest.param("", "# a remark\nserver: {port: 8000}", id="the-default-said"),
        pytest.param("models: {a: {}, b: {}}", "models: {b: {}, a: {}}", id="order"),
    ],
)
def test_what_means_the_same_is_no_change(old, new):
    assert words(old, new) == []


PROVIDER = "providers: {p: {base_url: 'http://h/v1'}}"
LLM = f"""
llm:
  {PROVIDER}
  models:
    m: {{order: least_busy, upstreams: [{{provider: p, model: a}}, {{provider: p, model: b}}]}}
"""


def test_a_new_language_model_or_provider_is_one_line_with_what_is_said_of_it():
    assert words("", LLM) == [
        "llm.providers.p: added (base_url http://h/v1)",
        "llm.models.m: added (versions.1.upstreams [{'provider': 'p', 'model': 'a'},"
        " {'provider': 'p', 'model': 'b'}], versions.1.order least_busy)",
    ]
    assert [one.split(" ")[:2] for one in words(LLM, f"llm: {{{PROVIDER}}}")] == [
        ["llm.models.m:", "removed"]
    ]


def test_of_upstreams_that_change_the_field_is_told():
    new = LLM.replace("model: b", "model: b, weight: 3")
    assert told(LLM, new) == ["llm.models.m.versions.1.upstreams[1].weight: 1.0 -> 3.0"]
    new = LLM.replace("model: b}", "model: b}, {provider: p, model: c}")
    (line,) = told(LLM, new)
    assert line.startswith("llm.models.m.versions.1.upstreams[2]: added (provider p, model c")
    (line,) = told(new, LLM)
    assert line.startswith("llm.models.m.versions.1.upstreams[2]: removed (provider p, model c")


def test_a_route_or_a_team_that_is_new_is_one_line():
    assert words("", "llm: {teams: {web: {budgets: [1usd/day]}}, tags: {eu: {}}}") == [
        "llm.teams.web: added (budgets ['1usd/day'])",
        "llm.tags.eu: added",
    ]


def test_models_are_named_whatever_is_in_their_names():
    old, new = config.parse("models: {a.b: {}}"), config.parse("models: {a.b: {version: 2}, c: {}}")
    assert [one.model for one in differences(old, new)] == ["a.b", "c"]


# ---- under variables and options ----


def told(old, new, hints=(), **environ):
    before, after = (lay(config.parse(document), environ, ()) for document in (old, new))
    return [one.words() for one in effective_differences(before, after, dict(hints))]


def test_what_a_variable_keeps_is_told_as_no_change():
    variable = {"PENSTOCK_MODELS__M__MAX_BATCH_SIZE": "4"}
    old, new = (f"models: {{m: {{max_batch_size: {size}}}}}" for size in (8, 16))
    assert told(old, new, **variable) == [
        "models.m.max_batch_size: 8 -> 16, but PENSTOCK_MODELS__M__MAX_BATCH_SIZE keeps 4"
    ]
    assert told(old, new) == ["models.m.max_batch_size: 8 -> 16"]
    (port,) = told("", "server: {port: 9}", PENSTOCK_SERVER__PORT="7")
    assert port == "server.port: 8000 -> 9, but PENSTOCK_SERVER__PORT keeps 7, at the next start"


def test_a_value_below_one_that_a_variable_sets_as_a_whole_is_kept_by_it():
    old, new = (f"models: {{a.b: {{padding: {{buckets: [{size}]}}}}}}" for size in (8, 16))
    variable = {"PENSTOCK_MODELS__A_B__PADDING": "{buckets: [2]}"}
    (line,) = told(old, new, **variable)
    assert line.endswith("[8] -> [16], but PENSTOCK_MODELS__A_B__PADDING keeps [2]")


def test_a_default_names_the_models_that_change_with_it():
    models = "models: {own: {max_batch_size: 2}, heir: {timeout_ms: 1}, PLACE: {}}"
    old = models.replace("PLACE", "going")
    new = "defaults: {max_batch_size: 5}\n" + models.replace("PLACE", "coming")
    hints = {"found": set(), "hinted": {"max_batch_size"}, "going": set()}.items()
    assert told(old, new, hints)[0] == (
        "defaults.max_batch_size: 128 -> 5, inherited by found, heir"
    )


def test_of_many_heirs_some_are_named_and_the_rest_counted():
    hints = {f"m{number:03}": () for number in range(500)}
    (line,) = told("", "defaults: {timeout_ms: 5}", hints)
    assert line.endswith("m009 and 490 more")
    assert line.count(",") == 10


def test_a_model_that_a_variable_made_already_is_told_field_by_field():
    assert told("", "models: {m: {path: f.onnx}}", PENSTOCK_MODELS__M__VERSION="2") == [
        "models.m.path: none (inherited) -> f.onnx"
    ]

"""Every fault of a document is told, with its path, and without what may be a secret."""

from __future__ import annotations

import pytest

from gateway import config
from gateway.config.models import HoldOut
from gateway.errors import ConfigInvalid


def faults(document: str) -> list[str]:
    with pytest.raises(ConfigInvalid) as refused:
        config.parse(document, "p.yaml")
    return [line.removeprefix("p.yaml: ") for line in str(refused.value).splitlines()]


def test_a_key_that_is_given_twice_is_a_fault_beside_all_others():
    document = "server: {port: x}\nmodels:\n  m: {version: 1,\n    version: 2}\nserver: {port: 1}\n"
    assert faults(document) == [
        "line 4: 'version' is there already, on line 3",
        "line 5: 'server' is there already, on line 1",
    ]
    assert len(faults("server: {port: x}\nlog: {level: info, level: error}")) == 2


@pytest.mark.parametrize(
    "document",
    [
        pytest.param("models: {a: {version: 1}, b: {version: 1}}", id="of-other-mappings"),
        pytest.param("repository: {paths: [a, a]}", id="values"),
        pytest.param("defaults: &d {timeout_ms: 1}\nmodels: {m: *d, n: *d}", id="aliases"),
        pytest.param("models: {1:30: {}, '<<': {}}", id="names-that-mean-something-elsewhere"),
    ],
)
def test_what_only_looks_like_it_is_none(document):
    config.parse(document)


def test_merge_keys_are_refused_before_they_are_written_out():
    levels = [f"x{n}: &x{n} {{<<: [{', '.join([f'*x{n - 1}'] * 30)}]}}" for n in range(1, 12)]
    assert faults("\n".join(["x0: &x0 {k: v}", *levels])) == [
        "line 2: merge keys (<<) are not taken: write out what is meant"
    ]
    for spelled in ("? !!merge x\n: {a: 1}", "a: &m <<\nb: {? *m : {c: 1}}"):
        assert "merge keys" in faults(spelled)[0]


def doubled(levels: range) -> str:
    return "\n".join(["x0: &x0 [0]", *(f"x{n}: &x{n} [*x{n - 1}, *x{n - 1}]" for n in levels)])


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        pytest.param(doubled(range(1, 25)), "expected at most 1000000 values", id="wide"),
        pytest.param(
            "\n".join(["x0: &x0 []", *(f"x{n}: &x{n} [*x{n - 1}]" for n in range(1, 60))]),
            "expected at most 50 levels",
            id="deep",
        ),
        pytest.param("a: &a [*a, *a]", "line 1: *a stands within itself", id="endless"),
    ],
)
def test_aliases_count_as_what_they_stand_for(document, fault):
    assert faults(document)[0].startswith(fault)


@pytest.mark.parametrize(
    "document",
    [
        "server: {port: 1:30:00}",
        "limits: {header_timeout_s: 1:30.5}",
        "limits: {header_timeout_s: .inf}",
        "limits: {max_loop_lag_ms: .nan}",
        "drain: {lag_s: 1.0e+400}",
        f"server: {{port: 0x{'f' * 6000}}}",
        f"server: {{port: {'9' * 6000}}}",
    ],
)
def test_what_is_no_finite_number_in_its_plain_spelling_is_refused(document):
    assert len(faults(document)) == 1


@pytest.mark.parametrize(
    ("document", "path"),
    [
        pytest.param("models: {../x: {}}", "models.../x: model name must not", id="traversal"),
        pytest.param('models: {"a\\nb": {}}', "models.a\\nb: model name", id="control-character"),
        pytest.param("server: {host: not a host}", "server.host: expected an address", id="words"),
        pytest.param("control: {host: 300.1.1.1}", "control.host: expected an address", id="ip"),
        pytest.param("server: {host: ''}", "server.host: expected an address", id="empty"),
        pytest.param(
            "server: {trusted_proxies: [10.0.0.1, nonsense]}",
            "server.trusted_proxies[1]: expected an address or network, got 'nonsense'",
            id="proxy",
        ),
    ],
)
def test_names_hosts_and_networks_are_checked(document, path):
    (fault,) = faults(document)
    assert fault.startswith(path)


@pytest.mark.parametrize("host", ["127.0.0.1", "::", "localhost", "gateway.example.com", "a_b-1."])
def test_every_kind_of_host_is_taken(host):
    document = f"server: {{host: '{host}'}}"
    assert config.parse(document).server.host == host


@pytest.mark.parametrize(
    "document",
    [
        "tracing: {endpoint: 'http://ann:canary@collector'}",
        "tracing: {endpoint: canary}",
        "tracing: {endpoint: [canary]}",
        "tracing: canary@x",
        "tracing: {headers_file: [canary]}",
        "access: {jwt: {issuer: a, audience: b, jwks_url: 'http://ann:canary@x'}}",
        "access: {jwt: {issuer: a, audience: b, jwks_url: 'https://x/canary', jwks_file: y}}",
        "access: {jwt: {issuer: a, audience: b, jwks_url: 'https://x/keys?token=canary'}}",
        "access: {jwt: {issuer: a, audience: b, jwks_url: 'https://x?token=canary'}}",
        "access: {jwt: {issuer: a, audience: b, jwks_url: 'https://x/keys#canary'}}",
        "server: {host: 'ann:canary@x'}",
        "server: {trusted_proxies: ['http://canary']}",
        "server: {tls: {certificate: x, key: {canary: 1}}}",
        "tracing: {endpoint: 'http://canary",
        "tracing:\n  endpoint: canary: x",
        "llm: {providers: {a: {base_url: 'https://x', api_key_env: sk-canary}}}",
        "llm: {providers: {a: {base_url: 'https://x', api_key: canary}}}",
        "llm: {providers: {a: {base_url: 'https://ann:canary@x'}}}",
    ],
)
def test_what_may_be_a_secret_is_not_repeated(document):
    assert "canary" not in "\n".join(faults(document)).replace("key.canary", "")


def test_what_is_none_is_repeated():
    assert faults("server: {port: many}")[0].endswith("got 'many'")


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        (
            "{name: a, of: dataset, figure: psi, threshold: 1}",
            "figure: expected one of verdict, prediction_verdict, drifting_features,"
            " drifting_share, rows, skipped_rows, skipped_ratio, got 'psi'",
        ),
        ("{name: a, panes: 3, of_last: 2}", "panes: expected at most of_last, 2, got 3"),
    ],
)
def test_a_fault_of_settings_together_names_the_one_that_is_wrong(rule, fault):
    assert faults(f"alerts: {{rules: [{rule}]}}") == [f"alerts.rules[0]: {fault}"]


def test_nobody_is_held_out_where_that_would_not_be_written_down():
    off = "ledger: {enabled: false}\n"
    (fault,) = faults(off + "models: {a: {hold_out: {share: 0.1}}}")
    assert "a: hold_out: expected its ledger to be on" in fault
    on = off + "models: {a: {ledger: true, hold_out: {share: 0.1, policy: approve}}}"
    assert config.parse(on).hold_out_of("a") == HoldOut(share=0.1, policy="approve")
    assert faults("models: {a: {hold_out: {share: 0.6}}}")


def test_a_list_of_metrics_is_a_models_own_or_everybodys_and_any_is_the_rule():
    found = config.parse(
        "ledger: {metrics: [revenue]}\n"
        "models: {a: {}, b: {ledger_metrics: [clicks, revenue]}, c: {ledger_metrics: any}}"
    )
    its = [found.metrics_of(name) for name in ("a", "b", "c", "d")]
    assert its == [{"revenue"}, {"clicks", "revenue"}, None, {"revenue"}]
    assert found.named_metrics == {"clicks", "revenue"}
    assert config.parse("").metrics_of("a") is None
    assert config.parse("").named_metrics == set()


def test_more_metrics_than_there_is_room_for_are_a_fault():
    some, more = (", ".join(f"{name}{n}" for n in range(20)) for name in "mn")
    (fault,) = faults(f"ledger: {{metrics: [{some}]}}\nmodels: {{a: {{ledger_metrics: [{more}]}}}}")
    assert "expected 32 metrics at most, got 40" in fault
    assert faults("ledger: {metrics: [Revenue]}")
    assert faults("ledger: {metrics: some}")


@pytest.mark.parametrize("value", ["!!timestamp x", "!!bool x", "!!int ''", "!!int '-'"])
def test_a_tag_that_its_text_does_not_fit_is_a_fault(value):
    (fault,) = faults(f"server: {{port: {value}}}")
    assert fault.startswith("not a value")


@pytest.mark.parametrize(
    ("slices", "fault"),
    [
        ("{s: {edges: [1]}}", "s: expected either feature or parameter, got neither"),
        ("{s: {feature: a, parameter: b, edges: [1]}}", "s: expected either feature or parameter"),
        ("{s: {feature: a}}", "s: expected either groups or edges, got neither"),
        ("{s: {parameter: a, edges: [1]}}", "s: edges: expected groups of a parameter"),
        ("{s: {feature: a, edges: [2, 1]}}", "s: edges: must be ascending"),
        ("{s: {feature: a, edges: [1, .nan]}}", "s.edges[1]: "),
        ("{s: {feature: a, groups: [1, '1']}}", "s.groups: expected each value once, got '1'"),
        ("{s: {feature: a, groups: {x: [1], y: [1]}}}", "s: groups: expected each value once"),
        ("{s: {feature: a, groups: [[1]]}}", "s.groups: expected a text, a number or a boolean"),
        ("{s: {feature: a, groups: {x: [{}]}}}", "s.groups.x[0]: expected a text, a number"),
        ("{s: {feature: a, groups: {x: []}}}", "s.groups.x: "),
        ("{s: {feature: a, groups: [other]}}", "s: groups: 'other' is what rows in no group are"),
        (f"{{s: {{feature: a, groups: {list(range(32))}}}}}", "s: groups: expected at most 31"),
        (f"{{s: {{feature: a, edges: {list(range(40))}}}}}", "s.edges: "),
        ("{'a:b': {feature: a, edges: [1]}}", "a:b: "),
    ],
)
def test_faults_of_slices_are_told_by_their_place(slices, fault):
    (told,) = faults(f"models: {{m: {{slices: {slices}}}}}")
    assert told.startswith(f"models.m.slices.{fault}")


def test_slices_are_bounded_in_all():
    many = ", ".join(f"s{n}: {{feature: a, edges: [1]}}" for n in range(7))
    assert faults(f"models: {{m: {{slices: {{{many}}}}}}}") == [
        "models.m.slices: expected at most 6, got 7"
    ]
    wide = ", ".join(f"s{n}: {{feature: a, groups: {list(range(30))}}}" for n in range(3))
    assert "at most 64 groups in all, got 90" in faults(f"models: {{m: {{slices: {{{wide}}}}}}}")[0]


def test_groups_are_called_by_their_values_or_ranges():
    found = config.parse(
        "models: {m: {slices: {age: {feature: age, edges: [18, 64.5]}, tier: {parameter: tier,"
        " groups: [gold, 2, true]}, sex: {feature: s, groups: {f: [0, F], m: [1]}}}}}"
    ).slices_of("m")
    assert found["age"].names == ("..18", "18..64.5", "64.5..")
    assert (found["tier"].names, found["tier"].values) == (
        ("gold", "2", "true"),
        (("gold",), (2,), (True,)),
    )
    assert (found["sex"].names, found["sex"].values) == (("f", "m"), ((0, "F"), (1,)))
    assert config.parse("models: {m: {}}").slices_of("m") == {}


@pytest.mark.parametrize(
    ("route", "found"),
    [
        pytest.param("{variants: []}", ["variants: expected 1 or more, got none"], id="nobody"),
        pytest.param(
            "{variants: [{name: a, version: 1, alias: x}, {name: b}], fallback: a}",
            [
                "variants[0].alias: expected a version or an alias, got both",
                "variants[1].alias: expected a version or an alias, got neither",
            ],
            id="version-or-alias",
        ),
        pytest.param(
            "{variants: [{name: a, version: 1}, {name: a, version: 2}]}",
            ["variants: expected each name once, got 'a' again"],
            id="names",
        ),
        pytest.param(
            "{variants: [{name: a, version: 1}, {name: b, version: 1}]}",
            ["variants: expected each version once, got '1' again"],
            id="versions",
        ),
        pytest.param(
            "{variants: [{name: a, version: 1, weight: 0}]}",
            ["variants: expected a weight above 0, got 0 for all"],
            id="no-weight",
        ),
        pytest.param(
            "{variants: [{name: '1', alias: '2', weight: -1}]}",
            [
                "variants[0].name: string should match",
                "variants[0].alias: alias '2'",
                "variants[0].weight: input should be greater than or equal to 0",
            ],
            id="words-and-numbers",
        ),
        pytest.param(
            "{variants: [{name: a, version: 1}], fallback: b, sticky: {}}",
            [
                "sticky.parameter: expected a header or a parameter, got neither",
                "fallback: expected one of a, got 'b'",
            ],
            id="fallback-and-sticky",
        ),
        pytest.param(
            "{variants: [{name: a, version: 1}], sticky: {header: 'x y'}, shadow: 1}",
            ["sticky.header: string should match", "shadow: no such setting"],
            id="header",
        ),
        pytest.param(
            "{variants: [{name: a, version: 1}], shadows: [{version: 2, share: 0}, {}]}",
            [
                "shadows[0].share: input should be greater than 0",
                "shadows[1].alias: expected a version or an alias, got neither",
            ],
            id="shadows",
        ),
        pytest.param(
            "{variants: [{name: a, version: 1}], shadows: [{version: 2}, {version: 2}]}",
            ["shadows: expected each version once, got '2' again"],
            id="shadows-twice",
        ),
    ],
)
def test_a_route_that_cannot_be_is_told_with_its_place(route, found):
    told = faults(f"routes: {{fraud: {route}}}")
    assert len(told) == len(found)
    for fault, expected in zip(told, found, strict=True):
        assert fault.startswith(f"routes.fraud.{expected}")


def test_headers_of_a_route_are_known_in_lower_case():
    document = "routes: {m: {variants: [{name: a, version: 1}], sticky: {header: X-User}}}"
    route = config.parse(document).routes["m"]
    assert route.sticky is not None
    assert route.sticky.header == "x-user"


# ---- language models -----------------------------------------------------------------------------

LLM = """
llm:
  providers: {{openai: {{base_url: "https://api.openai.com/v1"}}}}
  models:
    assistant:
      aliases: [gpt-4o]
      upstreams: [{{provider: openai, model: gpt-4o}}]
    other:
{other}
"""


@pytest.mark.parametrize(
    ("other", "fault"),
    [
        pytest.param(
            "upstreams: [{provider: opnai, model: a}]",
            "upstreams[0].provider: expected one of llm.providers (openai), got 'opnai'",
            id="unknown-provider",
        ),
        pytest.param(
            "versions: {2: {upstreams: [{provider: opnai, model: a}]}}",
            "versions.2.upstreams[0].provider: expected one of llm.providers (openai), got 'opnai'",
            id="unknown-provider-of-a-version",
        ),
        pytest.param(
            "versions: {2: {upstreams: [{provider: openai, model: 3}]}}",
            "versions.2.upstreams[0].model: input should be a valid string, got 3",
            id="one-spelling-of-paths",
        ),
        pytest.param("upstreams: []", "upstreams: expected 1 or more, got none", id="no-upstream"),
        pytest.param(
            "upstreams: [{provider: openai}]",
            "upstreams[0].model: expected model, got nothing",
            id="missing",
        ),
        pytest.param(
            "{upstreams: [{provider: openai, model: a}], max_output_token: 3}",
            "max_output_token: no such setting: is 'max_output_tokens' meant?",
            id="misspelt",
        ),
        pytest.param(
            "upstreams: [{provider: openai, model: a, price: {input_cost_per_token: 3}}]",
            "upstreams[0].price.input_cost_per_token: expected dollars per token, not per million,"
            " got 3; 3 per million is 3e-06",
            id="price-per-million",
        ),
        pytest.param(
            "{upstreams: [{provider: openai, model: a}], fallbacks: [other]}",
            "fallbacks[0]: expected another model, got 'other', which has just failed then",
            id="fallback-to-itself",
        ),
        pytest.param(
            "{aliases: [x, gpt-4o], upstreams: [{provider: openai, model: a}]}",
            "aliases[1]: expected a name that nothing else has, got 'gpt-4o': so is 'assistant'"
            " called",
            id="alias-of-another",
        ),
        pytest.param(
            "{aliases: [assistant], upstreams: [{provider: openai, model: a}]}",
            "aliases[0]: expected a name that nothing else has, got 'assistant': so is 'assistant'"
            " called",
            id="alias-that-is-a-name",
        ),
        pytest.param(
            "{upstreams: [{provider: openai, model: a}], fallbacks: [gpt-4o, nobody]}",
            "fallbacks[1]: expected a name or alias of llm.models, got 'nobody'",
            id="unknown-fallback",
        ),
        pytest.param(
            "{upstreams: [{provider: openai, model: a, price: {}, priced_as: gpt-4o}]}",
            "upstreams[0]: expected a price or priced_as, got both: one excludes the other",
            id="priced-twice",
        ),
    ],
)
def test_a_language_model_that_cannot_be_is_told_with_its_place(other, fault):
    indented = f"      {other}"
    assert faults(LLM.format(other=indented)) == [f"llm.models.other.{fault}"]


@pytest.mark.parametrize(
    ("body", "got"),
    [
        ("{}", "neither"),
        (
            "{upstreams: [{provider: openai, model: a}],"
            " versions: {1: {upstreams: [{provider: openai, model: a}]}}}",
            "both: one excludes the other",
        ),
    ],
)
def test_a_language_model_has_upstreams_or_versions(body, got):
    said = f"llm.models.other: expected upstreams, or versions that each have some, got {got}"
    assert faults(LLM.format(other=f"      {body}")) == [said]


def test_a_longest_answer_is_no_longer_than_limits_can_count():
    body = f"{{upstreams: [{{provider: openai, model: a}}], max_output_tokens: {2**31}}}"
    (said,) = faults(LLM.format(other=f"      {body}"))
    assert "max_output_tokens" in said
    assert "2147483647" in said
    config.parse(LLM.format(other=f"      {body.replace(str(2**31), str(2**31 - 1))}"))


def test_a_version_may_fall_back_to_its_model_where_that_has_another():
    each = "{upstreams: [{provider: openai, model: a}], fallbacks: [other]}"
    config.parse(LLM.format(other=f"      versions: {{1: {each}, 2: {each}}}"))


def test_a_name_with_a_slash_is_told_where_such_names_go():
    document = LLM.format(other="      upstreams: [{provider: openai, model: a}]")
    (said,) = faults(document.replace("other:", "openai/gpt-4o:"))
    assert said.startswith("llm.models.openai/gpt-4o: expected a name without slashes")
    assert "among its aliases" in said


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ("llm: {providers: {a: {}}}", "llm.providers.a.base_url: expected base_url, got nothing"),
        ("server: {prot: 3}", "server.prot: no such setting: is 'port' meant?"),
        ("limit: {}", "limit: no such setting: is 'limits' meant?"),
        ("host: h", "host: no such setting: is 'server.host' meant?"),
        ("qqq: 1", "qqq: no such setting"),
        (
            "llm: {teams: {web: {rpm: 5}}}",
            "llm.teams.web.rpm: no such setting: teams, tags and callers have requests_per_minute",
        ),
        (
            "model_list: []",
            "model_list: no such setting: it is LiteLLM's:"
            " penstock config import-litellm FILE prints a document of ours",
        ),
    ],
)
def test_what_is_missing_unknown_or_of_another_program_is_told_with_what_to_write(document, fault):
    assert faults(document) == [fault]


def test_all_faults_of_language_models_are_told_at_once():
    other = "      {aliases: [gpt-4o], upstreams: [{provider: a, model: a}], fallbacks: [b]}"
    assert len(faults(LLM.format(other=other))) == 3


@pytest.mark.parametrize(
    ("provider", "fault"),
    [
        ("base_url: api.openai.com/v1", "base_url: expected http://HOST[:PORT][/PATH] or https"),
        ("base_url: 'https://x/v1/chat/completions'", "the API's own paths begin, before /chat"),
        (
            "{base_url: 'https://x', api_key_env: sk-1}",
            "name of a variable, such as OPENAI_API_KEY",
        ),
        ("{base_url: 'https://x', api_key: sk-1}", "api_key_env names the variable that holds it"),
    ],
)
def test_a_provider_that_cannot_be_is_told_what_to_write(provider, fault):
    body = provider if provider.startswith("{") else f"{{{provider}}}"
    (said,) = faults(f"llm: {{providers: {{a: {body}}}}}")
    assert said.startswith("llm.providers.a.")
    assert fault in said


def test_a_name_is_of_one_model_whoever_answers_for_it():
    document = LLM.format(other="      upstreams: [{provider: openai, model: a}]")
    assert faults(f"{document}models: {{other: {{path: a.onnx}}}}") == [
        "llm.models.other: models.other.path is a model of this name, too: rename one"
    ]
    config.parse(f"{document}models: {{other: {{ledger: false}}}}")


def test_embeddings_are_one_models_own_and_have_no_ledger():
    (told,) = faults("defaults: {embeddings: {}}")
    assert told.startswith("defaults: embeddings: expected under models.NAME")
    (told,) = faults("models: {m: {embeddings: {}, ledger: true}}")
    assert "expected no ledger of embeddings" in told
    (told,) = faults("models: {m: {embeddings: {}, hold_out: {share: 0.1}}}")
    assert "hold_out" in told
    found = config.parse("models: {m: {embeddings: {prefix: 'query: '}}, n: {}}")
    assert (found.has_ledger("m"), found.has_ledger("n")) == (False, True)
    assert found.settings("m").embeddings == config.Embeddings(prefix="query: ")


SHOWN = "server: {tls: {certificate: s, key: k, client_ca: c}}\n"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        pytest.param(
            "access: {certificates: [{name: a, subject: 'cn:a', role: client, team: wbe}]}\n"
            "llm: {teams: {web: {}, ops: {}}}",
            "access.certificates[0].team: expected one of llm.teams (ops, web), got 'wbe'",
            id="misspelt-team",
        ),
        pytest.param(
            "access: {jwt: {issuer: i, audience: a, jwks_file: f, team: wbe}}\n"
            "llm: {teams: {web: {}}}",
            "access.jwt.team: expected one of llm.teams (web), got 'wbe'",
            id="misspelt-team-of-tokens",
        ),
        pytest.param(
            "access: {certificates: [{name: a, subject: 'cn:a', role: client, tags: [x, x]}]}",
            "access.certificates[0].tags: expected different ones",
            id="tag-twice",
        ),
        pytest.param(
            "access: {certificates: [{name: a, subject: 'cn:a', role: client},"
            " {name: a, subject: 'cn:b', role: client, limits: {max_parallel: 1}}]}",
            "access.certificates: expected the same limits wherever 'a' stands",
            id="two-kinds-of-limits",
        ),
    ],
)
def test_limits_of_callers_without_a_key_are_looked_at(document, said):
    (fault,) = faults(SHOWN + document)
    assert fault.startswith(said)


def test_a_team_may_be_any_where_no_document_says_which_there_are():
    caller = "{name: a, subject: 'cn:a', role: client, team: web}"
    config.parse(f"{SHOWN}access: {{certificates: [{caller}]}}")

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
    (fault,) = faults("models: {a: {hold_out: {share: 0.1}}}")
    assert "a: hold_out: expected its ledger to be on" in fault
    on = "models: {a: {ledger: true, hold_out: {share: 0.1, policy: approve}}}"
    assert config.parse(on).hold_out_of("a") == HoldOut(share=0.1, policy="approve")
    assert faults("ledger: {enabled: true}\nmodels: {a: {hold_out: {share: 0.6}}}")


@pytest.mark.parametrize("value", ["!!timestamp x", "!!bool x", "!!int ''", "!!int '-'"])
def test_a_tag_that_its_text_does_not_fit_is_a_fault(value):
    (fault,) = faults(f"server: {{port: {value}}}")
    assert fault.startswith("not a value")

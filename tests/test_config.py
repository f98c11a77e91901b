"""Every fault of a document is told, with its path, and without what may be a secret."""

from __future__ import annotations

import pytest

from gateway import config
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
        pytest.param("defaults: &d {timeout_ms: 1}\nmodels: {m: {<<: *d, timeout_ms: 2}}", id="<<"),
    ],
)
def test_what_only_looks_like_it_is_none(document):
    config.parse(document)


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

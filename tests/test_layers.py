"""A flag goes before the environment, the environment before the document."""

from __future__ import annotations

import pytest

from gateway import config
from gateway.config import Given
from gateway.errors import ConfigInvalid
from gateway.layers import effective, settings

DOCUMENT = config.parse(
    "server: {port: 1000, host: 10.0.0.1}\n"
    "models: {fraud: {timeout_ms: 5}, a-b.c: {}, my__model: {}, my: {}}"
)


def under(document=DOCUMENT, flags=(), **environ):
    return effective(document, environ, flags)


def test_without_variables_and_options_the_document_is_in_force():
    assert under() == DOCUMENT
    assert under(PENSTOCK_HOME="/x", PATH="/bin", OTHER__PORT="1") == DOCUMENT


def test_flags_go_before_variables_and_those_before_the_document():
    flag = Given(("server", "port"), 3000, "--port")
    assert under(PENSTOCK_SERVER__PORT="2000").server.port == 2000
    assert under(flags=[flag], PENSTOCK_SERVER__PORT="2000").server.port == 3000
    assert under(PENSTOCK_SERVER__PORT="2000").server.host == "10.0.0.1"


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        pytest.param("DEFAULTS__MAX_BATCH_SIZE", "64", lambda c: c.defaults.max_batch_size, id="n"),
        pytest.param("SERVER__HOST", "0.0.0.0", lambda c: c.server.host, id="word"),
        pytest.param("REPOSITORY__ALLOW_LOAD", "true", lambda c: c.repository.allow_load, id="yes"),
        pytest.param(
            "SERVER__TRUSTED_PROXIES", "[a, b]", lambda c: c.server.trusted_proxies, id="list"
        ),
        pytest.param("SERVER__WORKERS", "", lambda c: c.server.workers, id="none"),
    ],
)
def test_values_are_written_as_in_the_document(name, value, found):
    expected = {"64": 64, "true": True, "[a, b]": ["a", "b"], "": None}.get(value, value)
    assert found(under(**{f"PENSTOCK_{name}": value})) == expected


@pytest.mark.parametrize(
    ("name", "model"),
    [
        pytest.param("FRAUD", "fraud", id="plain"),
        pytest.param("A_B_C", "a-b.c", id="odd-characters"),
        pytest.param("MY__MODEL", "my__model", id="longest-name"),
        pytest.param("MY", "my", id="shorter-name"),
        pytest.param("NEW", "new", id="not-in-the-document"),
    ],
)
def test_a_model_is_named_in_capitals(name, model):
    found = under(**{f"PENSTOCK_MODELS__{name}__MAX_BATCH_SIZE": "7"})
    assert found.models[model].max_batch_size == 7
    assert found.models["fraud"].timeout_ms == 5


def test_a_nested_field_is_reached():
    document = config.parse("models: {m: {padding: {buckets: [1, 2], axis: 1}}}")
    found = under(document, PENSTOCK_MODELS__M__PADDING__AXIS="2").models["m"].padding
    assert found is not None
    assert (found.axis, found.buckets) == (2, [1, 2])


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        pytest.param("SERVER__PORT", "many", "server.port: input should be", id="type"),
        pytest.param("SERVER__PORT", "70000", "server.port: input should be less", id="range"),
        pytest.param("SERVER__PROT", "1", "server.prot: no such setting", id="field"),
        pytest.param("SEVER__PORT", "1", "sever: no such setting", id="section"),
        pytest.param("SERVER__", "1", "server.: no such setting", id="empty"),
        pytest.param("SERVER__PORT", "[", "not YAML", id="yaml"),
        pytest.param("MODELS__FRAUD", "1", "models.fraud: input should be", id="no-field"),
    ],
)
def test_a_fault_names_its_variable(name, value, fault):
    with pytest.raises(ConfigInvalid) as error:
        under(**{f"PENSTOCK_{name}": value})
    assert str(error.value).startswith(f"PENSTOCK_{name}: {fault}")


def test_a_fault_names_its_option():
    with pytest.raises(ConfigInvalid, match=r"^--port: server\.port: "):
        under(flags=[Given(("server", "port"), -1, "--port")])


def test_all_faults_are_told_at_once():
    with pytest.raises(ConfigInvalid) as error:
        under(PENSTOCK_SERVER__PORT="x", PENSTOCK_DRAIN__GRACE_S="-1")
    assert len(str(error.value).splitlines()) == 2


def test_a_name_that_stands_for_two_models_is_a_fault():
    document = config.parse("models: {a-b: {}, a.b: {}}")
    with pytest.raises(ConfigInvalid, match=r"got that of 'a-b' and 'a\.b'"):
        under(document, PENSTOCK_MODELS__A_B__VERSION="2")


def test_every_value_has_its_source():
    flag = Given(("control", "port"), 1, "--admin-port")
    environ = {"PENSTOCK_SERVER__PORT": "2000", "PENSTOCK_MODELS__FRAUD__VERSION": "3"}
    found = {s.path: (s.value, s.source) for s in settings(DOCUMENT, environ, [flag])}
    assert found["server.port"] == (2000, "PENSTOCK_SERVER__PORT")
    assert found["server.host"] == ("10.0.0.1", "document")
    assert found["server.keep_alive_s"] == (75.0, "default")
    assert found["control.port"] == (1, "--admin-port")
    assert found["models.fraud.timeout_ms"] == (5.0, "document")
    assert found["models.fraud.version"] == (3, "PENSTOCK_MODELS__FRAUD__VERSION")


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(
            "\n".join(
                [f"a0: &a0 [{'x, ' * 9}x]"]
                + [f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}*a{n - 1}]" for n in range(1, 12)]
            ),
            id="aliases-of-aliases",
        ),
        pytest.param("a: &a [*a]", id="circle"),
        pytest.param("[" * 100_000, id="deep"),
        pytest.param("a: 2025-99-99", id="no-date"),
    ],
)
def test_a_document_that_is_larger_than_it_looks_is_refused_at_once(document):
    with pytest.raises(ConfigInvalid):
        config.parse(document)

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
            "SERVER__TRUSTED_PROXIES",
            "[10.0.0.1, 10.1.0.0/16]",
            lambda c: c.server.trusted_proxies,
            id="list",
        ),
        pytest.param("SERVER__WORKERS", "", lambda c: c.server.workers, id="none"),
    ],
)
def test_values_are_written_as_in_the_document(name, value, found):
    expected = {
        "64": 64,
        "true": True,
        "[10.0.0.1, 10.1.0.0/16]": ["10.0.0.1", "10.1.0.0/16"],
        "": None,
    }.get(value, value)
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
        pytest.param("MODELS__FRAUD", "1", "models.fraud: expected a mapping", id="no-field"),
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


# ---- OpenTelemetry's own variables ---------------------------------------------------------------

COLLECTOR = "http://collector:4318"
BASE = {"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR}


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        pytest.param({}, "", id="none"),
        pytest.param(BASE, f"{COLLECTOR}/v1/traces", id="base"),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": f"{COLLECTOR}/otlp/"},
            f"{COLLECTOR}/otlp/v1/traces",
            id="base-with-a-path",
        ),
        pytest.param(
            BASE | {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://t/x"}, "https://t/x", id="traces"
        ),
        pytest.param({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://t"}, "https://t/", id="root"),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, "", id="empty"),
        pytest.param(BASE | {"OTEL_SDK_DISABLED": "true"}, "", id="disabled"),
        pytest.param(BASE | {"OTEL_TRACES_EXPORTER": "none"}, "", id="no-exporter"),
        pytest.param(BASE | {"OTEL_TRACES_EXPORTER": "zipkin"}, "", id="another-exporter"),
        pytest.param(
            BASE | {"OTEL_TRACES_EXPORTER": "otlp"}, f"{COLLECTOR}/v1/traces", id="our-exporter"
        ),
        pytest.param(
            BASE | {"PENSTOCK_TRACING__ENDPOINT": "http://ours"}, "http://ours/v1/traces", id="ours"
        ),
        pytest.param(
            {"PENSTOCK_TRACING__ENDPOINT": "http://ours/in"}, "http://ours/in", id="ours-whole"
        ),
    ],
)
def test_where_traces_go(environ, url):
    assert under(**environ).tracing.url == url


@pytest.mark.parametrize(
    ("sampler", "argument", "sample", "follows"),
    [
        pytest.param("", "0.5", 1.0, True, id="none"),
        pytest.param("always_on", "", 1.0, False, id="all"),
        pytest.param("always_off", "0.5", 0.0, False, id="no"),
        pytest.param("traceidratio", "0.25", 0.25, False, id="some"),
        pytest.param("parentbased_always_on", "", 1.0, True, id="parent-all"),
        pytest.param("parentbased_always_off", "", 0.0, True, id="parent-none"),
        pytest.param("parentbased_traceidratio", "0.25", 0.25, True, id="parent-some"),
        pytest.param("parentbased_traceidratio", "", 1.0, True, id="parent-no-argument"),
    ],
)
def test_which_traces_are_kept(sampler, argument, sample, follows):
    variables = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}
    found = under(**BASE, **variables).tracing
    assert (found.sample, found.follow_caller) == (sample, follows)


def test_who_sends_traces():
    assert under(**BASE, OTEL_SERVICE_NAME="till").tracing.service_name == "till"


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, "OTEL_TRACES_SAMPLER: expected always_on"),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "many"},
            "OTEL_TRACES_SAMPLER_ARG: tracing.sample: .*valid number, ",
        ),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "PROTOCOL: expected http/protobuf, got 'grpc'"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "collector:4317"}, "TRACES_ENDPOINT: .*pattern"),
    ],
)
def test_what_is_wrong_with_them_is_told_where_traces_are_asked_for(variables, told):
    with pytest.raises(ConfigInvalid, match=told):
        under(**BASE, **variables)
    under(**{name: value for name, value in variables.items() if "ENDPOINT" not in name})


def test_a_password_in_an_address_is_refused_and_not_quoted():
    with pytest.raises(ConfigInvalid, match="OTEL_EXPORTER_OTLP_HEADERS") as refused:
        under(OTEL_EXPORTER_OTLP_ENDPOINT="http://ann:canary@collector")
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("endpoint", ["http://a:b@c", "http://c/?key=b", "c:4318", "grpc://c"])
def test_no_secret_stands_in_the_address_of_a_collector(endpoint):
    with pytest.raises(ConfigInvalid, match=r"tracing\.endpoint"):
        config.parse(f"tracing: {{endpoint: '{endpoint}'}}")


def test_their_variables_are_named_as_sources():
    found = {one.path: one.source for one in settings(DOCUMENT, BASE, ())}
    assert found["tracing.endpoint"] == "OTEL_EXPORTER_OTLP_ENDPOINT"
    assert found["tracing.sample"] == "default"

"""The files under deploy/ agree with the real flags, settings, paths, ports and metrics."""

from __future__ import annotations

import argparse
import configparser
import itertools
import os
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana import generate
from gateway import config
from gateway.access import secret
from gateway.access.roles import ROLES, Permission
from gateway.cli import exposure, main, serve
from gateway.cli.findings import Case
from gateway.config.experiments import EXPERIMENT
from gateway.control import experiment_metrics, llm_metrics, route_metrics
from gateway.control import outcome_metrics as outcomes
from gateway.control.drift_metrics import families
from gateway.control.experiment_store import Experiment, Given, Stand
from gateway.control.keys import Keys
from gateway.control.metrics import Info, Metrics
from gateway.control.store import Store
from gateway.control.unwritten import Unwritten
from gateway.errors import QueueFull
from gateway.llm import price_map
from gateway.llm.settings import settings_of
from gateway.monitor.arena import Arena, size_for
from gateway.monitor.layout import MODEL, UPSTREAM, model_key
from gateway.monitor.observe import BatchObserver, WorkerObserver
from gateway.monitor.upstreams import Called, UpstreamCounter, UpstreamCounts, read_upstreams
from gateway.plan import LLM, Held, Plan
from gateway.supervisor import CONTROL_STOP_S, CUT_S
from tests.control.standing import WINDOW_S
from tests.control.test_outcome_metrics import LEDGER, STANDINGS
from tests.control.watched import watched_model

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (ROOT / "Dockerfile").read_text()

MANIFEST = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "penstock.yaml").read_text()))
COMPOSE = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())
RULES = yaml.safe_load((DEPLOY / "prometheus" / "penstock.rules.yaml").read_text())
# Labels of what the rules record.
_OF_RECORDED = {"job", "instance", "model", "version", "result", "role", "feature", "bin"}
# Served without a key and without a model: what a probe may ask.
_SAMPLE = re.compile(r"^(penstock_\w+)(?:\{([^}]*)\})? ", re.MULTILINE)
HEALTH = {"/v2/health/live", "/v2/health/ready"}


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for document in MANIFEST if document["kind"] == kind]


POD = of_kind("StatefulSet")[0]["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]
CONTAINERS = [*POD["initContainers"], CONTAINER]


def unit() -> dict[str, list[tuple[str, str]]]:
    """The unit's settings by section, repeated ones included."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in (DEPLOY / "systemd" / "penstock.service").read_text().splitlines():
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            section.append((name, value))
    return found


SERVICE = dict(unit()["Service"])


def kubernetes_document() -> str:
    return str(of_kind("ConfigMap")[0]["data"]["penstock.yaml"])


DOCUMENTS = {
    "kubernetes": kubernetes_document(),
    "compose": (DEPLOY / "compose" / "penstock.yaml").read_text(),
}
COMMANDS = {
    "kubernetes": CONTAINER["args"],
    "compose": COMPOSE["services"]["penstock"]["command"],
    "systemd": shlex.split(SERVICE["ExecStart"])[1:],
}


def parsed(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    serve.configure(parser.add_subparsers(dest="command"))
    return parser.parse_args(words)


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS.keys())
def test_the_command_is_one_that_penstock_takes(words):
    found = parsed(words)
    assert found.command == "serve"
    assert found.config == Path("/etc/penstock/penstock.yaml")


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_the_configuration_has_no_fault(document):
    found = config.parse(document)
    assert found.server.host == "0.0.0.0"
    assert found.repository.paths == [Path("/models")]
    assert found.access.data == "keys"


@pytest.mark.parametrize(
    ("place", "given_s"),
    [
        ("kubernetes", POD["terminationGracePeriodSeconds"]),
        ("compose", int(COMPOSE["services"]["penstock"]["stop_grace_period"].rstrip("s"))),
        ("systemd", int(SERVICE["TimeoutStopSec"])),
    ],
)
def test_a_stopping_server_has_the_time_that_draining_takes(place, given_s):
    drain = config.parse(DOCUMENTS.get(place, "")).drain
    assert given_s >= drain.lag_s + drain.grace_s + CUT_S + CONTROL_STOP_S


# ---- the first keys ------------------------------------------------------------------------------


def first_lines(file: str) -> str:
    """What a file says before it begins, without its comment signs."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), file.splitlines())
    return "\n".join(line.removeprefix("#") for line in lines)


def commands(file: str, *without: str) -> str:
    """The commands among its first lines, which stand further in."""
    found = re.findall(r"^   (.+)$", first_lines(file), re.MULTILINE)
    return "\n".join(line for line in found if not line.startswith(without))


def bash(script: str, folder: Path) -> str:
    """What it prints; whoever runs it lets nobody else read what they make."""
    words = ["bash", "-euo", "pipefail", "-c", f"umask 077\n{script}"]
    return subprocess.run(
        words, cwd=folder, check=True, capture_output=True, text=True, timeout=60
    ).stdout


def kubernetes_secrets(folder: Path) -> Path:
    text = (DEPLOY / "kubernetes" / "penstock.yaml").read_text()
    for name, value in re.findall(r"--from-literal=([\w-]+)=(\".+?\)\")", first_lines(text)):
        (folder / name).write_text(bash(f"printf %s {value}", folder))
    assert len((folder / "secret").read_bytes()) >= secret.BYTES
    return folder


def compose_secrets(folder: Path) -> Path:
    (folder / "deploy" / "compose").mkdir(parents=True)
    bash(commands((DEPLOY / "compose" / "compose.yaml").read_text(), "docker"), folder)
    for entry in COMPOSE["secrets"].values():
        made = folder / "deploy" / "compose" / entry["file"]
        assert stat.S_IMODE(made.stat().st_mode) == 0o444
        assert stat.S_IMODE(made.parent.stat().st_mode) == 0o700
    return folder / "deploy" / "compose" / "secrets"


@pytest.mark.skipif(not shutil.which("openssl"), reason="the commands use openssl")
@pytest.mark.parametrize(
    ("place", "make", "mounted", "adopting", "roles"),
    [
        (
            "kubernetes",
            kubernetes_secrets,
            "/run/secrets/penstock/",
            [container["args"] for container in POD["initContainers"]],
            ["admin", "client", "viewer"],
        ),
        (
            "compose",
            compose_secrets,
            "/run/secrets/",
            [COMPOSE["services"][name]["command"] for name in COMPOSE["secrets"]],
            ["admin", "client"],
        ),
    ],
)
def test_the_first_keys_are_adopted_and_doctor_finds_nothing_open(
    place, make, mounted, adopting, roles, tmp_path, home, capsys
):
    files = make(tmp_path)
    case = Case(config.parse(DOCUMENTS[place]), home)
    assert "warn" in {finding.state for finding in exposure.check_access(case)}
    for _ in ("first start", "second start"):
        for words in adopting:
            given = [word.replace(mounted, f"{files}/") for word in words]
            assert main([*given, "--home", str(home)]) == 0, capsys.readouterr()
    assert {finding.state for finding in exposure.check_access(case)} == {"ok"}
    with Store.open(home) as store:
        assert [key.role for key in Keys(store, b"").all()] == roles


# ---- Kubernetes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_a_probe_asks_a_health_check_on_the_data_port(probe):
    asked = CONTAINER[probe]["httpGet"]
    assert asked["path"] in HEALTH
    assert asked["port"] == "data"


def test_readiness_takes_a_pod_out_and_liveness_does_not_kill_one_that_drains():
    assert CONTAINER["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
    assert CONTAINER["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"
    noticed_s = (
        CONTAINER["readinessProbe"]["periodSeconds"]
        * CONTAINER["readinessProbe"]["failureThreshold"]
    )
    assert config.parse(kubernetes_document()).drain.lag_s >= noticed_s


def test_the_ports_are_those_that_the_server_listens_on():
    document = config.parse(kubernetes_document())
    served = {"data": document.server.port, "control": document.control.port}
    assert {port["name"]: port["containerPort"] for port in CONTAINER["ports"]} == served
    balanced, pods = (service["spec"] for service in of_kind("Service"))
    assert [port["targetPort"] for port in balanced["ports"]] == ["data"]
    assert {port["name"]: port["port"] for port in pods["ports"]} == served
    assert f"EXPOSE {served['data']} " in DOCKERFILE


def test_prometheus_reaches_the_control_port_of_each_pod_with_a_key_that_reads():
    document = config.parse(kubernetes_document())
    assert document.control.host == "0.0.0.0"
    assert document.control_asks
    (words,) = [one["args"] for one in POD["initContainers"] if one["name"] == "prometheus-key"]
    role = words[words.index("--role") + 1]
    assert Permission.READ in ROLES[role]


def test_the_pod_has_no_right_that_it_does_not_need():
    assert POD["automountServiceAccountToken"] is False
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in CONTAINERS:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_the_user_is_the_images():
    (uid,) = re.findall(r"--uid (\d+)", DOCKERFILE)
    assert POD["securityContext"]["runAsUser"] == POD["securityContext"]["fsGroup"] == int(uid)


def test_every_mount_has_its_volume_and_the_home_is_kept():
    claims = of_kind("StatefulSet")[0]["spec"]["volumeClaimTemplates"]
    volumes = {v["name"] for v in POD["volumes"]} | {c["metadata"]["name"] for c in claims}
    mounts = {mount["mountPath"]: mount for mount in CONTAINER["volumeMounts"]}
    assert {mount["name"] for mount in mounts.values()} == volumes
    environment = {entry["name"]: entry["value"] for entry in CONTAINER["env"]}
    assert mounts[environment["PENSTOCK_HOME"]]["name"] == "home"
    assert f"PENSTOCK_HOME={environment['PENSTOCK_HOME']}" in DOCKERFILE
    assert Path(environment["PENSTOCK_SECRET_FILE"]).parent.as_posix() in mounts
    for container in CONTAINERS:
        assert container["volumeMounts"] == [
            mount for mount in CONTAINER["volumeMounts"] if mount in container["volumeMounts"]
        ]
        assert container["env"] == CONTAINER["env"]
    for name, mount in mounts.items():
        assert mount.get("readOnly", False) is (name != environment["PENSTOCK_HOME"])


def test_the_servers_group_reads_the_secret_and_others_do_not():
    (secret,) = [v["secret"] for v in POD["volumes"] if "secret" in v]
    assert POD["securityContext"]["runAsGroup"] == POD["securityContext"]["fsGroup"]
    assert secret["defaultMode"] == 0o440


def test_a_pod_gets_whole_cores():
    resources = CONTAINER["resources"]
    assert resources["requests"]["cpu"] == resources["limits"]["cpu"]
    assert int(resources["limits"]["cpu"]) >= 1


# ---- systemd -------------------------------------------------------------------------------------


def test_the_unit_can_be_read_as_systemd_reads_it():
    reader = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    reader.read(DEPLOY / "systemd" / "penstock.service")
    assert set(reader.sections()) == {"Unit", "Service", "Install"}


def test_the_unit_keeps_state_where_the_server_looks_for_it():
    environment = dict(
        value.split("=", 1) for name, value in unit()["Service"] if name == "Environment"
    )
    assert environment["PENSTOCK_HOME"] == f"/var/lib/{SERVICE['StateDirectory']}"
    credential = SERVICE["LoadCredential"].split(":")[0]
    assert environment["PENSTOCK_SECRET_FILE"] == f"%d/{credential}"


def readable(path: Path) -> bool:
    """Whether a user without any rights can read it."""
    nobody = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
    tried = subprocess.run([*nobody, "cat", str(path)], capture_output=True, timeout=20)
    return tried.returncode == 0


@pytest.mark.skipif(
    os.getuid() != 0 or not all(map(shutil.which, ("setpriv", "openssl"))),
    reason="needs root, setpriv to become another user, and openssl",
)
def test_the_units_user_reads_what_the_commands_in_its_first_lines_install():
    with tempfile.TemporaryDirectory() as name:  # not below pytest's own, which others cannot enter
        root = Path(name)
        root.chmod(0o755)
        (root / "etc").mkdir()
        (root / "penstock.yaml").write_text("server: {port: 9000}\n")
        text = (DEPLOY / "systemd" / "penstock.service").read_text()
        bash(commands(text).replace("/etc/", f"{root}/etc/"), root)
        document = parsed(COMMANDS["systemd"]).config
        assert readable(root / document.relative_to("/"))
        credential = Path(SERVICE["LoadCredential"].split(":")[1])
        handed_over = root / credential.relative_to("/")
        assert len(handed_over.read_bytes()) >= secret.BYTES
        assert not readable(handed_over)
        named = set(
            re.findall(r"/etc/[\w./-]+", "\n".join(value for _, value in unit()["Service"]))
        )
        assert named == {str(document), str(credential)}


def test_the_unit_reloads_and_stops_as_the_server_understands_it():
    assert SERVICE["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert (SERVICE["KillSignal"], SERVICE["KillMode"]) == ("SIGTERM", "mixed")
    assert SERVICE["ProtectSystem"] == "strict"
    assert "MemoryDenyWriteExecute" not in SERVICE


# ---- compose, Prometheus, Grafana ----------------------------------------------------------------


def test_every_file_that_compose_mounts_is_there():
    for service in COMPOSE["services"].values():
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / "compose" / source).exists(), source
            else:
                assert source in COMPOSE["volumes"]


def test_compose_serves_once_the_keys_are_there():
    services, place = COMPOSE["services"], "penstock"
    waited = []
    while "depends_on" in services[place]:
        ((place, entry),) = services[place]["depends_on"].items()
        assert entry["condition"] == "service_completed_successfully"
        waited.append(place)
    assert sorted(waited) == sorted(COMPOSE["secrets"])
    for name in waited:
        assert services[name]["secrets"] == [name]
        assert services[name]["volumes"][0] == services["penstock"]["volumes"][0]


def test_prometheus_scrapes_the_control_port():
    scrape = yaml.safe_load((DEPLOY / "compose" / "prometheus.yml").read_text())
    (job,) = scrape["scrape_configs"]
    port = config.parse(DOCUMENTS["compose"]).control.port
    assert job["static_configs"] == [{"targets": [f"127.0.0.1:{port}"]}]
    assert COMPOSE["services"]["prometheus"]["network_mode"] == "service:penstock"


def test_prometheus_reads_the_rules_where_compose_puts_them():
    names = yaml.safe_load((DEPLOY / "compose" / "prometheus.yml").read_text())["rule_files"]
    mounted = {mount.split(":")[1] for mount in COMPOSE["services"]["prometheus"]["volumes"]}
    assert {f"/etc/prometheus/{name}" for name in names} <= mounted


@pytest.mark.parametrize("name", generate.DASHBOARDS)
def test_a_dashboard_is_what_the_script_makes(name):
    file = DEPLOY / "grafana" / "dashboards" / f"{name}.json"
    assert file.read_text() == generate.text(generate.DASHBOARDS[name])


def test_there_is_no_other_dashboard():
    files = {file.stem for file in (DEPLOY / "grafana" / "dashboards").iterdir()}
    assert files == set(generate.DASHBOARDS)
    assert len({one.uid for one in generate.DASHBOARDS.values()}) == len(files)


def test_panels_lie_beside_each_other_and_not_over_each_other():
    for dashboard in generate.DASHBOARDS.values():
        taken: set[tuple[int, int]] = set()
        for panel in generate.document(dashboard)["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken, panel["title"]
            assert max(x for x, _ in cells) < generate.COLUMNS
            taken |= cells


def rules() -> list[dict[str, Any]]:
    return [rule for group in RULES["groups"] for rule in group["rules"]]


def queries() -> Iterator[str]:
    for dashboard in generate.DASHBOARDS.values():
        for panel in dashboard.panels:
            yield from panel.queries
        yield from (variable.query for variable in dashboard.variables)
    for rule in rules():
        yield rule["expr"]
        text = rule.get("annotations", {}).get("description", "")
        yield from re.findall(r'printf "([^"]*penstock[^"]*)"', text)


@pytest.fixture(name="offered", scope="module")
def what_is_offered(tmp_path_factory) -> str:
    return offered(tmp_path_factory.mktemp("home"))


def experiment() -> Experiment:
    """One whose arms do not get their shares."""
    ends = {"n": 100, "mean": 0.1, "low": 0.05, "high": 0.2}
    arm = {"name": "b", "estimate": ends, "vs_control": {"low": -0.1, "high": 0.1}}
    report = {"measure": {"arms": [arm]}, "mismatch": {"alarm": True}}
    spec = EXPERIMENT.validate_python({"kind": "ab", "measure": {"metric": "sale"}})
    given = Given(spec, {"a": 1, "b": 2}, "a", {"a": 0.5, "b": 0.5}, "ann", 0.0)
    return Experiment(1, "m", given, Stand(shares=given.shares, report=report))


def language_models(arena: Arena) -> list[UpstreamCounts]:
    """One that has answered."""
    called = Called("m", 1, "u", "p", "openai", "gpt", "example.com", 443)
    counter = UpstreamCounter(arena, arena.allocate(UPSTREAM, called.key), 0)
    counter.observe(0, (0,) * 16, ())
    return list(read_upstreams(arena))


def planned() -> Plan:
    """A language model whose price nobody knows."""
    given = """
llm:
  providers: {p: {base_url: "http://example.com/v1"}}
  models: {m: {upstreams: [{provider: p, model: of-our-own}]}}
"""
    settings = settings_of(config.parse(given).llm, "m", 1, price_map.prices())
    return Plan(1, (Held("m", 1, "", "", "d", settings.plain(), {}, 0, kind=LLM),))


def offered(home: Path) -> str:
    """What /metrics says once a model has answered and refused requests, and another is watched."""
    arena = Arena.create(1, size_for(1, 4))
    block = arena.allocate(MODEL, model_key("m", 1))
    observer = BatchObserver(arena, block, 0)
    observer.counted("idle", 1, 1, 1)
    observer.observed([0.0], [0.1], 0.2, 0.2, 0.3, 0.4, 1, 0.1, True, 0, 1)
    observer.erred(QueueFull("full"))
    WorkerObserver(arena, 0).refused(QueueFull.code)
    with watched_model(home) as model:
        model.serve(300)
        some = model.drift.evaluate_all(600)
        drift = list(families(some, config.Metrics(bins={"m": ["age"]}), 0.1))
    info = Info(
        "1",
        "1",
        ("CPUExecutionProvider",),
        models={"READY": 1},
        supervisor=os.getpid(),
        refused=[0],
        certificates={"data": (1.0, True)},
        drift=drift,
        outcomes=outcomes.families(LEDGER, STANDINGS, WINDOW_S),
        routes=route_metrics.families(Plan(1), {}, Unwritten()),
        experiments=experiment_metrics.families({1: experiment()}),
        llm=llm_metrics.families(planned(), language_models(arena), {}),
    )
    text, _ = Metrics(arena).render(info)
    arena.close()
    return text.decode()


def test_dashboards_and_rules_ask_for_metrics_and_labels_that_there_are(offered):
    labels: dict[str, set[str]] = {}
    for name, pairs in re.findall(_SAMPLE, offered):
        labels.setdefault(name, {"job", "instance"}).update(re.findall(r'(\w+)="', pairs))
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for query in queries():
        asked = set(re.findall(r"(?<![:\w])penstock_\w+", query))
        made = set(re.findall(r"\w+:\w+:?\w*", query))
        assert asked or made or query.startswith("up{"), query
        assert asked <= set(labels), query
        assert made <= recorded, query
        has = set().union(*(labels[name] for name in asked), _OF_RECORDED if made else {"job"})
        for grouping in re.findall(r"(?:by|ignoring|on) ?\(([^)]*)\)", query):
            assert {name.strip() for name in grouping.split(",")} <= has, query
        for selector in re.findall(r"\{([^}]*)\}", query):
            assert set(re.findall(r"(\w+)\s*(?:=|!=)", selector)) <= has, query


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize("words", [["check", "rules"], ["test", "rules"]], ids=" ".join)
def test_the_rules_pass_promtool(words):
    file = "penstock.rules.yaml" if words[0] == "check" else "penstock.test.yaml"
    command = ["promtool", *words, str(DEPLOY / "prometheus" / file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_is_tested():
    text = (DEPLOY / "prometheus" / "penstock.test.yaml").read_text()
    named = {rule["alert"] for rule in rules() if "alert" in rule}
    assert {name for name in named if f"alertname: {name}\n" not in text} == set()

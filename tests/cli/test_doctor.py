from __future__ import annotations

import http.server
import json
import os
import resource
import socket
import threading
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest

from gateway.cli import main
from gateway.cli.findings import Case, writable
from gateway.cli.installation import (
    check_kernels,
    check_runtime,
    check_tracing,
    find_devices,
    unmet,
)
from gateway.cli.machine import (
    check_cores,
    check_descriptors,
    check_home,
    check_models,
    check_ports,
    memory_bytes,
)
from gateway.cli.monitoring import check_ledger, check_references
from gateway.config import Config
from gateway.control.audit import by_itself
from gateway.control.ledger_store import LedgerStore
from gateway.control.self_references import SelfReference, SelfReferences
from gateway.control.store import Store
from gateway.devices import CUDA
from gateway.outcomes.segment import Segment
from kernels import _jit
from tests.monitor import watching
from tests.outcomes.records import NOON_MS, STREAM, records


def case(home, **document) -> Case:
    return Case(Config.model_validate(document), home)


def states(findings) -> list[str]:
    return [finding.state for finding in findings]


@pytest.fixture
def listener():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock


def port_of(sock) -> int:
    return sock.getsockname()[1]


def ports(data: int, control: int = 0) -> dict:
    return {"server": {"port": data}, "control": {"port": control}}


# ---- the command ----


@pytest.fixture
def quiet_config(tmp_path):
    """A document whose ports are always free."""
    file = tmp_path / "penstock.yaml"
    file.write_text("server: {port: 0}\ncontrol: {port: 0}\n")
    return file


def test_a_healthy_machine_is_status_0(quiet_config, home, capsys):
    assert main(["doctor", "--config", str(quiet_config), "--home", str(home)]) == 0
    told = capsys.readouterr().out
    assert "ok    data port" in told
    assert " 0 failed" in told.splitlines()[-1]


def test_with_json_every_check_is_listed(quiet_config, home, capsys):
    main(["doctor", "--config", str(quiet_config), "--home", str(home), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert {check["check"] for check in told["checks"]} == {
        "configuration", "python", "packages", "runtime", "kernel cache", "cores", "memory",
        "open files", "data port", "control port", "home", "leftovers", "models", "access",
        "ledger",
    }  # fmt: skip


def test_a_failed_check_is_status_1_and_says_what_to_do(listener, tmp_path, home, capsys):
    file = tmp_path / "penstock.yaml"
    file.write_text(json.dumps(ports(port_of(listener))))
    assert main(["doctor", "--config", str(file), "--home", str(home)]) == 1
    told = capsys.readouterr().out.splitlines()
    place = next(n for n, line in enumerate(told) if line.startswith("fail  data port"))
    assert "Address already in use" in told[place]
    assert "-> stop what listens there, or choose another port" in told[place + 1]


def test_faults_of_the_configuration_do_not_stop_the_other_checks(tmp_path, home, capsys):
    file = tmp_path / "penstock.yaml"
    file.write_text("server: {port: 70000}\nlimit: {}\n")
    assert main(["doctor", "--config", str(file), "--home", str(home), "--json"]) == 1
    checks = json.loads(capsys.readouterr().out)["checks"]
    faults = [check["found"] for check in checks if check["check"] == "configuration"]
    assert len(faults) == 2
    assert any(check["check"] == "home" for check in checks)


def test_the_doctor_leaves_nothing_behind(quiet_config, home):
    main(["doctor", "--config", str(quiet_config), "--home", str(home / "new")])
    assert os.listdir(home) == []


# ---- ports ----


def test_a_port_of_this_homes_server_is_fine(listener, home):
    (home / "run").mkdir()
    port = port_of(listener)
    server = {"pid": os.getpid(), "host": "127.0.0.1", "port": port, "admin_port": 1}
    (home / "run" / "server.json").write_text(json.dumps(server))
    data, _ = check_ports(case(home, **ports(port)))
    assert (data.state, f"pid {os.getpid()}" in data.found) == ("ok", True)


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """The server metadata of a penstock that somebody else started."""

    def do_GET(self) -> None:
        body = b'{"name":"penstock","version":"0.1.0","extensions":[]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args) -> None:
        """Nothing on the test's output."""


def test_another_penstock_on_the_port_is_named(home):
    with http.server.HTTPServer(("127.0.0.1", 0), Elsewhere) as other:
        thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        data, _ = check_ports(case(home, **ports(other.server_port)))
        other.shutdown()
        thread.join()
    assert data.state == "fail"
    assert "held by a penstock server with another home" in data.found


def test_an_address_of_another_machine_is_a_fault(home):
    data, _ = check_ports(case(home, server={"host": "192.0.2.1", "port": 0}, control={"port": 0}))
    assert data.state == "fail"


# ---- folders ----


def test_a_home_below_a_file_is_a_fault(tmp_path):
    (tmp_path / "file").write_text("")
    found = list(check_home(case(tmp_path / "file" / "home")))
    assert states(found) == ["fail"]
    assert "--home" in found[0].advice


def test_a_home_that_is_still_to_be_made_is_fine(tmp_path):
    assert states(check_home(case(tmp_path / "a" / "b"))) == ["ok"]


def test_a_folder_is_writable_where_it_could_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    assert [writable(tmp_path / "new" / "er"), writable(tmp_path / "file" / "new")] == [True, False]


def test_paths_of_the_configuration_that_lead_nowhere_are_all_named(home, tmp_path):
    missing = list(
        check_models(
            case(
                home,
                models={"a": {"path": str(tmp_path / "a.onnx")}, "b": {"path": str(tmp_path)}},
                repository={"paths": [str(tmp_path), str(tmp_path / "none")]},
            )
        )
    )
    assert states(missing) == ["fail", "fail"]
    assert missing[0].found.startswith("models.a.path: ")
    assert missing[1].found.startswith("repository.paths[1]: ")


# ---- installation ----


def test_language_models_are_counted_where_there_are_some(home):
    (found,) = check_models(case(home))
    assert found.found == "0 models and 0 folders configured"
    upstreams = [{"provider": "p", "model": "m"}]
    providers = {"p": {"base_url": "https://api.openai.com/v1"}}
    document = {"providers": providers, "models": {"m": {"upstreams": upstreams}}}
    (found,) = check_models(case(home, llm=document))
    assert found.found == "0 models and 0 folders configured; language models: 1"


def test_requirements_within_their_bounds_are_met():
    assert list(unmet(iter(["numpy>=1.0", "uvicorn>=0.1,<99", "orjson"]))) == []


def test_a_version_outside_its_bounds_is_told_with_both():
    ((requirement, told),) = unmet(iter(["uvicorn>=0.1,<0.2"]))
    assert requirement == "uvicorn>=0.1,<0.2"
    assert told.startswith("uvicorn: expected uvicorn>=0.1,<0.2, got 0.")


def test_a_missing_package_is_told():
    ((_, told),) = unmet(iter(["no-such-package>=1"]))
    assert told == "no-such-package: expected no-such-package>=1, got none"


def test_the_gpus_build_of_onnx_runtime_is_one_too():
    def version_of(name: str) -> str:
        if name != "onnxruntime-gpu":
            raise PackageNotFoundError(name)
        return "1.31.1"

    assert list(unmet(iter(["onnxruntime>=1.20"]), version_of)) == []
    ((_, told),) = unmet(iter(["onnxruntime>=9"]), version_of)
    assert told == "onnxruntime: expected onnxruntime>=9, got 1.31.1"


def test_a_gpu_that_is_asked_for_and_not_there_is_a_fault(home):
    (found,) = check_runtime(case(home, models={"big": {"device": "cuda:7"}}))
    if "CUDAExecutionProvider" in found.found:
        assert "0 GPUs" not in found.found
    else:
        assert found.state == "fail"
        assert "device cuda is asked for by big" in found.found


@pytest.mark.parametrize(
    ("device", "providers", "gpus", "state", "words"),
    [
        pytest.param("auto", [CUDA, "CPU"], 2, "ok", "CPU; 2 GPUs", id="all-there"),
        pytest.param("auto", ["CPU"], 2, "warn", "CPU; 2 GPUs", id="gpus-without-a-provider"),
        pytest.param("auto", [CUDA], 0, "ok", "; 0 GPUs", id="no-gpu-and-none-wanted"),
        pytest.param("cuda", [CUDA], 0, "fail", "asked for by m", id="no-gpu"),
        pytest.param("cuda:1", [CUDA], 2, "ok", "2 GPUs", id="the-last-gpu"),
        pytest.param("cuda:2", [CUDA], 2, "fail", "not there is asked for by m", id="past-it"),
    ],
)
def test_devices_are_held_against_what_there_is(device, providers, gpus, state, words, home):
    found = find_devices(case(home, models={"m": {"device": device}}), "ort", providers, gpus)
    assert found.state == state
    assert words in found.found


def test_the_kernel_cache_is_empty_before_the_first_start(home, tmp_path):
    before = os.environ.get("NUMBA_CACHE_DIR")
    (found,) = check_kernels(case(home))
    expected = before if before is not None else str(home)
    assert found.state == "ok"
    assert found.found.startswith(expected)


def test_a_kernel_cache_that_was_not_filled_to_the_end_is_not_called_filled(home, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    folder = _jit._folder_below(home / "cache" / "numba") / "kernels_1a2b"
    folder.mkdir(parents=True)
    (folder / "one.nbi").touch()
    assert "not filled yet" in next(check_kernels(case(home))).found
    for number in range(len(_jit._kernels)):
        (folder / f"{number}.nbi").touch()
    assert next(check_kernels(case(home))).found.endswith("numba: filled")


# ---- limits ----


def test_more_connections_than_open_files_are_a_warning_with_both_ways_out(home):
    (found,) = check_descriptors(case(home, limits={"max_connections": 1_000_000_000}))
    assert found.state == "warn"
    assert found.advice.startswith("ulimit -n 1000000256")
    assert "limits.max_connections: " in found.advice


def test_descriptors_that_a_server_takes_by_itself_need_no_advice(home):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, hard))
    try:
        (found,) = check_descriptors(case(home, limits={"max_connections": 1000}))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found.state == "ok"


def test_more_workers_than_cores_are_a_warning(home):
    (found,) = check_cores(case(home, server={"workers": 256}))
    assert found.state == "warn"


def test_memory_is_what_the_machine_has_available(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  2048 kB\nMemAvailable:  1024 kB\n")
    assert memory_bytes(meminfo, tmp_path / "no-cgroup") == 1 << 20


def test_memory_is_what_the_cgroup_leaves_where_that_is_less(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  2048 kB\nMemAvailable:  1024 kB\n")
    (tmp_path / "memory.max").write_text("100000\n")
    (tmp_path / "memory.current").write_text("40000\n")
    assert memory_bytes(meminfo, tmp_path) == 60_000


def test_a_cgroup_without_a_limit_changes_nothing(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemAvailable:  1024 kB\n")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("40000\n")
    assert memory_bytes(meminfo, tmp_path) == 1 << 20


def test_a_variable_that_does_not_fit_is_a_fault_of_the_configuration(home, capsys, monkeypatch):
    monkeypatch.setenv("PENSTOCK_SERVER__PORT", "many")
    assert main(["doctor", "--home", str(home)]) == 1
    assert "PENSTOCK_SERVER__PORT: server.port: " in capsys.readouterr().out


# ---- traces ----


def test_who_exports_no_traces_is_told_nothing_of_them(home):
    assert list(check_tracing(case(home))) == []


@pytest.mark.parametrize(
    ("endpoint", "found"),
    [
        pytest.param("https://collector", ["ok"], id="encrypted"),
        pytest.param("http://127.0.0.1:4318", ["ok"], id="this-machine"),
        pytest.param("http://collector:4318", ["ok", "warn"], id="others-may-read"),
    ],
)
def test_headers_of_exports_that_others_may_read_are_told_of(home, endpoint, found):
    file = home / "headers"
    file.write_text("authorization: Bearer x\n")
    section = {"endpoint": endpoint, "headers_file": str(file)}
    assert states(check_tracing(case(home, tracing=section))) == found


def test_a_file_of_headers_that_is_none_fails(home):
    section = {"endpoint": "https://collector", "headers_file": str(home / "none")}
    (finding,) = check_tracing(case(home, tracing=section))
    assert (finding.state, "headers_file" in finding.found) == ("fail", True)


# ---- monitoring ----


def test_a_model_that_is_held_against_its_own_rows_is_named(tmp_path):
    assert list(check_references(case(tmp_path))) == []
    profile = watching.profile_of(*watching.rows(np.random.default_rng(1), 50))
    with Store.open(tmp_path) as store:
        SelfReferences(store, tmp_path, by_itself()).freeze(
            SelfReference("fraud", 3, "content", 0), profile
        )
    (finding,) = check_references(case(tmp_path))
    assert (finding.state, "fraud/3" in finding.found) == ("warn", True)


def test_monitoring_that_is_off_is_said(tmp_path):
    (finding,) = check_references(case(tmp_path, monitoring={"enabled": False}))
    assert finding.state == "warn"


def test_the_ledger_tells_how_far_it_reaches_back_and_is_left_as_it_is(tmp_path):
    off = {"enabled": False}
    assert list(check_ledger(case(tmp_path, ledger=off))) == []
    folder = tmp_path / "ledger"
    folder.mkdir()
    Segment.create(folder, STREAM, 0).append(records(range(5), at_ms=NOON_MS))
    (folder / f"{STREAM}.000001.half").write_bytes(b"being written")
    (folder / "notes.sealed").write_bytes(b"")
    (empty,) = check_ledger(case(tmp_path / "elsewhere"))
    assert empty.found == (
        "empty, holds 16,777,216 rows: 7 minutes of 40,000 rows/s, 47 hours of 100 rows/s"
    )
    (of_one,) = check_ledger(
        case(tmp_path / "elsewhere", ledger=off, models={"m": {"ledger": True}})
    )
    assert of_one == empty
    strange, found = check_ledger(case(tmp_path, ledger=off))
    assert (strange.state, found.state) == ("warn", "ok")
    assert found.found.startswith("5 records since 2027-01-15")
    assert len(list(folder.iterdir())) == 3


def test_a_damaged_ledger_fails_by_name(tmp_path):
    folder = tmp_path / "ledger"
    LedgerStore(folder).close()
    assert states(check_ledger(case(tmp_path))) == ["ok"]
    (folder / "ledger.db").write_bytes(b"no database" * 1000)
    damaged, found = check_ledger(case(tmp_path))
    assert (damaged.state, found.state) == ("fail", "ok")
    assert "ledger.db" in damaged.found


def test_the_reach_of_a_ledger_is_told_at_its_pace(tmp_path):
    folder = tmp_path / "ledger"
    folder.mkdir()
    open_one = Segment.create(folder, STREAM, 0)
    open_one.append(records(range(1000), at_ms=NOON_MS + np.arange(1000) * 1000))
    (found,) = check_ledger(case(tmp_path, ledger={"max_age_s": 7 * 86_400}))
    assert found.found.endswith("; at 1 rows/s, as so far, it will reach back 7 days")
    sealed = open_one.seal()
    sealed.columns.add(1)  # 72 bytes a row
    room = {"max_bytes": 16 << 20}
    (found,) = check_ledger(case(tmp_path, ledger=room))
    assert found.found.endswith("it will reach back 3 days")

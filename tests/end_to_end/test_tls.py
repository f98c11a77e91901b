"""TLS on both ports of a real server."""

from __future__ import annotations

import functools
import http.client
import json
import ssl
from hashlib import sha256
from pathlib import Path

import pytest

from tests.certificates import Authority, serial, serial_of
from tests.end_to_end import commands
from tests.end_to_end.server import DEMO_MODEL, RunningServer, eventually
from tests.end_to_end.test_lifecycle import BODY, INFER
from tests.end_to_end.test_reload import penstock
from tests.end_to_end.traffic import Traffic
from tests.models.builders import linear, save


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path / "tls")
    made.issue()
    return made


def ask(
    port: int, tls: ssl.SSLContext, method: str, path: str, body: bytes | None = None
) -> tuple[int, bytes, str]:
    """Status, body, and the serial number of the certificate that was shown."""
    line = http.client.HTTPSConnection("localhost", port, timeout=20, context=tls)
    try:
        line.connect()
        shown = serial(line.sock.getpeercert())
        line.request(method, path, body)
        answer = line.getresponse()
        return answer.status, answer.read(), shown
    finally:
        line.close()


def both_ports(authority: Authority, **options: object) -> str:
    return authority.yaml("server", **options) + authority.yaml("control", **options)


def test_both_ports_speak_tls_and_nothing_else(start, authority, tmp_path):
    model = save(tmp_path, linear(), "m.onnx")
    server = start(model, "--workers", "1", config=both_ports(authority))
    trust = authority.client()
    assert ask(server.port, trust, "POST", INFER, BODY)[0] == 200
    assert ask(server.port, trust, "GET", "/v2/health/ready")[0] == 200
    assert ask(server.admin_port, trust, "GET", "/health/ready")[0] == 200
    for port in (server.port, server.admin_port):
        with pytest.raises((OSError, http.client.HTTPException)):
            server.request("GET", "/v2/health/live", port=port)
    assert f"on https://127.0.0.1:{server.port}, control on https://" in server.log
    metrics = ask(server.admin_port, trust, "GET", "/metrics")[1].decode()
    assert 'penstock_tls_handshakes_failed_total{worker="0"} 1.0' in metrics
    for port in ("data", "control"):
        assert f'penstock_tls_certificate_files_good{{port="{port}"}} 1.0' in metrics


def test_a_certificate_is_renewed_under_load_without_a_failed_request(start, authority, tmp_path):
    model = save(tmp_path, linear(), "m.onnx")
    server = start(model, "--workers", "2", config=both_ports(authority))

    ports = (server.port, server.admin_port)

    def all_show(fresh: str) -> bool:
        shown = [ask(port, authority.client(), "GET", "/health/live")[2] for port in ports]
        return shown == [fresh, fresh]

    with Traffic(server.port, INFER, BODY, tls=authority.client(), reconnect_after=5) as traffic:
        for _ in range(3):
            fresh = serial_of(authority.issue())
            eventually(functools.partial(all_show, fresh))
            traffic.go_on(200)
    assert traffic.tally.failed == 0, traffic.tally


def test_a_renewal_is_written_down_once_for_each_port(start, authority, tmp_path):
    model = save(tmp_path, linear(), "m.onnx")
    server = start(model, "--workers", "2", config=both_ports(authority))
    old = sha256(authority.certificate.read_bytes()).hexdigest()
    authority.issue()
    new = sha256(authority.certificate.read_bytes()).hexdigest()

    def renewals() -> list[tuple[str, str, str, str, str]]:
        listed = penstock("audit", "list", "--limit", "100", "--home", server.home)
        return sorted(
            (
                one["door"],
                one["action"],
                one["subject"],
                one["before"]["certificate"],
                one["after"]["certificate"],
            )
            for one in listed
            if one["action"] == "certificate renew"
        )

    eventually(lambda: len(renewals()) >= 2)
    assert server.stop() == 0  # nobody adds another
    ports = ("control port", "data port")
    assert renewals() == [("automatic", "certificate renew", port, old, new) for port in ports]


def test_files_that_do_not_belong_together_leave_the_old_certificate(start, authority, tmp_path):
    model = save(tmp_path, linear(), "m.onnx")
    server = start(model, "--workers", "1", config=both_ports(authority))
    trust = authority.client()
    before = ask(server.port, trust, "POST", INFER, BODY)[2]
    authority.ca.issue_cert("other").private_key_pem.write_to_path(str(authority.key))
    eventually(lambda: "is not the key of" in server.log)
    assert ask(server.port, trust, "POST", INFER, BODY) == (
        200,
        ask(server.port, trust, "POST", INFER, BODY)[1],
        before,
    )
    metrics = ask(server.admin_port, trust, "GET", "/metrics")[1].decode()
    assert 'penstock_tls_certificate_files_good{port="data"} 0.0' in metrics


def test_who_is_born_while_the_files_are_bad_shows_the_last_good_certificate(
    start, authority, tmp_path
):
    model = save(tmp_path, linear(), "m.onnx")
    server = start(model, "--workers", "1", config=both_ports(authority))
    ports, trust = (server.port, server.admin_port), authority.client()

    def all_show(serial: str) -> bool:
        try:
            shown = [ask(port, trust, "GET", "/v2/health/live")[2] for port in ports]
        except OSError:  # nobody is there yet
            return False
        return shown == [serial, serial]

    fresh = serial_of(authority.issue())  # not the one that the server was started with
    eventually(lambda: all_show(fresh), 10.0)
    authority.ca.issue_cert("other").private_key_pem.write_to_path(str(authority.key))
    eventually(lambda: "is not the key of" in server.log, 10.0)
    before = server.children()
    for child in before:
        child.kill()
    eventually(lambda: {*server.children()}.isdisjoint(before) and all_show(fresh), 20.0)
    assert ask(server.port, trust, "POST", INFER, BODY)[0] == 200
    last = serial_of(authority.issue())
    eventually(lambda: all_show(last), 10.0)


def test_clients_without_a_certificate_are_turned_away_where_one_is_required(
    start, authority, tmp_path
):
    model = save(tmp_path, linear(), "m.onnx")
    config = authority.yaml("server", client_ca=authority.file)
    server = start(model, "--workers", "1", config=config, ready=False)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(server.port, authority.client(), "POST", INFER, BODY)
    known = authority.client(authority.ca.issue_cert("client"))
    eventually(lambda: ask(server.port, known, "POST", INFER, BODY)[0] == 200)


def test_commands_reach_a_control_port_with_tls(start, authority, tmp_path):
    server = start(DEMO_MODEL, "--workers", "1", config=both_ports(authority))
    home = str(server.home)
    words = ["register", DEMO_MODEL, "--name", "cancer"]
    done = commands.penstock(*words, "--home", home, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    models = json.loads(ask(server.admin_port, authority.client(), "GET", "/api/models")[1])
    assert "cancer" in {model["name"] for model in models["models"]}


def test_a_server_does_not_start_with_files_that_cannot_serve(authority, tmp_path):
    authority.key.unlink()
    config = tmp_path / "penstock.yaml"
    config.write_text(authority.yaml("server"))
    done = commands.penstock("serve", "--config", config, "--home", tmp_path)
    assert done.returncode == 1
    assert f"server.tls.key: {authority.key}: No such file or directory" in done.stderr


def test_tritonclient_infers_over_tls(start, authority, tmp_path):
    import numpy as np
    import tritonclient.http as triton

    server: RunningServer = start(DEMO_MODEL, "--workers", "1", config=both_ports(authority))
    client = triton.InferenceServerClient(
        f"localhost:{server.port}", ssl=True, ssl_context_factory=authority.client
    )
    tensor = triton.InferInput("X", [2, 30], "FP32")
    tensor.set_data_from_numpy(np.ones((2, 30), np.float32))
    assert client.infer("breast_cancer", [tensor]).as_numpy("label").shape == (2,)
    client.close()

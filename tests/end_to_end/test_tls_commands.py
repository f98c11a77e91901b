"""Commands and the Python client against servers with TLS, keys and client certificates."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from gateway.cli.demo_rows import DATA, read_rows
from gateway.client import Admin, Client, Unreachable
from gateway.errors import GatewayError, Unauthenticated
from tests.certificates import Authority
from tests.end_to_end import commands
from tests.end_to_end.server import DEMO_MODEL, RunningServer, running

MODEL = "breast_cancer"
KEYS = "access: {data: keys}\n"


@dataclass
class World:
    """A server with TLS on both ports, and a certificate that its clients may show."""

    server: RunningServer
    authority: Authority
    own: Path
    key: str

    @property
    def shown(self) -> dict[str, str]:
        return {"PENSTOCK_CLIENT_CERT": str(self.own)}

    def penstock(self, *words: str, home: Path | None = None, **variables: str):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")}
        asked = (*words, "--home", home or self.server.home)
        return commands.penstock(*asked, environment=environment | variables)

    def infer(self, *words: str, home: Path | None = None, **variables: str):
        with (DATA / "breast_cancer.csv").open(newline="") as file:
            names = next(csv.reader(file))
        data = ["--data", str(DATA / "breast_cancer.csv"), "--drop", ",".join(names[30:])]
        asked = [MODEL, *data, "--limit", "2", "--output", "label", *words]
        return self.penstock("infer", *asked, home=home, **variables)


LABELS = "".join(f"{line}\n" for line in ["label", *(row.label for row in read_rows()[:2])])


def world(home: Path, demanding: str) -> Iterator[World]:
    """A server that asks for keys on its data port.

    Args:
        home: an empty folder.
        demanding: the port (`server` or `control`) that takes nobody without a certificate.
    """
    authority = Authority(home / "tls")
    authority.issue()
    authority.issue_client("till")
    own = authority.folder / "client-till.pem"
    config = KEYS
    for section in ("server", "control"):
        options = {"client_ca": authority.file} if section == demanding else {}
        config += authority.yaml(section, **options)
    words = ["keys", "create", "--name", "shop", "--role", "client", "--home", home, "--json"]
    made = commands.penstock(*words)
    key = json.loads(made.stdout)["key"]
    ready = demanding != "server"
    with running(home, DEMO_MODEL, "--workers", "1", config=config, ready=ready) as server:
        yield World(server, authority, own, key)


@pytest.fixture(scope="module")
def demanding_control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    yield from world(tmp_path_factory.mktemp("control"), "control")


@pytest.fixture(scope="module")
def demanding_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    yield from world(tmp_path_factory.mktemp("data"), "server")


# ---- a control port that takes nobody without a certificate --------------------------------------


def test_a_command_that_shows_a_certificate_is_let_in(demanding_control):
    done = demanding_control.penstock(
        "register", str(DEMO_MODEL), "--name", "told", **demanding_control.shown
    )
    assert (done.returncode, done.stderr) == (0, "")
    listed = demanding_control.penstock("models", "list", "--json", **demanding_control.shown)
    models = {line["model"]: line for line in json.loads(listed.stdout)}
    assert models["told"]["versions"][0]["state"] == "READY"
    shown = demanding_control.penstock("config", "show", "--effective", **demanding_control.shown)
    assert shown.returncode == 0, shown.stderr


def test_a_command_that_shows_none_says_which_variables_to_set(demanding_control):
    done = demanding_control.penstock("register", str(DEMO_MODEL), "--name", "untold")
    assert done.returncode == 1
    told = done.stdout + done.stderr
    assert "the control port asks for a client certificate" in told
    assert "PENSTOCK_CLIENT_CERT and PENSTOCK_CLIENT_KEY" in told


def test_operation_in_python_shows_a_certificate(demanding_control):
    url = f"https://localhost:{demanding_control.server.admin_port}"
    trusted = demanding_control.authority.file
    with Admin(url, verify=trusted, cert=demanding_control.own) as admin:
        assert admin.status()["ready"]
    with Admin(url, verify=trusted) as admin, pytest.raises(GatewayError):
        admin.status()


# ---- penstock infer ------------------------------------------------------------------------------


def test_infer_knows_the_certificate_of_its_own_home_and_sends_the_key(demanding_control):
    run = demanding_control.infer(PENSTOCK_KEY=demanding_control.key)
    assert (run.returncode, run.stdout, run.stderr) == (0, LABELS, "")


def test_infer_without_a_key_or_with_a_wrong_one_is_refused(demanding_control):
    for variables in ({}, {"PENSTOCK_KEY": "psk_" + "x" * 32}):
        run = demanding_control.infer("--json", **variables)
        assert (run.returncode, json.loads(run.stdout)["code"]) == (1, Unauthenticated.code)


@pytest.mark.parametrize("how", ["option", "variable"])
def test_infer_trusts_the_issuers_that_it_is_told(demanding_control, how, tmp_path):
    url = ("--url", f"https://localhost:{demanding_control.server.port}")
    ca, key = str(demanding_control.authority.file), {"PENSTOCK_KEY": demanding_control.key}
    given = ("--cacert", ca) if how == "option" else ()
    variables = key | ({"PENSTOCK_CACERT": ca} if how == "variable" else {})
    run = demanding_control.infer(*url, *given, home=tmp_path, **variables)
    assert (run.returncode, run.stdout, run.stderr) == (0, LABELS, "")


def test_infer_trusts_nobody_else(demanding_control, tmp_path):
    url = ("--url", f"https://localhost:{demanding_control.server.port}")
    stranger = Authority(tmp_path / "stranger")
    for given in ((), ("--cacert", str(stranger.file))):
        run = demanding_control.infer(*url, *given, PENSTOCK_KEY=demanding_control.key)
        assert run.returncode == 1
        assert "certificate verify failed" in run.stderr


def test_infer_shows_a_certificate_where_the_data_port_demands_one(demanding_data, tmp_path):
    certificate, key = apart(demanding_data.own, tmp_path)
    known = {"PENSTOCK_KEY": demanding_data.key}
    options = ("--client-cert", str(certificate), "--client-key", str(key))
    variables = {"PENSTOCK_CLIENT_CERT": str(certificate), "PENSTOCK_CLIENT_KEY": str(key)}
    answers = [
        demanding_data.infer(*options, **known).stdout,
        demanding_data.infer(**known, **variables).stdout,
        demanding_data.infer(**known, **demanding_data.shown).stdout,
    ]
    assert answers == [LABELS] * 3
    refused = demanding_data.infer(**known)
    assert refused.returncode == 1
    assert "the data port asks for a client certificate" in refused.stderr


# ---- in the middle of a renewal ------------------------------------------------------------------


@contextmanager
def between_the_files_of_a_renewal(authority: Authority) -> Iterator[None]:
    """There is a new certificate, and its key is not there yet."""
    before = authority.certificate.read_bytes()
    fresh = authority.ca.issue_cert("localhost", "127.0.0.1")
    authority.certificate.write_bytes(fresh.cert_chain_pems[0].bytes())
    yield
    authority.certificate.write_bytes(before)


def test_commands_trust_what_the_server_shows_while_its_files_do_not_match(demanding_control):
    with between_the_files_of_a_renewal(demanding_control.authority):
        told = demanding_control.penstock(
            "register", str(DEMO_MODEL), "--name", "renewed", **demanding_control.shown
        )
        assert (told.returncode, told.stderr) == (0, "")
        answered = demanding_control.infer(PENSTOCK_KEY=demanding_control.key)
        assert (answered.returncode, answered.stdout) == (0, LABELS)


# ---- the Python client ---------------------------------------------------------------------------


def test_inference_in_python_shows_a_certificate(demanding_data, tmp_path):
    url = f"https://localhost:{demanding_data.server.port}"
    trusted, pair = str(demanding_data.authority.file), apart(demanding_data.own, tmp_path)
    for cert in (pair, demanding_data.own):
        with Client(url, demanding_data.key, verify=trusted, cert=cert) as client:
            answer = client.infer(MODEL, np.ones((1, 30), np.float32))
            assert answer["label"].shape == (1,)
    with Client(url, demanding_data.key, cert=pair) as client, pytest.raises(Unreachable):
        client.ready()


def apart(both: Path, folder: Path) -> tuple[Path, Path]:
    """Certificate and key of one file, in two."""
    start = (text := both.read_text()).index("-----BEGIN PRIVATE")
    certificate, key = folder / "own.pem", folder / "own.key"
    certificate.write_text(text[:start])
    key.write_text(text[start:])
    return certificate, key

"""No secret ever leaves: keys, tokens and the server's secret, looked for in all that is told."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys

from gateway.access.secret import FILE
from tests.end_to_end.guarded import (
    BODY,
    CONFIG,
    DATA_PORT,
    World,
    bearer,
    make_keys,
    penstock,
)
from tests.end_to_end.provider import Provider
from tests.end_to_end.server import DEMO_MODEL, eventually, running


def test_no_secret_ever_leaves(tmp_path):
    """Everything is driven, a worker crashes, and no output or file holds what was planted."""
    keys = make_keys(tmp_path)
    mounted = tmp_path.with_name("mounted")
    keys["mounted"] = "psk_" + "m" * 32
    mounted.write_text(keys["mounted"])
    adopted = ("create", "--name", "mounted", "--role", "admin", "--from-file", str(mounted))
    penstock(tmp_path, "keys", *adopted)
    provider = Provider(tmp_path)
    config = CONFIG.format(jwt=provider.as_config())
    with running(tmp_path, DEMO_MODEL, "--workers", "2", config=config) as server:
        world = World(server, tmp_path, keys, provider)
        wanted = json.dumps({"name": "late", "role": "client"}).encode()
        made = world.control("POST", "/api/keys", keys["admin"], wanted).json()
        tokens = [provider.token("client"), provider.token("admin", lives_s=-1)]
        planted = [*keys.values(), made["key"], "psk_canary" + "c" * 26, *tokens]
        told = []
        for key in planted:
            told += [
                server.request(method, path, body, bearer(key)).body
                for method, path, body in DATA_PORT
            ]
            told += [
                world.control(method, path, key).body
                for method, path in (
                    ("GET", "/metrics"),
                    ("GET", "/api/status"),
                    ("GET", "/api/audit?limit=1000"),
                    ("GET", "/api/config"),
                    ("GET", "/api/config/effective"),
                    ("PUT", "/api/keys"),
                )
            ]
            told.append(server.request("POST", f"/v2/models/{key}/infer", BODY).body)
        told.append(world.control("GET", "/api/keys", keys["admin"]).body)
        os.kill(world.status()["workers"][0]["pid"], signal.SIGSEGV)
        os.kill(world.status()["control"], signal.SIGABRT)
        eventually(world.is_well, 20)
        for words in (
            ["keys", "list"],
            ["models", "list"],
            ["doctor"],
            ["audit", "list"],
            ["audit", "export"],
            ["config", "show"],
            ["config", "show", "--effective"],
            ["config", "history"],
        ):
            command = [sys.executable, "-m", "gateway", *words, "--home", str(tmp_path)]
            run = subprocess.run(command, capture_output=True, timeout=60)
            told += [run.stdout, run.stderr]
        document = str(tmp_path / "penstock.yaml")
        check = [sys.executable, "-m", "gateway", "config", "check", document, "--json"]
        told.append(subprocess.run(check, capture_output=True, timeout=60).stdout)
        log = server.log.encode()
    secret = (tmp_path / FILE).read_bytes()
    forms = [secret, secret.hex().encode(), base64.b64encode(secret), repr(secret).encode()]
    canaries = [key.encode() for key in planted] + forms
    written = {
        str(p): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.name != FILE
    }
    assert len(written) > 3
    for place, text in {"answers": b"\n".join(told), "log": log, **written}.items():
        assert [n for n, canary in enumerate(canaries) if canary in text] == [], place
